"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const curves = JSON.parse(document.getElementById("curves").textContent);
const chosen = (name) => new Set(all(`#choice input[name="${name}"]:checked`).map((box) => box.value));
const hidden = (name) => new Set(all(`#choice input[name="${name}"]:not(:checked)`).map((box) => box.value));
const roles = { table: "table", thead: "rowgroup", tbody: "rowgroup", tr: "row", "th[scope=row]": "rowheader", "thead th": "columnheader", td: "cell" };
// Where a narrow screen shows rows as cards, they stay rows of a table to a screen reader.
const giveRoles = (root) => Object.entries(roles).forEach(([selector, role]) => all(selector, root).forEach((element) => element.setAttribute("role", role)));
giveRoles(document);

function show() {
  const hiddenMethods = hidden("method"), tasks = chosen("task"), hiddenTasks = hidden("task");
  all("tr[data-method]").forEach((row) => (row.hidden = hiddenMethods.has(row.dataset.method)));
  all("svg g[data-method]").forEach((mark) => (mark.style.display = hiddenMethods.has(mark.dataset.method) ? "none" : ""));
  all("svg g[data-task]").forEach((panel) => panel.classList.toggle("off", !tasks.has(panel.dataset.task)));
  all("[data-column]").forEach((cell) => (cell.hidden = hiddenTasks.has(cell.dataset.column)));
  filter();
  threshold();
}

function filter() {
  const methods = chosen("method"), tasks = chosen("task");
  const terms = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = all("#runs-table tbody tr");
  for (const row of rows) {
    const [method, task, seed] = [...row.cells].map((cell) => cell.textContent.toLowerCase());
    const matches = terms.every((term) => method.startsWith(term) || task.startsWith(term) || seed === term);
    row.hidden = !(matches && methods.has(row.dataset.method) && tasks.has(row.dataset.task));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  document.getElementById("filter-count").textContent = `${shown} of ${rows.length} runs`;
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

function threshold(event) {
  const task = document.getElementById("threshold-task").value, slider = document.getElementById("threshold-score");
  const { runs, threshold: studyThreshold } = curves[task], scores = runs.flatMap((run) => run.epochs.map(([score]) => 100 * score));
  if (!event || event.target !== slider) {
    const previous = slider.dataset.task === task ? slider.value : null;
    slider.min = Math.floor(Math.min(...scores));
    slider.max = Math.ceil(Math.max(...scores));
    slider.value = previous ?? (studyThreshold === null ? Math.max(...scores) : 100 * studyThreshold);
    slider.dataset.task = task;
  }
  const at = Number(slider.value) / 100, methods = chosen("method");
  document.getElementById("threshold-value").textContent = `${(100 * at).toFixed(1)} %`;
  // The median over all runs, as in tables 5 and 6: a run that did not reach the score ranks above all others.
  const median = (values, total, show) => {
    if (values.includes(null)) return null;
    const ranked = [...values].sort((a, b) => a - b), lower = Math.floor((total - 1) / 2), upper = Math.floor(total / 2);
    const middle = (ranked[lower] + ranked[upper]) / 2;
    if (upper < ranked.length) return { value: middle, text: show(middle) };
    return { value: null, text: lower < ranked.length ? `≥ ${show(ranked[lower])}` : "not reached" };
  };
  const shown = runs.filter((run) => methods.has(run.method));
  const rows = [...new Set(shown.map((run) => run.name))].map((method) => {
    const runsOfMethod = shown.filter((run) => run.name === method);
    const costs = runsOfMethod.map((run) => run.epochs.findIndex(([score]) => score >= at - 1e-9)).map((i, n) => (i < 0 ? null : [i + 1, ...runsOfMethod[n].epochs[i].slice(1)])).filter(Boolean);
    const cost = (column, show) => median(costs.map((c) => c[column]), runsOfMethod.length, show);
    return { method, reached: `${costs.length} of ${runsOfMethod.length}`, epochs: cost(0, (v) => v.toFixed(1)), time: cost(1, (v) => v.toFixed(1)), energy: cost(2, (v) => (v / 1e3).toPrecision(3)) };
  });
  const longest = Math.max(...rows.map((c) => c.time?.value ?? 0));
  const body = document.getElementById("threshold-table").tBodies[0];
  body.replaceChildren(...rows.map((c) => {
    const row = document.createElement("tr"), head = document.createElement("th");
    head.scope = "row";
    head.textContent = c.method;
    row.append(head);
    const cells = { "reached it": c.reached, epochs: c.epochs?.text, "time, s": c.time?.text, "energy, kJ": c.energy?.text };
    for (const [label, text] of Object.entries(cells)) {
      const cell = document.createElement("td");
      cell.dataset.label = label;
      if (label === "time, s" && c.time?.value) {
        const bar = document.createElement("span");
        bar.className = "bar";
        bar.style.width = `${(5 * c.time.value) / longest}rem`;
        cell.append(bar);
      }
      cell.append(text ?? "n/a");
      row.append(cell);
    }
    return row;
  }));
  giveRoles(body);
}

document.getElementById("choice").addEventListener("change", show);
document.getElementById("filter").addEventListener("input", filter);
all("#runs-table thead button").forEach((button) => button.addEventListener("click", () => sort(button.closest("th"))));
document.getElementById("threshold-task").addEventListener("input", threshold);
document.getElementById("threshold-score").addEventListener("input", threshold);
all("form").forEach((form) => form.addEventListener("submit", (event) => event.preventDefault()));
addEventListener("beforeprint", () => all("details").forEach((details) => (details.open = true)));
show();
