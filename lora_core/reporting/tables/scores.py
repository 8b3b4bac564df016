"""Table 2: scores of the best, the last and the cross-fitted epoch, and the differences to the reference entries."""

from dataclasses import replace

import pandas as pd

from lora_core.data.metrics import METRICS
from lora_core.data.tasks import task_title
from lora_core.evaluation.frames import read_differences, read_scores, run_names
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table
from lora_core.reporting.tables.cells import groups, percent, score_cell, shared_device_note
from lora_core.stats import MIN_SEEDS

BASELINE = "majority-class baseline"
EPOCHS = {"best": "best epoch", "last": "last epoch", "cross_fitted": "cross-fitted"}
# What an interval of a difference is taken over, and the columns of its bounds.
INTERVALS = {"seeds": ("low", "high"), "examples": ("examples_low", "examples_high")}


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the table from each task's scores and differences."""
    runs, differences = read_scores(inputs["scores"]), read_differences(inputs["differences"])
    references = [name for name in (settings.references.full, settings.references.adapter) if name]
    compared = differences[differences["against"].isin(references) & (differences["quantity"] == "best")]
    first_runs = {str(task): group.iloc[0] for task, group in runs.groupby("task", sort=False)}
    cells = [*_scores(runs), *_differences(compared)]
    for task, run in first_runs.items():
        value = run["baseline_score"]
        cells.append(Cell(BASELINE, task_title(task), value, percent(value), task=task, quantity=BASELINE,
                          unit="fraction"))  # fmt: skip
    return new_table("table2", "method", cells, _notes(runs, first_runs, len(compared) > 0))


def _scores(runs: pd.DataFrame) -> list[Cell]:
    return [
        score_cell(group.cell(f", {label}", "score", "fraction", label), list(group.runs[column]))
        for column, label in EPOCHS.items()
        for group in groups(runs.drop(columns="device", errors="ignore"))
    ]


def _differences(compared: pd.DataFrame) -> list[Cell]:
    return [
        _difference_cell(
            group.cell(
                f" - {against}, 95% over {over}", f"score difference to {against}, 95% interval over {over}",
                "fraction", EPOCHS["best"],
            ),
            group.runs.iloc[0], *bounds,
        )
        for over, bounds in INTERVALS.items()
        for against, rows in compared.groupby("against", sort=False)
        for group in groups(rows)
    ]  # fmt: skip


def _difference_cell(cell: Cell, row: pd.Series, low: str, high: str) -> Cell:
    if pd.isna(row[low]):
        return cell
    text = f"{_points(row['difference'])} [{_points(row[low])}, {_points(row[high])}]"
    return replace(cell, value=row["difference"], text=text, n=int(row["seeds"]), low=row[low], high=row[high])


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _notes(runs: pd.DataFrame, first_runs: dict[str, pd.Series], has_differences: bool) -> list[str]:
    sizes, metrics = [], []
    for task, run in first_runs.items():
        one = f" (one example is {100 / run['examples']:.2f} points)" if run["metric"] == "accuracy" else ""
        sizes.append(f"{task_title(task)}: {run['examples']}{one}")
        metrics.append(f"{task_title(task)}: {METRICS[run['metric']].title}")
    notes = [
        f"In percent, on the validation split. {'; '.join(metrics)}.",
        f"Validation examples: {'; '.join(sizes)}.",
        "Best epoch: chosen on the same split that is reported, as in the paper. Cross-fitted: chosen on one half of "
        "the split and scored on the other, both ways. Last epoch: no choice is made.",
    ]
    if runs["seed"].nunique() > 1:
        notes.append(f"Mean ± standard deviation over seeds; with at least {MIN_SEEDS} seeds, the median in brackets.")
    if has_differences:
        notes.append(
            "Differences are in points, for the best epoch, paired by seed. Intervals: a t-interval over seeds, and a "
            "bootstrap over the validation examples that uses the same resamples for all seeds and both methods."
        )
    if runs["seed"].nunique() < MIN_SEEDS:
        notes.append(f"Fewer than {MIN_SEEDS} seeds: no interval and no verdict across seeds.")
    collapsed = runs[runs["collapsed"]]
    if len(collapsed):
        names = ", ".join(run_names(collapsed))
        notes.append(f"Predicts the same answer for every example in the last epoch (included above): {names}.")
    return notes + shared_device_note(runs)
