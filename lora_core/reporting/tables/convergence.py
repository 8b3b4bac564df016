"""Epochs, time and energy to the threshold, and memory kept for backward, relative to the reference entries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.decimals import plain
from lora_core.evaluation.frames import read_costs, read_memory
from lora_core.reporting.digits import Numbers
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table
from lora_core.reporting.tables.cells import (
    disturbed_note,
    marked_if_disturbed,
    median_cell,
    ratio_cell,
    same_for_all_note,
    shared_device_note,
)
from lora_core.stats import MIN_SEEDS, TIE

# What is compared, and its column; the first three depend on a threshold.
QUANTITIES = {
    "epochs to the threshold": "epochs_to_seed_threshold",
    "time to the threshold": "seconds_to_seed_threshold",
    "energy to the threshold": "energy_to_seed_threshold_joules",
    "time per epoch": "seconds_per_epoch",
    "saved for backward": "saved_for_backward_mb",
}
COUNTED = "saved_for_backward_mb"  # counted from shapes: the same for every seed, and exact
UNDISTURBED = ("epochs_to_seed_threshold", COUNTED)  # what other processes cannot change
TO_THRESHOLD = ("_to_seed_threshold", "_to_seed_threshold_joules")
WHOLE, HALVES = Numbers(decimals=0), Numbers(decimals=1)  # the median of an even number can lie between two epochs
# Below 1 or above 1 with the whole interval; None: undecided, or not available.
Verdict = Literal["less", "more", None]
SIDES = {"less": "Lower", "more": "Higher"}


@dataclass(frozen=True)
class Ratio:
    """A quantity of one method relative to a reference entry, on one task; both by their labels."""

    method: str
    reference: str
    label: str  # of the quantity
    cell: Cell
    verdict: Verdict


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the table from each task's costs and the record of every run."""
    memory = read_memory(inputs["runs"])[["method", "task", "seed", "saved_for_backward_mb"]]
    costs = read_costs(inputs["costs"]).merge(memory, on=["method", "task", "seed"])
    references = [name for name in (settings.references.adapter, settings.references.full) if name]
    ratios = [*_ratios(costs, references, settings)]
    notes = _notes(costs, ratios, settings)
    if missing := settings.references.missing("full", "adapter"):
        notes.append(f"Fewer comparisons than usual: {missing}.")
    cells = [*_epochs(costs, settings), *(ratio.cell for ratio in ratios)]
    notes += [*same_for_all_note(cells), *shared_device_note(costs, settings), *disturbed_note(costs, settings)]
    return new_table("convergence", "quantity", cells, notes)


def _epochs(costs: pd.DataFrame, settings: DrawSettings) -> Iterator[Cell]:
    """Epochs to the task's threshold of every method."""
    for method in _unique(costs, "method"):
        for task in _unique(costs, "task"):
            epochs = costs.loc[(costs["method"] == method) & (costs["task"] == task), "epochs_to_threshold"]
            cell = Cell(f"{settings.label(method)}: epochs", task_title(task), method=method, task=task, unit="epochs",
                        quantity="epochs to the threshold")  # fmt: skip
            yield median_cell(cell, epochs, epochs.notna(), WHOLE if len(epochs) % 2 else HALVES)


def _ratios(costs: pd.DataFrame, references: Sequence[str], settings: DrawSettings) -> Iterator[Ratio]:
    """Every method relative to every reference, in each quantity and on each task."""
    for reference in references:
        for label, column in QUANTITIES.items():
            for method in _unique(costs, "method"):
                for task in _unique(costs, "task"):
                    if method == reference:
                        continue
                    against = settings.label(reference)
                    cell = Cell(f"{settings.label(method)} / {against}: {label}", task_title(task), method=method,
                                task=task, quantity=f"{label}, relative to {against}", unit="ratio")  # fmt: skip
                    filled, verdict = compared_cell(cell, costs[costs["task"] == task], column, reference)
                    yield Ratio(settings.label(method), against, label, filled, verdict)


