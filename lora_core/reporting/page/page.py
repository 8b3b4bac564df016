"""report.html from a study's tables, figures, verdicts and records, as they lie in its folder.

The page, its style and its script lie beside this file under its name.
"""

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from lora_core.data.tasks import task_title
from lora_core.evaluation.cost_to_threshold import device_of
from lora_core.records import FULL, OWN, atomic_file, read_json

# What each section shows: its figures, and whose provenance stands below it (None: no run was needed).
SECTIONS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "table2": (("scores", "score_over_epochs", "loss_curves"), "runs"),
    "table1": (("pareto",), None),
    "table3": (("latency",), "latency"),
    "table4": (("memory",), "runs"),
    "table5": (("time_to_threshold", "score_over_time"), "runs"),
    "table6": (("energy_to_threshold", "score_over_energy", "power"), "runs"),
    "convergence": ((), "runs"),
    "sweep": (("sweep",), "runs"),
    "scaling": (("scaling",), None),
    "table7": ((), None),
}
VERDICTS = ("reproduced", "not reproduced", "undecided", "not measured")
# Of each run, in the table of runs: what runs.csv calls it, and how it is shown.
RUN_COLUMNS = {
    "best score, %": ("score.best", 100.0, 1),
    "best epoch": ("score.best_epoch", 1.0, 0),
    "last score, %": ("score.last", 100.0, 1),
    "train, s": ("train_seconds", 1.0, 1),
    "memory, mean MB": ("memory.mean_mb", 1.0, 0),
    "saved for backward, MB": ("memory.saved_for_backward_mb", 1.0, 0),
    "energy, kJ": ("energy.train_joules", 1e-3, 3),
}


@dataclass
class Grid:
    """One table of a page: header and rows of text."""

    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


@dataclass
class Page:
    """A table's Markdown: its heading, the lines above, its own grid, the notes, and what was published."""

    name: str
    heading: str = ""
    lines: list[str] = field(default_factory=list)
    own: Grid = field(default_factory=Grid)
    notes: list[str] = field(default_factory=list)
    published: Grid | None = None
    source: str = ""


def read_markdown(path: Path) -> Page:
    """A table as `lora_core.reporting.rendering` wrote it."""
    from markdown_it import MarkdownIt

    page = Page(path.stem)
    grid: Grid | None = None
    row: list[str] | None = None
    opened: list[str] = []
    for token in MarkdownIt("commonmark", {"html": False}).enable("table").parse(path.read_text(encoding="utf-8")):
        if token.nesting == 1:
            opened.append(token.type)
        if token.type == "table_open":
            grid = page.own if page.published is None else page.published
        if token.type == "tr_open":
            row = []
        if token.type == "tr_close" and grid is not None and row is not None:
            if grid.head:
                grid.rows.append(row)
            else:
                grid.head = row
        if token.type == "inline":
            text = "".join(" " if child.type == "softbreak" else child.content for child in token.children or ())
            if "table_open" in opened and row is not None:
                row.append(text)
            elif "list_item_open" in opened:
                page.notes.append(text)
            elif "heading_open" in opened and page.heading:
                page.published = Grid()
            elif "heading_open" in opened:
                page.heading = text
            elif page.published is not None:
                page.source = text
            else:
                page.lines.append(text)
        if token.nesting == -1:
            opened.pop()
    return page


def read_svg(path: Path) -> str:
    """A figure to stand inside a page."""
    text = path.read_text(encoding="utf-8")
    return text[text.index("<svg") :]


def read_runs(path: Path) -> list[dict[str, Any]]:
    """One row a run from runs.csv."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            key = line["method"], line["task"], line["seed"]
            rows.setdefault(key, dict(zip(("method", "task", "seed"), key, strict=True)))[line["quantity"]] = line[
                "value"
            ]
    for row in rows.values():
        row["cells"] = [_cell(row.get(name), factor, digits) for name, factor, digits in RUN_COLUMNS.values()]
    return list(rows.values())


def _cell(value: str | None, factor: float, digits: int) -> dict[str, Any]:
    if not value:
        return {"text": "n/a", "sort": ""}
    return {"text": f"{factor * float(value):,.{digits}f}", "sort": float(value)}


def provenance(records: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Where records come from: each fact in words, every value that it has among them."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        place = record["provenance"]
        commit = place["commit"] or "no checkout"
        facts = {
            "code": f"{commit[:12]}{' with changes' if place['dirty'] else ''}",
            "device": place["device_model"],
            "threads": place["threads"],
            "python": place["python"],
            **place["packages"],
        }
        for name, value in facts.items():
            found.setdefault(name, {})[str(value)] = None
    return {name: ", ".join(values) for name, values in found.items()}


def answer(rows: Sequence[dict[str, Any]], counts: dict[str, Any], devices: set[str]) -> list[str]:
    """LoRA against full fine-tuning in plain words, from means over all runs; `devices` are those they ran on."""

    def mean(method: str, quantity: str) -> float | None:
        values = [str(row.get(quantity) or "") for row in rows if row["method"] == method]
        return fmean(float(value) for value in values) if all(values) else None

    def both(quantity: str) -> tuple[float, float] | None:
        full, own = mean(FULL, quantity), mean(OWN, quantity)
        return None if full is None or own is None else (full, own)

    if not {FULL, OWN} <= {row["method"] for row in rows}:
        return [f"This study has not both {FULL} and {OWN}: there is nothing to compare in short."]
    trained = counts["methods"][OWN]["trainable"]
    sentences = [
        f"LoRA trains {trained:,} parameters and the head, {100 * trained / counts['full']:.2g} % of the model's "
        f"{counts['full']:,}."
    ]
    if found := both("score.best"):
        full, own = found
        sentences.append(
            f"Best score, mean over tasks and seeds: full fine-tuning {100 * full:.1f} %, LoRA {100 * own:.1f} %."
        )
    if len(devices) > 1:
        return [*sentences, f"Measured on {len(devices)} devices, so time and energy have no mean."]
    for quantity, what, unit, factor in (
        ("train_seconds", "Training a run takes", "s", 1.0),
        ("energy.train_joules", "It takes", "kJ", 1e-3),
    ):
        if found := both(quantity):
            full, own = (factor * value for value in found)
            sentences.append(
                f"{what} {full:,.3g} {unit} by full fine-tuning and {own:,.3g} {unit} by LoRA, each for all the epochs "
                f"that its protocol plans: {own / full:.2f} times as much."
            )
    if not both("energy.train_joules"):
        sentences.append("Energy was not measured for all runs.")
    return sentences


def method_of(row: str, methods: Sequence[str]) -> str | None:
    """The method that a table's row is about: the longest name that it begins with."""
    own = [m for m in methods if re.match(rf"{re.escape(m)}($|[,: ])", row)]
    return max(own, key=len, default=None)


