"""The paper's tables from this study's records: rows of text and numbers, written as Markdown, CSV and LaTeX."""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lora_core.published import TABLES, Published
from lora_core.records import read_json, whole_file
from lora_core.tasks import TASKS

NA = "n/a"
METRIC_NAMES = {"accuracy": "accuracy", "matthews": "Matthews correlation", "pearson": "Pearson correlation"}


@dataclass(frozen=True)
class Cell:
    """One figure: shown as `text`, kept as `value`; None is not available."""

    row: str
    column: str
    value: float | str | None
    text: str
    sd: float | None = None
    n: int | None = None


@dataclass(frozen=True)
class Table:
    """A table of this study; `notes` stand below it."""

    number: int
    title: str
    corner: str
    cells: list[Cell]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Study:
    """What every table says of the study it shows."""

    model: str
    data: str
    protocol: str
    seeds: list[int]
    batching: str
    simulated: bool
    comparable: bool

    def banner(self) -> list[str]:
        """The lines above a table."""
        seeds = ", ".join(map(str, self.seeds))
        lines = [f"Study: {self.model} on {self.data}; protocol: {self.protocol}; seeds: {seeds}."]
        if not self.comparable:
            lines.append("Another model or other data than the paper's: not comparable with the published figures.")
        if self.simulated:
            lines.append("The power meter's driver is simulated: no power or energy here was measured.")
        return lines


def mean_cell(row: str, column: str, values: Sequence[float | None], show: Callable[[float], str]) -> Cell:
    """Mean over runs, with the standard deviation from two runs on; not available where one value is."""
    known = [value for value in values if value is not None and not pd.isna(value)]
    if not known or len(known) < len(values):
        return Cell(row, column, None, NA, n=len(values))
    mean = sum(known) / len(known)
    if len(known) == 1:
        return Cell(row, column, mean, show(mean), n=1)
    sd = float(pd.Series(known).std(ddof=1))
    return Cell(row, column, mean, f"{show(mean)} ± {show(sd)}", sd, len(known))


def _title(task: str) -> str:
    return TASKS[task].title if task in TASKS else task


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def parameters(counts_file: Path) -> Table:
    """Table 1: trainable parameters, the head counted apart."""
    counts = read_json(counts_file)
    cells = []
    for method, count in counts["methods"].items():
        share = 1 - count["trainable"] / counts["full"]
        cells += [
            Cell(method, "trainable parameters", count["trainable"], f"{count['trainable']:,}"),
            Cell(method, "in millions", count["trainable"] / 1e6, f"{count['trainable'] / 1e6:.1f}"),
            Cell(method, "fewer than the whole model", share, f"{100 * share:.2f} %"),
            Cell(method, "head", count["head"], f"{count['head']:,}"),
            Cell(method, "whole model", count["total"], f"{count['total']:,}"),
        ]
    return Table(
        1, "Trainable parameters", "method", cells,
        [
            "Counted on the meta device for a head with two labels; no training is needed.",
            "As in the paper, what an adapter method trains is counted without the head, which every method trains; "
            "full fine-tuning counts the whole model, its head included.",
        ],
    )  # fmt: skip


def read_runs(files: Iterable[Path]) -> pd.DataFrame:
    """One row a run: method, task, seed and the figures that tables show."""
    rows = []
    for file in files:
        record = read_json(file)
        run, measured = record["run"], record["measurement"]
        memory = measured["memory"]
        baseline = memory["baseline_mb"]
        rows.append(
            {
                "method": run["method"],
                "task": run["task"],
                "seed": run["seed"],
                "best": measured["score"]["best"],
                "best_epoch": measured["score"]["best_epoch"],
                "last": measured["score"]["last"],
                "epochs": run["hyperparameters"]["epochs"],
                "metric": measured["score"]["metric"],
                "constant_guess": run["data"]["validation"]["constant_guess"],
                "examples": measured["score"]["examples"],
                "memory_kind": memory["kind"],
                "memory_mean_mb": memory["mean_mb"],
                "memory_added_mb": None if None in (baseline, memory["mean_mb"]) else memory["mean_mb"] - baseline,
                "device_model": record["provenance"]["device_model"],
                "threads": record["provenance"]["threads"],
            }
        )
    return pd.DataFrame(rows)


