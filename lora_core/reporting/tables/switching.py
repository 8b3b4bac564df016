"""Rows of table 3's details: the time to switch from one task's adapter to another's, and to load a full model."""

from collections.abc import Iterator, Sequence
from statistics import median

from lora_core.data.tasks import task_title
from lora_core.evaluation.frames import LatencyRun
from lora_core.reporting.digits import FIGURES
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.table import Cell
from lora_core.reporting.tables.cells import disturbed_cell

LOADING = "load a full model from disk"
SWITCHING = "switch to another task"


def switching_cells(runs: Sequence[LatencyRun], settings: DrawSettings) -> list[Cell]:
    """Return the cells of all tasks, row by row; none of records without these times."""
    cells = [(place, cell) for run in runs for place, cell in enumerate(_cells(run, runs, settings))]
    return [cell for _, cell in sorted(cells, key=lambda one: one[0])]


def _cells(run: LatencyRun, runs: Sequence[LatencyRun], settings: DrawSettings) -> Iterator[Cell]:
    switching = run.record.switching
    if switching is None:
        return
    seeds, devices = {one.seed for one in runs}, {one.device for one in runs}
    suffix = (f", seed {run.seed}" if len(seeds) > 1 else "") + (f" on {run.device}" if len(devices) > 1 else "")

    def cell(row: str, method: str, variant: str, quantity: str, unit: str, value: float, n: int) -> Cell:
        shown = 1e3 * value if unit == "ms" else value
        text = FIGURES.one(100 * value if unit == "fraction" else shown)
        made = Cell(row, task_title(run.task), shown, text, n=n, method=method, variant=f"{variant}{suffix}",
                    task=run.task, quantity=quantity, unit=unit)  # fmt: skip
        return disturbed_cell(made) if run.suspended else made

    full = switching.full_model_seconds
    yield cell(f"{LOADING.capitalize()}{suffix} (ms)", "", "", LOADING, "ms", median(full), len(full))
    for way, variant, by_method in (
        ("merged", "merged", switching.merge_seconds), ("attached", "unmerged", switching.attach_seconds),
    ):  # fmt: skip
        for method, seconds in by_method.items():
            row, took = f"{settings.label(method)}, {way}{suffix}: {SWITCHING}", median(seconds)
            yield cell(f"{row} (ms)", method, variant, SWITCHING, "ms", took, len(seconds))
            against = f"{SWITCHING}, relative to loading a full model"
            share = took / median(full)
            yield cell(f"{row}, of loading a full model (%)", method, variant, against, "fraction", share, len(seconds))


def switching_notes(runs: Sequence[LatencyRun]) -> Iterator[str]:
    """Say how switches are timed, if they were."""
    if any(run.record.switching for run in runs):
        yield (
            "Switch to another task: an adapter and its head are read from disk and take the place of those in a model "
            "that stays in memory; merged: B A is added to W, which is kept; attached: A and B are replaced. Loading a "
            "full model: from_pretrained, in the same rounds. Files are in the system's cache; medians."
        )