def write(
    folder: Path,
    tables: Sequence[Path],
    figures: Sequence[Path],
    curves: Sequence[Path],
    runs: Sequence[Path],
    latency: Sequence[Path],
    out: Path,
) -> None:
    """Write the page. `folder` holds claims.csv and runs.csv, and is what links are relative to."""
    import jinja2
    from markupsafe import Markup

    here = Path(__file__)
    rows = read_runs(folder / "runs.csv")
    records = {"runs": [read_json(file) for file in runs], "latency": [read_json(file) for file in latency]}
    methods, tasks = (list(dict.fromkeys(row[name] for row in rows)) for name in ("method", "task"))
    drawn = {path.stem: read_svg(path) for path in figures}
    pages = {path.stem: read_markdown(path) for path in tables}
    with (folder / "claims.csv").open(newline="", encoding="utf-8") as stream:
        claims = list(csv.DictReader(stream))
    if unknown := pages.keys() - SECTIONS:
        raise ValueError(f"no section of the report shows {', '.join(sorted(unknown))}; name it in SECTIONS")
    sections = [
        (pages[name], [(figure, drawn[figure]) for figure in shown if figure in drawn], of)
        for name, (shown, of) in SECTIONS.items()
        if name in pages
    ]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(method_of=lambda row: method_of(row, methods), markup=Markup, as_json=as_json)
    text = environment.from_string(here.with_suffix(".html").read_text(encoding="utf-8")).render(
        style=here.with_suffix(".css").read_text(encoding="utf-8"),
        script=here.with_suffix(".js").read_text(encoding="utf-8"),
        lines=next(iter(pages.values())).lines,
        answer=answer(rows, read_json(folder / "counts.json"), {device_of(run) for run in records["runs"]}),
        claims=sorted(claims, key=lambda claim: VERDICTS.index(_verdict(claim))),
        verdicts=_count(claims),
        sections=sections,
        places={of: provenance(found) for of, found in records.items()},
        methods=methods,
        tasks={task: task_title(task) for task in tasks},
        columns=list(RUN_COLUMNS),
        runs=rows,
        curves={path.stem.removesuffix("_curve"): _curve(path) for path in curves},
    )
    with atomic_file(out) as temp_path:
        temp_path.write_text(text, encoding="utf-8")


def _count(claims: Sequence[dict[str, str]]) -> dict[str, int]:
    """How many claims have which verdict."""
    found = [_verdict(claim) for claim in claims]
    return {verdict: found.count(verdict) for verdict in VERDICTS}


def _verdict(claim: dict[str, str]) -> str:
    return claim["verdict"].split(" (")[0]


def _curve(path: Path) -> dict[str, Any]:
    """A task's threshold and the history of every run, for another threshold that a reader chooses.

    Where the runs of a method are of several devices its name says so: time and energy are never averaged over two.
    """
    with path.with_name(path.name.replace("_curve", "")).open(newline="", encoding="utf-8") as stream:
        costs = list(csv.DictReader(stream))
    devices = {(line["method"], line["seed"]): line["device"] for line in costs}
    several = len(set(devices.values())) > 1
    found: dict[tuple[str, str], dict[str, Any]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            key = line["method"], line["seed"]
            name = f"{line['method']} on {devices[key]}" if several else line["method"]
            run = found.setdefault(key, {"method": line["method"], "name": name, "epochs": []})
            energy = line["cumulative_train_energy_joules"]
            run["epochs"].append(
                [float(line["score"]), float(line["cumulative_train_seconds"]), float(energy) if energy else None]
            )
    threshold = costs[0]["threshold"]
    return {"threshold": float(threshold) if threshold else None, "runs": list(found.values())}


def as_json(value: Any) -> str:
    """For a script element: nothing in it ends the element."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")