def scores(run_files: Iterable[Path]) -> Table:
    """Table 2: the score of the best and of the last epoch."""
    runs = read_runs(run_files)
    cells = []
    for method, own in runs.groupby("method", sort=False):
        for when, which in (("best", "best epoch"), ("last", "last epoch")):
            for task, group in own.groupby("task", sort=False):
                cells.append(mean_cell(f"{method}, {which}", _title(str(task)), list(group[when]), _percent))
    for task, group in runs.groupby("task", sort=False):
        cells.append(mean_cell("constant guess", _title(str(task)), [group["constant_guess"].iloc[0]], _percent))
    metrics = "; ".join(
        f"{_title(str(t))}: {METRIC_NAMES[g['metric'].iloc[0]]}" for t, g in runs.groupby("task", sort=False)
    )
    size = "; ".join(f"{_title(str(t))}: {g['examples'].iloc[0]}" for t, g in runs.groupby("task", sort=False))
    notes = [
        f"In percent, on the validation split. {metrics}.",
        f"Validation examples: {size}.",
        "The best epoch is chosen on the split that is reported, as in the paper; the last epoch is not chosen.",
    ]
    if runs["seed"].nunique() > 1:
        notes.append("Mean ± standard deviation over seeds.")
    return Table(2, "Score on the validation split", "method", cells, notes)


def _per_device(frame: pd.DataFrame) -> pd.DataFrame:
    """Name the device in the method where there are several: what was measured is never averaged over two."""
    if frame["device_model"].nunique() > 1:
        frame = frame.assign(method=frame["method"] + " on " + frame["device_model"])
    return frame


VARIANTS = ["plain", "merged", "unmerged"]


def latency(csv_files: Iterable[Path]) -> Table:
    """Table 3: median seconds per pass over the validation set."""
    frames = []
    for file in map(Path, csv_files):
        record = read_json(file.with_suffix(".json"))["provenance"]
        frames.append(
            pd.read_csv(file).assign(task=file.parent.name, device_model=record["device_model"], seed=file.stem)
        )
    passes = _per_device(pd.concat(frames))
    passes = passes.sort_values(["variant"], key=lambda v: v.map(VARIANTS.index), kind="stable")
    passes["row"] = passes["method"].where(passes["variant"] == "plain", passes["method"] + ", " + passes["variant"])
    cells = []
    for (row, task), group in passes.groupby(["row", "task"], sort=False):
        median = float(group["seconds"].median())
        cells.append(Cell(str(row), _title(str(task)), median, f"{median:.3f}", n=len(group)))
    notes = [
        f"Median seconds of {passes['round'].max()} passes, in batches of {passes['batch_size'].iloc[0]} sorted by "
        "length and padded to the longest, the variants interleaved in one process in an order shuffled per round.",
        f"Device: {', '.join(passes['device_model'].unique())}. Seeds timed: {passes['seed'].nunique()}.",
    ]
    return Table(3, "Inference latency", "method", cells, notes)


def memory(run_files: Iterable[Path]) -> Table:
    """Table 4: average memory during training."""
    runs = _per_device(read_runs(run_files))
    kinds = set(runs["memory_kind"])
    resident = kinds == {"resident"}
    cells = []
    for (method, task), group in runs.groupby(["method", "task"], sort=False):
        raw = mean_cell(str(method), _title(str(task)), list(group["memory_mean_mb"]), lambda mb: f"{mb:.0f}")
        cells.append(raw)
    if resident:
        for (method, task), group in runs.groupby(["method", "task"], sort=False):
            row = f"{method}, less the baseline"
            cells.append(mean_cell(row, _title(str(task)), list(group["memory_added_mb"]), lambda mb: f"{mb:.0f}"))
    notes = ["MB (10^6 bytes), the mean over the samples taken while training."]
    if "resident" in kinds:
        notes.append(
            "On a CPU: the resident memory of the whole process, and the same less what it held before the model was "
            "loaded. It is not GPU memory and decides nothing about it."
        )
    if "device" in kinds:
        notes.append("On a GPU: the memory in use on the device, as NVML tells it.")
    notes.append(f"Device: {', '.join(runs['device_model'].unique())}.")
    return Table(4, "Average memory during training", "method", cells, notes)