def compared_cell(cell: Cell, costs: pd.DataFrame, column: str, reference: str) -> tuple[Cell, Verdict]:
    """Fill a cell with the ratio of the cell's method to a reference entry on one task, paired by seed.

    It is not available if it was not measured on both sides, or on two devices, and for costs up to a threshold that is
    not meaningful. A ratio of a disturbed run is marked and has no verdict, nor has one that is measured and the same
    for every seed, since its spread is unknown.
    """
    method = cell.method
    if column.endswith(TO_THRESHOLD) and not _meaningful(costs):
        return cell, None
    pairs, devices = (
        costs.pivot(index="seed", columns="method", values=name).reindex(columns=[method, reference])
        for name in (column, "device")
    )
    one_device = (devices[method] == devices[reference]).all()
    if pairs.isna().any(axis=None) or not one_device:
        return replace(cell, n=len(pairs.dropna())), None
    filled = ratio_cell(cell, list(np.log(pairs[method].astype(float) / pairs[reference].astype(float))))
    timed = costs[costs["method"].isin([method, reference])] if column not in UNDISTURBED else costs[:0]
    if filled.low is None or filled.high is None:
        return marked_if_disturbed(filled, timed), None
    known_spread = column == COUNTED or filled.high - filled.low > TIE
    is_open = timed["disturbed"].any() or ("shared" in timed and (timed["shared"].astype(str) == "True").any())
    verdict = _verdict(filled.low, filled.high) if known_spread and not is_open else None
    if verdict:
        filled = replace(filled, text=f"{filled.text} {verdict}", note=verdict)
    return marked_if_disturbed(filled, timed), verdict


def _verdict(low: float, high: float) -> Verdict:
    """Which side of 1 the whole interval is on."""
    return "less" if high < 1 - TIE else "more" if low > 1 + TIE else None


def _notes(costs: pd.DataFrame, ratios: Sequence[Ratio], settings: DrawSettings) -> list[str]:
    both = settings.references.full, settings.references.adapter
    labels = " and ".join(settings.label(name) for name in both if name)
    planned = sorted({plain(epochs) for epochs in costs["planned_epochs"]})
    compared = sum(ratio.cell.low is not None for ratio in ratios)
    vague = [task_title(str(task)) for task, group in costs.groupby("task", sort=False) if not _meaningful(group)]
    notes = [
        "Epochs: to the task's threshold, median over seeds. Ratios: paired by seed, each to that seed's own "
        f"threshold (the lower score of {labels}, minus 0.5 points), which those always reach; geometric mean with the "
        f"95 % t-interval, {compared} of them, one in twenty of which misses by chance. There is no interval with "
        f"fewer than {MIN_SEEDS} seeds, and no ratio if a run on either side never reached the threshold. less, more: "
        "the interval lies on one side of 1; these cases are named below, with the tasks in brackets unless it is all "
        "of them.",
        f"Planned epochs: {', '.join(planned)}. A threshold is reached at the end of an epoch, so epochs are whole "
        "numbers. Where a ratio of epochs, times or energies is the same for all seeds, its spread is unknown and "
        "decides nothing; nor does a time or an energy if a run on either side shared its device. What is saved for "
        "backward is counted, and exact.",
        "Times compare implementations as well: PEFT's layers are not those of this project's LoRA. A method of PEFT "
        "is best compared with LoRA implemented by PEFT, if that is in the study.",
        *_verdict_notes(ratios, len(_unique(costs, "task"))),
    ]
    if vague:
        notes.append(
            "There is no threshold, or it is within 2 points of the majority-class baseline, so costs to it are not "
            f"compared: {', '.join(vague)}."
        )
    return notes


def _verdict_notes(ratios: Sequence[Ratio], tasks: int) -> Iterator[str]:
    """One note for each side, reference and quantity: the methods, with their tasks unless it is all of them."""
    verdicts: dict[str, dict[str, list[str]]] = {}
    for ratio in ratios:
        if ratio.verdict:
            side = f"{SIDES[ratio.verdict]} than {ratio.reference} in {ratio.label}"
            verdicts.setdefault(side, {}).setdefault(ratio.method, []).append(ratio.cell.column)
    for side, methods in verdicts.items():
        yield f"{side}: {', '.join(with_tasks(method, titles, tasks) for method, titles in methods.items())}."


def with_tasks(method: str, titles: Sequence[str], tasks: int) -> str:
    """Name a method, with the tasks in brackets unless it is all of them."""
    return method if len(titles) == tasks else f"{method} ({', '.join(titles)})"


def _meaningful(costs: pd.DataFrame) -> bool:
    """Whether a task has a threshold that is clearly above the baseline."""
    return bool((costs["threshold_meaningful"].astype(str) == "True").all())


def _unique(costs: pd.DataFrame, column: str) -> list[str]:
    return list(dict.fromkeys(costs[column]))
