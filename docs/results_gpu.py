"""Writes the tables of docs/results-gpu.md from docs/records/h200 (`make pictures`)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.comparison import points
from lora_core.evaluation.frames import read_costs, read_curves
from lora_core.evaluation.references import References
from lora_core.evaluation.run_record import RunRecord
from lora_core.layout import Layout
from lora_core.reporting import catalogue
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.markdown import markdown
from lora_core.stats import TIE

STUDY = Layout(str(Path(__file__).parent / "records/h200"))
TASKS = ("stsb", "mrpc", "rte", "cola")
METHODS = ("fft", "lora")
SHIFTS = (-0.005, 0.0, 0.005)  # of the threshold, as fractions


def markdown_table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return the lines of a Markdown table whose columns but the first are aligned to the right."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return [lines[0], "| --- |" + " ---: |" * (len(head) - 1), *lines[1:]]


def write_tables(page: str, tables: Mapping[str, Sequence[str]]) -> str:
    """Return a page with each table between its markers, `<!-- table: NAME -->` and `<!-- end -->`.

    Raise ValueError if the page's markers are not those of the tables.
    """
    pattern = r"(<!-- table: (\w+) -->\n).*?(\n<!-- end -->)"
    if (names := {name for _, name, _ in re.findall(pattern, page, re.S)}) != set(tables):
        raise ValueError(f"the markers of the page are {sorted(names)}, but its tables are {sorted(tables)}")
    return re.sub(pattern, lambda found: "\n".join([found[1], *tables[found[2]], found[3]]), page, flags=re.S)


def _files(pattern: str) -> list[Path]:
    return [Path(pattern.format(task=task, seed=1)) for task in TASKS]


def _run_record(method: str, task: str) -> Path:
    return Path(STUDY.run_record.format(method=method, task=task, seed=1))


def epochs() -> pd.DataFrame:
    """One row per task: its tokens per step, and what the median epoch of LoRA takes relative to full fine-tuning.

    `tokens_per_step` leaves out padding. `mean_time` is of all planned epochs, the first among them.
    """
    rows = {}
    for task, curves in read_curves(_files(STUDY.curve)).groupby("task", sort=False):
        run = RunRecord.read(_run_record("fft", str(task)))
        spent = {method: _epoch_costs(curves[curves["method"] == method]) for method in METHODS}
        median = spent["lora"].median() / spent["fft"].median()
        mean = spent["lora"].mean() / spent["fft"].mean()
        tokens, batch = run.data.train.tokens / run.data.train.examples, run.hyperparameters["batch_size"]
        rows[task] = {"tokens_per_step": tokens * batch, **median, "mean_time": mean["time"]}
    return pd.DataFrame.from_dict(rows, orient="index")


def _epoch_costs(curve: pd.DataFrame) -> pd.DataFrame:
    """Seconds and joules of each epoch, from the sums so far."""
    sums = curve[["cumulative_train_seconds", "cumulative_train_energy_joules"]].set_axis(["time", "energy"], axis=1)
    return sums.diff().fillna(sums)


def tables() -> dict[str, Sequence[str]]:
    """The tables of docs/results-gpu.md by the name of their marker."""
    return {name: _study_table(name) for name in ("table2", "table3", "table4", "table5", "table6")} | {
        "summary": _summary(),
        "thresholds": _thresholds(),
    }


def _study_table(name: str) -> list[str]:
    """The rows of a table of the study, without its notes."""
    entry = catalogue.TABLES[name]
    files = {
        **{record: _files(getattr(STUDY, record)) for record in ("scores", "differences", "latency", "costs")},
        "latency_records": _files(STUDY.latency_record),
        "runs": [_run_record(method, task) for method in METHODS for task in TASKS],
    }
    settings = DrawSettings(
        references=References(full="fft", adapter="lora"), latency_margin=0.03, precision="bf16",
        methods=("fft",) if name == "table5" else ("lora",), labels={"fft": "Full fine-tuning", "lora": "LoRA (own)"},
    )  # fmt: skip
    table = entry.function()({record: files[record] for record in entry.records}, settings)
    measured = markdown(table).split("## Published")[0]
    return [line for line in measured.splitlines() if line.startswith("|")]


def _summary() -> list[str]:
    """LoRA relative to full fine-tuning: an epoch, and the cost at equal accuracy."""
    costs, compared = read_costs(_files(STUDY.costs)).set_index(["method", "task"]), epochs()
    full, lora = costs.loc["fft"], costs.loc["lora"]
    rows = {
        "tokens per step of both, without padding": [f"{compared.at[task, 'tokens_per_step']:,.0f}" for task in TASKS],
        "time of the median epoch": [f"{compared.at[task, 'time']:.2f}" for task in TASKS],
        "time of the mean epoch": [f"{compared.at[task, 'mean_time']:.2f}" for task in TASKS],
        "energy of the median epoch": [f"{compared.at[task, 'energy']:.2f}" for task in TASKS],
    }
    for label, column in (("epochs", "epochs_to_threshold"), ("time", "seconds_to_threshold"), ("energy", "energy")):
        ratios = lora[column] / full[column]
        rows[f"{label} to equal accuracy"] = [f"{ratios[task]:.2f}" for task in TASKS]
    watts = lora["power"] - full["power"]
    rows["mean power up to there: LoRA − full, W"] = [f"{watts[task]:+.0f}".replace("-", "−") for task in TASKS]
    return _by_task("LoRA / full", rows)


def _thresholds() -> list[str]:
    """Energy of LoRA relative to full fine-tuning, up to thresholds around the one of equal accuracy."""
    thresholds = read_costs(_files(STUDY.costs)).groupby("task")["threshold"].first()
    curves = read_curves(_files(STUDY.curve))
    rows = {}
    for shift in SHIFTS:
        label = f"{points(100 * shift)} points" if shift else "as in tables 5 and 6"
        rows[label] = [_to_reach(curves[curves["task"] == task], thresholds[task] + shift) for task in TASKS]
    return _by_task("threshold", rows)


def _to_reach(curves: pd.DataFrame, score: float) -> str:
    """The ratio of energies up to a score, and the epochs of both that it takes."""
    reached = curves[curves["score"] >= score - TIE].groupby("method").first()
    full, lora = reached.loc["fft"], reached.loc["lora"]
    energy = lora["cumulative_train_energy_joules"] / full["cumulative_train_energy_joules"]
    return f"{energy:.2f} ({full['epoch']:.0f}, {lora['epoch']:.0f})"


def _by_task(corner: str, rows: Mapping[str, Iterable[str]]) -> list[str]:
    return markdown_table((corner, *map(task_title, TASKS)), ([label, *cells] for label, cells in rows.items()))