QUANTITIES: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("power (W)", "power", lambda v: f"{v:.1f}"),
    ("train time (s)", "seconds_to_threshold", lambda v: f"{v:.1f}"),
    ("epochs", "epochs_to_threshold", lambda v: f"{v:g}"),
    ("energy (kJ)", "energy", lambda v: f"{v:.3g}"),
    ("seeds that got there", "reached", lambda v: f"{100 * v:.0f} %"),
    ("epochs planned", "planned_epochs", lambda v: f"{v:g}"),
    ("threshold", "threshold", _percent),
)


def cost(number: int, csv_files: Iterable[Path], methods: list[str]) -> Table:
    """Tables 5 and 6: power, time, epochs and energy up to the task's threshold; medians over the seeds that got
    there."""
    frame = _per_device(pd.concat([pd.read_csv(f).assign(task=Path(f).stem) for f in csv_files]))
    frame = frame[frame["method"].str.split(" on ").str[0].isin(methods)]
    frame["power"] = frame["energy_to_threshold_joules"] / frame["seconds_to_threshold"]
    frame["energy"] = frame["energy_to_threshold_joules"] / 1e3
    several = frame["method"].nunique() > 1
    cells = []
    for (method, task), group in frame.groupby(["method", "task"], sort=False):
        for label, column, show in QUANTITIES:
            known = group[column].dropna().astype(float)
            value = None
            if len(known):
                value = float(known.mean() if column == "reached" else known.median())
            row = f"{method}: {label}" if several else label
            cells.append(Cell(row, _title(str(task)), value, NA if value is None else show(value), n=len(known)))
    notes = [
        "Up to the first epoch whose score reaches the task's threshold, min(mean FFT, mean LoRA) - 0.5 points of the "
        "best scores; medians over the seeds that got there. Training alone, without "
        "evaluation, loading and saving.",
    ]
    if frame["threshold"].isna().all():
        notes.append("No threshold: it needs both `fft` and `lora` in the study.")
    elif not frame["reached"].astype(bool).all():
        notes.append("A run that never gets there is left out of the medians and counted in the seeds that did not.")
    vague = [_title(t) for t in frame["task"].unique() if not frame[frame["task"] == t]["threshold_meaningful"].all()]
    if vague and not frame["threshold"].isna().all():
        notes.append(f"Threshold not meaningful (within 2 points of the constant guess): {', '.join(vague)}.")
    reasons = sorted(set(frame["meter_reason"].dropna()))
    if reasons:
        notes.append(f"No power and energy (n/a): {'; '.join(reasons)}.")
    notes.append(f"Device: {', '.join(frame['device_model'].unique())}.")
    what = "full fine-tuning" if number == 5 else "LoRA"
    return Table(number, f"Cost at equal accuracy: {what}", "quantity", cells, notes)


def hyperparameters(resolved: dict[str, dict[str, dict[str, Any]]]) -> Table:
    """Table 7 from `{method: {task: {name: {value, source}}}}`."""
    cells: list[Cell] = []
    sources: dict[str, dict[str, None]] = {}
    for method, tasks in resolved.items():
        for task, values in tasks.items():
            for name, entry in values.items():
                row = f"{method}: {name.replace('_', ' ')}"
                value = entry["value"]
                text = ", ".join(value) if isinstance(value, list) else _number(value)
                cells.append(Cell(row, _title(task), text if isinstance(value, list) else value, text))
                sources.setdefault(row, {})[entry["source"]] = None
    cells += [Cell(row, "source", text, text) for row, found in sources.items() for text in ["; ".join(found)]]
    return Table(7, "Hyperparameters in use", "hyperparameter", cells, ["Read from the resolved configuration."])


