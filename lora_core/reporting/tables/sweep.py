"""Score, parameters and time of every combination of a sweep."""

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.counts import read_counts
from lora_core.evaluation.frames import read_costs, read_scores
from lora_core.reporting.digits import FIGURES, PERCENT, count
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table
from lora_core.reporting.tables.cells import disturbed_note, marked_if_disturbed, mean_cell, median_cell
from lora_core.stats import MIN_SEEDS


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the table from counts.json, and each task's scores and costs."""
    counts = read_counts(inputs["counts"][0]).methods
    costs, scores = read_costs(inputs["costs"]), read_scores(inputs["scores"])
    cells: list[Cell] = []
    for method in settings.swept:
        row = settings.label(method)
        trainable = counts[method].trainable
        cells.append(
            Cell(row, "trainable parameters", trainable, count(trainable), method=method,
                 quantity="trainable parameters", unit="parameters")
        )  # fmt: skip
        for task, runs in _by_task(scores, method):
            cell = Cell(row, f"{task_title(task)}: best score", method=method, task=task, variant="best epoch",
                        quantity="score", unit="fraction")  # fmt: skip
            cells.append(mean_cell(cell, list(runs["best"]), PERCENT))
        for task, runs in _by_task(costs, method):
            seconds = runs["seconds_per_epoch"]
            cell = Cell(row, f"{task_title(task)}: seconds per epoch", method=method, task=task,
                        quantity="time per epoch", unit="s")  # fmt: skip
            filled = median_cell(cell, seconds, runs["seed"].notna(), FIGURES)
            cells.append(marked_if_disturbed(filled, runs))
    notes = [
        "Scores in percent, best epoch, mean over seeds with the standard deviation; seconds of the median epoch of "
        f"training, median over seeds. With at least {MIN_SEEDS} seeds, both have a 95 % t-interval.",
        "LoRA's scale is alpha / rank: with a fixed alpha, a higher rank is scaled down.",
    ]
    return new_table("sweep", "method", cells, notes + disturbed_note(costs, settings))


def _by_task(frame: pd.DataFrame, method: str) -> list[tuple[str, pd.DataFrame]]:
    runs = frame[frame["method"] == method]
    return [(str(task), group) for task, group in runs.groupby("task", sort=False)]
