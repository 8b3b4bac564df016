const curves = JSON.parse(byId("curves").textContent), plotted = JSON.parse(byId("plot-data").textContent);
const chosen = (name) => new Set(all(`#choice input[name="${name}"]:checked`).map((box) => box.value));
const hidden = (name) => new Set(all(`#choice input[name="${name}"]:not(:checked)`).map((box) => box.value));
const roles = { table: "table", thead: "rowgroup", tbody: "rowgroup", tr: "row", "th[scope=row]": "rowheader", "thead th": "columnheader", td: "cell" };
// Where a narrow screen shows rows as cards, they stay rows of a table to a screen reader.
const giveRoles = (root) => Object.entries(roles).forEach(([selector, role]) => all(selector, root).forEach((element) => element.setAttribute("role", role)));
giveRoles(document);

function show() {
  const hiddenMethods = hidden("method"), hiddenTasks = hidden("task");
  all("svg [data-method]").forEach((mark) => (mark.style.display = hiddenMethods.has(mark.dataset.method) ? "none" : ""));
  all("svg [data-task]").forEach((panel) => (panel.style.display = hiddenTasks.has(panel.dataset.task) ? "none" : ""));
  all("[data-column]").forEach((cell) => (cell.hidden = hiddenTasks.has(cell.dataset.column)));
  nameTexts();
  filter();
  threshold();
  plot();
}