def _number(value: Any) -> str:
    """A setting as a person would write it; None is the model's own."""
    if value is None:
        return "as in the model"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def write(table: Table, study: Study, stem: Path) -> None:
    """Write `stem`.md, .csv and .tex."""
    published = TABLES.get(table.number)
    rows = [("this study", cell.row, cell.column, cell.value, cell.sd, cell.n) for cell in table.cells]
    if published:
        rows += [
            (published.source, row, _title(column), value, None, None)
            for row, values in published.rows.items()
            for column, value in zip(published.columns, values, strict=True)
        ]
    with whole_file(stem.with_suffix(".csv")) as beside, beside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["block", "row", "column", "value", "sd", "n"])
        writer.writerows(rows)
    for suffix, render in ((".md", markdown), (".tex", latex)):
        with whole_file(stem.with_suffix(suffix)) as beside:
            beside.write_text(render(table, study, published), encoding="utf-8")


def _grid(cells: list[Cell], corner: str) -> list[list[str]]:
    """Header and rows of text, in the order in which rows and columns first appear."""
    columns = list(dict.fromkeys(cell.column for cell in cells))
    grid = {row: dict.fromkeys(columns, "") for row in dict.fromkeys(cell.row for cell in cells)}
    for cell in cells:
        grid[cell.row][cell.column] = cell.text
    return [[corner, *columns], *([row, *texts.values()] for row, texts in grid.items())]


def _published_grid(published: Published, corner: str) -> list[list[str]]:
    head = [corner, *map(_title, published.columns)]
    return [head, *([row, *map(_number, values)] for row, values in published.rows.items())]


def markdown(table: Table, study: Study, published: Published | None) -> str:
    """The table for reading."""

    def lines(grid: list[list[str]]) -> list[str]:
        def line(texts: list[str]) -> str:
            return "| " + " | ".join(map(_markdown_text, texts)) + " |"

        return [line(grid[0]), "|" + " --- |" + " ---: |" * (len(grid[0]) - 1), *map(line, grid[1:])]

    out = [f"# Table {table.number}: {table.title}", "", *(_markdown_text(line) for line in study.banner()), ""]
    out += [*lines(_grid(table.cells, table.corner)), "", *(f"- {_markdown_text(note)}" for note in table.notes)]
    if study.batching and table.number >= 3:
        out.append(f"- Batches in training: {study.batching}.")
    if published:
        out += ["", "## Published, not measured here", "", _markdown_text(published.source), ""]
        out += lines(_published_grid(published, table.corner))
    return "\n".join(out) + "\n"


def latex(table: Table, study: Study, published: Published | None) -> str:
    """The table for a paper; needs the package booktabs."""

    def tabular(grid: list[list[str]]) -> list[str]:
        def line(texts: list[str]) -> str:
            return " & ".join(map(_latex_text, texts)) + r" \\"

        head = [rf"\begin{{tabular}}{{l{'r' * (len(grid[0]) - 1)}}}", r"\toprule", line(grid[0]), r"\midrule"]
        return [*head, *map(line, grid[1:]), r"\bottomrule", r"\end{tabular}"]

    caption = " ".join([f"{table.title}.", *study.banner(), *table.notes])
    out = ["% needs \\usepackage{booktabs}", r"\begin{table}", r"\centering", rf"\caption{{{_latex_text(caption)}}}"]
    out += [rf"\label{{tab:lora-{table.number}}}", *tabular(_grid(table.cells, table.corner))]
    if published:
        out += ["", r"\medskip", rf"Published: {_latex_text(published.source)}", "", r"\smallskip"]
        out += tabular(_published_grid(published, table.corner))
    return "\n".join([*out, r"\end{table}"]) + "\n"


def _markdown_text(text: str) -> str:
    """Text that Markdown shows as it is."""
    for plain, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(plain, safe)
    return text


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "<": r"\textless{}", ">": r"\textgreater{}",
    "\n": " ",
}  # fmt: skip


def _latex_text(text: str) -> str:
    """Text that LaTeX shows as it is."""
    return "".join(LATEX.get(character, character) for character in text)
