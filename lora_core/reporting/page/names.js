"use strict";
// What a reader leaves out disappears from texts as well: a sentence that names it, its part of a list, its name in a
// heading that several methods share.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);
const names = all("#choice input").map((box) => ({ box, label: box.parentElement.textContent.trim() })).sort((a, b) => b.label.length - a.label.length);
const quoted = (text) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&").replace(/\s+/g, "\\s+");
// The longest name first: one may begin with another. A sentence may not begin with a name that begins in a capital.
const anyName = new RegExp(`(?<![\\w-])(?:${names.map(({ label }) => quoted(label)).join("|")})(?![\\w-])`, "giu");
const same = (a, b) => a.toLowerCase().replace(/\s+/g, " ") === b.toLowerCase();
const isLeftOut = (name) => names.some(({ box, label }) => !box.checked && same(name, label));
const namesLeftOut = (text) => (text.match(anyName) ?? []).some(isLeftOut);
const original = (element) => (element.dataset.text ??= element.textContent);

// A list without the clauses that name what is left out; a bracket is a list of its own.
function withoutLeftOut(text) {
  const put = [], hold = (part) => `\u0001${put.push(part) - 1}\u0001`;
  const keep = (part) => part.split(/(?<=[,;]) /).filter((clause) => !clause.includes("\u0002")).join(" ").replace(/[,;]$/, "");
  text = text.replace(anyName, (name) => (isLeftOut(name) ? "\u0002" : hold(name))).replace(/\[[^\]]*\]/g, hold);
  for (let before = ""; before !== text; ) {
    before = text;
    text = text.replace(/( ?)\(([^()]*)\)/g, (_, space, inner) => (keep(inner) ? hold(`${space}(${keep(inner)})`) : ""));
  }
  text = keep(text);
  while (text.includes("\u0001")) text = text.replace(/\u0001(\d+)\u0001/g, (_, number) => put[number]);
  return text;
}

function nameColumns() {
  for (const head of all("th[data-names]")) {
    const { methods, tasks, lists_tasks } = JSON.parse(head.dataset.names);
    const kept = [methods, tasks].map((pairs) => pairs.map(([, label]) => label).filter((label) => !isLeftOut(label)));
    const text = kept.slice(0, lists_tasks ? 2 : 1).map((labels) => labels.join(", ")).join(": ");
    for (const { cells } of head.closest("table").rows) {
      cells[head.cellIndex].hidden = kept.some((labels) => !labels.length);
      cells[head.cellIndex].dataset.label = text;
    }
    head.textContent = text;
  }
}

function nameClaims() {
  all(".parts").forEach((part) => (part.textContent = withoutLeftOut(original(part)) || "nothing about what is chosen"));
  const claims = all(".claims li");
  claims.forEach((claim) => (claim.hidden = all(".about", claim).some((part) => namesLeftOut(part.textContent))));
  const shown = claims.filter((claim) => !claim.hidden);
  for (const group of all("#claims > details")) {
    const count = all(".claims li", group).filter((claim) => !claim.hidden).length, title = group.querySelector("summary");
    group.hidden = !count;
    title.textContent = original(title).replace(/^\d+/, count).replace(/: (it needs|they need)/, count === 1 ? ": it needs" : ": they need");
  }
  const counts = original(byId("claim-counts"));
  byId("claim-counts").textContent = counts.replace(/^Of \d+ claims?/, `Of ${shown.length} claim${shown.length === 1 ? "" : "s"}`).replace(/([:,]) \d+ (not reproduced|not measured|reproduced|undecided)/g, (_, mark, verdict) => `${mark} ${shown.filter((claim) => claim.dataset.verdict === verdict).length} ${verdict}`);
}

function nameFigures() {
  for (const group of all("figure svg g:not([data-method])")) {
    const lines = [...group.children];
    if (lines.length && lines.every((line) => line.tagName === "text")) group.style.display = namesLeftOut(lines.map((line) => line.textContent).join(" ")) ? "none" : "";
  }
  for (const caption of all("figcaption .caption")) {
    const hides = namesLeftOut(original(caption)), text = hides ? caption.dataset.plain : original(caption);
    caption.classList.toggle("spoken", "titled" in caption.dataset && !hides);
    caption.textContent = text;
    all("svg", caption.closest("figure")).forEach((svg) => svg.setAttribute("aria-label", `Figure: ${text.replace(/\.$/, "")}. Its numbers are in figures/${caption.dataset.figure}.csv.`));
  }
}

// A table without a row or a column that is left goes with its notes.
function hideTables() {
  const isEmpty = (cells) => cells.length > 0 && cells.every((cell) => cell.hidden);
  const gone = all(".table[data-table], .more[data-table]").filter((block) => {
    const { tHead, tBodies } = block.querySelector("table");
    return isEmpty([...tBodies[0].rows]) || isEmpty([...tHead.rows[0].cells].slice(1));
  });
  const tables = new Set(gone.map((block) => block.dataset.table));
  all("[data-table]").forEach((block) => (block.hidden = tables.has(block.dataset.table)));
}

function nameTexts() {
  nameColumns();
  nameClaims();
  nameFigures();
  all(".says").forEach((text) => (text.hidden = namesLeftOut(text.dataset.about ?? text.textContent)));
  all("p.footnote").forEach((note) => (note.textContent = original(note).replace(anyName, (name) => (isLeftOut(name) ? "…" : name))));
  const methods = hidden("method");
  all("main tbody tr:not([data-task])").forEach((row) => (row.hidden = methods.has(row.dataset.method) || namesLeftOut(row.cells[0].textContent)));
  hideTables();
  byId("left-out").hidden = names.every(({ box }) => box.checked);
}