// Score against a cost: means over the chosen tasks, drawn at the width of the page.
const markers = {
  o: (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`,
  s: (r) => `M${-r},${-r}H${r}V${r}H${-r}Z`,
  D: (r) => `M0,${-1.3 * r}L${1.3 * r},0L0,${1.3 * r}L${-1.3 * r},0Z`,
  d: (r) => `M0,${-1.4 * r}L${0.9 * r},0L0,${1.4 * r}L${-0.9 * r},0Z`,
  "^": (r) => `M0,${-1.2 * r}L${1.2 * r},${r}H${-1.2 * r}Z`,
  v: (r) => `M0,${1.2 * r}L${1.2 * r},${-r}H${-1.2 * r}Z`,
  "<": (r) => `M${-1.2 * r},0L${r},${-1.2 * r}V${1.2 * r}Z`,
  ">": (r) => `M${1.2 * r},0L${-r},${-1.2 * r}V${1.2 * r}Z`,
  X: (r) => `M${-r},${-r / 2}L${-r / 2},${-r}L0,${-r / 2}L${r / 2},${-r}L${r},${-r / 2}L${r / 2},0L${r},${r / 2}L${r / 2},${r}L0,${r / 2}L${-r / 2},${r}L${-r},${r / 2}L${-r / 2},0Z`,
  P: (r) => `M${-r / 2},${-r}H${r / 2}V${-r / 2}H${r}V${r / 2}H${r / 2}V${r}H${-r / 2}V${r / 2}H${-r}V${-r / 2}H${-r / 2}Z`,
};
const polygon = (corners, turn) => (r) => "M" + Array.from({ length: corners }, (_, i) => turn + (2 * Math.PI * i) / corners).map((a) => `${(1.2 * r * Math.sin(a)).toFixed(2)},${(-1.2 * r * Math.cos(a)).toFixed(2)}`).join("L") + "Z";
const star = (r) => "M" + Array.from({ length: 10 }, (_, i) => [(i % 2 ? 0.55 : 1.4) * r, (i * Math.PI) / 5]).map(([d, a]) => `${(d * Math.sin(a)).toFixed(2)},${(-d * Math.cos(a)).toFixed(2)}`).join("L") + "Z";
Object.assign(markers, { "*": star, p: polygon(5, 0), h: polygon(6, 0), H: polygon(6, Math.PI / 6), 8: polygon(8, Math.PI / 8) });

const draw = (tag, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.append(...children);
  return element;
};
const mean = (values) => (values.length && values.every((value) => value !== null) ? values.reduce((a, b) => a + b) / values.length : null);
// Three significant digits, without an exponent.
const digits = (value, least = 1) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : value.toLocaleString("en", { minimumSignificantDigits: least, maximumSignificantDigits: 3 }));

function meanPoints(cost) {
  const methods = chosen("method"), tasks = chosen("task");
  const names = [...new Set(plotted.points.filter((p) => methods.has(p.method)).map((p) => p.name))];
  return names.map((name) => {
    const points = plotted.points.filter((p) => p.name === name && tasks.has(p.task));
    return { name, method: plotted.points.find((p) => p.name === name).method, tasks: points.length, y: mean(points.map((p) => p.score)), x: mean(points.map((p) => p[cost])), disturbed: points.some((p) => p.disturbed) };
  });
}

function ticks(low, high, log) {
  if (log) {
    const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
    return Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i)).filter((v) => v >= low && v <= high);
  }
  const rough = (high - low) / 5, size = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].map((f) => f * size).find((s) => s >= rough);
  return Array.from({ length: 12 }, (_, i) => (Math.ceil(low / step) + i) * step).filter((v) => v <= high + 1e-9);
}

function plot() {
  const area = byId("plot-area"), cost = byId("plot-cost").value, title = plotted.costs[cost];
  const points = meanPoints(cost), known = points.filter((p) => p.x !== null && p.y !== null), absent = points.filter((p) => !known.includes(p));
  const noted = [];
  if (absent.length) noted.push(`n/a: ${absent.map((p) => p.name).join(", ")}.`);
  if (!known.length) {
    byId("plot").replaceChildren();
    byId("plot-note").textContent = "Nothing to show: choose a method, a task and a cost that was measured.";
    return;
  }
  const width = Math.max(280, area.clientWidth), height = Math.round(Math.min(340, Math.max(260, 0.7 * width))), [right, top, bottom] = [14, 12, 46];
  const xs = known.map((p) => p.x), ys = known.map((p) => p.y), log = cost === "parameters" && Math.min(...xs) > 0;
  const [least, most] = [Math.min(...xs), Math.max(...xs)];
  const [low, high] = log ? [least / 3, most * 3] : [0, 1.12 * most || 1];
  const pad = Math.max(0.5, 0.2 * (Math.max(...ys) - Math.min(...ys))), [floor, ceiling] = [Math.min(...ys) - pad, Math.max(...ys) + pad];
  const scores = ticks(floor, ceiling, false), left = 26 + widest(scores.map((y) => digits(y))); // the title is 20 wide
  const scale = (v) => (log ? Math.log10(v) : v), toX = (v) => left + ((scale(v) - scale(low)) / (scale(high) - scale(low))) * (width - left - right);
  const toY = (v) => height - bottom - ((v - floor) / (ceiling - floor)) * (height - top - bottom);
  const ordered = [...known].sort((a, b) => a.x - b.x || b.y - a.y);
  const front = ordered.filter((p, i) => ordered.slice(0, i).every((q) => q.y < p.y));
  const sentence = known.map((p) => `${p.name} ${p.y.toFixed(1)} %, ${digits(p.x)}`).join("; ");
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Mean score in percent against ${title}: ${sentence}. No other method is better and cheaper than ${front.map((p) => p.name).join(", ")}.` });
  for (const y of scores) svg.append(draw("path", { class: "grid", d: `M${left},${toY(y)}H${width - right}` }), draw("text", { x: left - 6, y: toY(y) + 4, "text-anchor": "end" }, digits(y)));
  for (const x of ticks(low, high, log)) svg.append(draw("path", { class: "axis", d: `M${toX(x)},${height - bottom}v5` }), draw("text", { x: toX(x), y: height - bottom + 18, "text-anchor": "middle" }, log && x >= 1e6 ? `${digits(x / 1e6)} M` : digits(x)));
  svg.append(draw("path", { class: "axis", d: `M${left},${top}V${height - bottom}H${width - right}` }));
  svg.append(draw("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, title));
  svg.append(draw("text", { x: 13, y: (top + height - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 13 ${(top + height - bottom) / 2})` }, "mean score, %"));
  svg.append(draw("path", { class: "front", d: front.map((p, i) => (i ? `H${toX(p.x)}V${toY(p.y)}` : `M${toX(p.x)},${toY(p.y)}`)).join("") + `H${width - right}` }));
  const timed = cost !== "parameters" && cost !== "accounted_mb";
  for (const p of known) {
    const style = plotted.styles[p.method] ?? { color: "#808080", marker: "o" };
    svg.append(draw("g", { "data-method": p.method, transform: `translate(${toX(p.x)} ${toY(p.y)})` },
      draw("title", {}, `${p.name}: ${p.y.toFixed(1)} %, ${digits(p.x)} (${title})`),
      draw("path", { class: "mark", d: (markers[style.marker] ?? markers.o)(6), stroke: style.color, fill: p.disturbed && timed ? "none" : style.color })));
  }
  byId("plot").replaceChildren(svg);
  const lines = front.map((p, i) => [toX(p.x), toY(p.y) - 2, front[i + 1] ? toX(front[i + 1].x) : width, toY(p.y) + 2]);
  const steps = front.slice(1).map((p, i) => [toX(p.x) - 2, toY(p.y), toX(p.x) + 2, toY(front[i].y)]);
  const unlabeled = label(svg, known.map((p) => ({ ...p, px: toX(p.x), py: toY(p.y) })), left, width, [...lines, ...steps]);
  if (unlabeled.length) noted.push(`Without room for a label (hover): ${unlabeled.join(", ")}.`);
  const tasks = [...new Set(plotted.points.map((p) => p.task))].filter((task) => chosen("task").has(task)).length;
  noted.unshift(`Means over ${tasks} task${tasks === 1 ? "" : "s"} and all seeds. On the line: no other method is both better and cheaper.`);
  if (timed && known.some((p) => p.disturbed)) noted.push("Hollow: a run was disturbed, so its time and energy are not those of the method alone.");
  byId("plot-note").textContent = noted.join(" ");
}

// The width of the widest of some texts of the plot.
function widest(texts) {
  const svg = draw("svg", {}, ...texts.map((text) => draw("text", {}, text)));
  byId("plot").replaceChildren(svg);
  return Math.max(0, ...[...svg.children].map((text) => text.getComputedTextLength()));
}

// Write each point's name where it covers neither a point nor another name; return the names without room.
function label(svg, points, left, width, lines) {
  const taken = [...lines, ...points.map((p) => [p.px - 8, p.py - 8, p.px + 8, p.py + 8])];
  const overlaps = ([a, b, c, d]) => taken.some(([e, f, g, h]) => a < g && c > e && b < h && d > f) || a < left || b < 0 || c > width - 2;
  return points.filter((p) => {
    const text = draw("text", { "data-method": p.method }, p.name);
    svg.append(text);
    const wide = text.getComputedTextLength(), places = [[p.px + 11, p.py + 4], [p.px - 11 - wide, p.py + 4], ...[-14, 24, -30, 40].flatMap((dy) => [[p.px - wide / 2, p.py + dy], [p.px + 4, p.py + dy], [p.px - 4 - wide, p.py + dy]])];
    const place = places.find(([x, y]) => !overlaps([x, y - 12, x + wide, y + 3]));
    if (!place) return text.remove() ?? true;
    text.setAttribute("x", place[0]);
    text.setAttribute("y", place[1]);
    taken.push([place[0], place[1] - 12, place[0] + wide, place[1] + 3]);
    return false;
  }).map((p) => p.name);
}

function filter() {
  const methods = chosen("method"), tasks = chosen("task");
  const terms = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = all("#runs-table tbody tr");
  for (const row of rows) {
    const [method, task, seed] = [...row.cells].map((cell) => cell.textContent.toLowerCase());
    const matches = terms.every((term) => row.dataset.method.toLowerCase().startsWith(term) || method.split(/[\s()]+/).some((word) => word.startsWith(term)) || task.startsWith(term) || seed === term);
    row.hidden = !(matches && methods.has(row.dataset.method) && tasks.has(row.dataset.task));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  byId("filter-count").textContent = `${shown} of ${rows.length} runs`;
}

function sort(header) {
  const descending = header.getAttribute("aria-sort") === "ascending";
  all("th", header.parentNode).forEach((other) => other.hasAttribute("aria-sort") && other.setAttribute("aria-sort", "none"));
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = header.closest("table").tBodies[0], key = (row) => {
    const cell = row.cells[header.cellIndex];
    return cell.dataset.sort === undefined ? cell.textContent : cell.dataset.sort === "" ? null : Number(cell.dataset.sort);
  };
  const order = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === null || y === null) return (x === null) - (y === null); // n/a comes last in both directions
    return (typeof x === "number" ? x - y : x.localeCompare(y)) * (descending ? -1 : 1);
  };
  body.append(...[...body.rows].sort(order));
}

// The median over all runs, as in tables 5 and 6: a run that did not reach the score ranks above all others.
function median(values, total, show) {
  if (values.includes(null)) return null;
  const ranked = [...values].sort((a, b) => a - b), lower = Math.floor((total - 1) / 2), upper = Math.floor(total / 2);
  const middle = (ranked[lower] + ranked[upper]) / 2;
  if (upper < ranked.length) return { value: middle, text: show(middle) };
  return { value: ranked[lower] ?? null, isBound: true, text: lower < ranked.length ? `≥ ${show(ranked[lower])}` : "not reached" };
}

function offerTasks(select) {
  const tasks = chosen("task");
  all("option", select).forEach((option) => (option.hidden = option.disabled = !tasks.has(option.value)));
  if (!tasks.has(select.value) && tasks.size) select.value = [...tasks][0];
}

function threshold(event) {
  offerTasks(byId("threshold-task"));
  const task = byId("threshold-task").value, slider = byId("threshold-score");
  const { runs, threshold: studyThreshold } = curves[task], scores = runs.flatMap((run) => run.epochs.map(([score]) => 100 * score));
  if (event?.target === slider) {
    slider.dataset.chosen = task;
  } else if (slider.dataset.chosen !== task) {
    delete slider.dataset.chosen;
    slider.min = Math.floor(Math.min(...scores));
    slider.max = Math.ceil(Math.max(...scores));
    slider.value = studyThreshold === null ? Math.max(...scores) : 100 * studyThreshold;
  }
  // Until the reader chooses a score it is the study's own, which may lie between two steps of the slider.
  const exact = slider.dataset.chosen || studyThreshold === null ? Number(slider.value) : 100 * studyThreshold;
  const at = exact / 100, methods = chosen("method");
  byId("threshold-value").textContent = `${exact.toFixed(2).replace(/0$/, "")}\u00a0%`;
  const shown = chosen("task").has(task) ? runs.filter((run) => methods.has(run.method)) : [];
  const rows = [...new Set(shown.map((run) => run.name))].map((method) => {
    const runsOfMethod = shown.filter((run) => run.name === method);
    const costs = runsOfMethod.map((run) => run.epochs.findIndex(([score]) => score >= at - 1e-9)).map((i, n) => (i < 0 ? null : [i + 1, ...runsOfMethod[n].epochs[i].slice(1)])).filter(Boolean);
    const cost = (column, show) => median(costs.map((c) => c[column]), runsOfMethod.length, show);
    return { method, reached: `${costs.length} of ${runsOfMethod.length}`, epochs: cost(0, (v) => v.toFixed(1)), time: cost(1, (v) => v.toFixed(1)), energy: cost(2, (v) => digits(v / 1e3, 3)), mark: runsOfMethod.some((run) => run.disturbed) ? " *" : "" };
  });
  const longest = Math.max(...rows.map((c) => c.time?.value ?? 0));
  const body = byId("threshold-table").tBodies[0];
  body.replaceChildren(...rows.map((c) => {
    const row = document.createElement("tr"), head = document.createElement("th");
    head.scope = "row";
    head.textContent = c.method;
    row.append(head);
    const cells = { "reached it": c.reached, epochs: c.epochs?.text, "time, s": c.time && c.time.text + c.mark, "energy, kJ": c.energy && c.energy.text + c.mark };
    for (const [name, text] of Object.entries(cells)) {
      const cell = document.createElement("td");
      cell.dataset.label = name;
      if (name === "time, s" && c.time) cell.append(bar(c.time, longest));
      cell.append(text ?? "n/a");
      row.append(cell);
    }
    return row;
  }));
  giveRoles(body);
  byId("threshold-mark").hidden = rows.every((row) => !row.mark);
}

// A time that is known only from below has no end: its bar fills the whole width, so that it never looks the quicker.
function bar(time, longest) {
  const track = document.createElement("span"), part = document.createElement("span");
  track.className = "track";
  part.className = time.isBound ? "bar bound" : "bar";
  part.style.width = time.isBound ? "100%" : `${(85 * time.value) / longest}%`;
  track.append(part);
  return track;
}

const costSelect = byId("plot-cost");
costSelect.append(...Object.entries(plotted.costs).map(([cost, title]) => {
  const option = document.createElement("option"), isMeasured = plotted.points.some((p) => p[cost] !== null);
  option.value = cost;
  option.textContent = isMeasured ? title : `${title} (not measured)`;
  option.disabled = !isMeasured;
  return option;
}));
byId("plot-area").hidden = false;
if (byId("plot-static")) byId("plot-static").hidden = true;
byId("choice").addEventListener("change", show);
costSelect.addEventListener("input", plot);
addEventListener("resize", plot);
byId("filter").addEventListener("input", filter);
all("#runs-table thead button").forEach((button) => button.addEventListener("click", () => sort(button.closest("th"))));
byId("threshold-task").addEventListener("input", threshold);
byId("threshold-score").addEventListener("input", threshold);
all("form").forEach((form) => form.addEventListener("submit", (event) => event.preventDefault()));
const folded = [];
addEventListener("beforeprint", () => all("details:not([open])").forEach((details) => folded.push(details) && (details.open = true)));
addEventListener("afterprint", () => folded.splice(0).forEach((details) => (details.open = false)));
show();
