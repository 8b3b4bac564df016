"""Table 4: mean memory during training as in the paper, and the peak above the baseline; its parts, predicted too."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd

from lora_core.evaluation.frames import read_memory
from lora_core.reporting.digits import FIGURES
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table
from lora_core.reporting.tables.cells import (
    Group,
    available,
    devices_note,
    groups,
    mean_cell,
    same_cell,
    same_for_all_note,
    shared_device_note,
)
from lora_core.stats import MIN_SEEDS

CORNER = "method (memory, MB)"
CORNER_CPU = "method (process memory on a CPU, MB)"


@dataclass(frozen=True)
class Row:
    """What follows the method in a row's label, the column of the records, and the quantity.

    `same` marks what follows from the parameters, so that there is nothing to average.
    """

    suffix: str
    column: str
    quantity: str
    same: bool = False


MEAN = Row("", "mean_mb", "mean memory")
PEAK_ADDED = Row(": peak above the baseline", "peak_added_mb", "peak memory above the baseline")
TENSORS = Row(": tensors, peak", "peak_allocated_mb", "tensors at their peak")
DETAILS = (
    Row(": mean above the baseline", "added_mb", "mean memory above the baseline"),
    PEAK_ADDED,
    Row(": held by the allocator, peak", "peak_reserved_mb", "held by the allocator at its peak"),
    Row(": sum of the four parts", "accounted_mb", "sum of the four parts"),
    Row(": weights", "weights_mb", "weights", same=True),
    Row(": gradients", "gradients_mb", "gradients", same=True),
    Row(": optimizer state", "optimizer_mb", "optimizer state", same=True),
    Row(": saved for backward", "saved_for_backward_mb", "saved for backward"),
    Row(": saved for backward, predicted", "predicted_saved_mb", "saved for backward, predicted"),
    Row(": sum, predicted", "predicted_mb", "sum of the four parts, predicted"),
)


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw table 4 from the record of every run."""
    runs = read_memory(inputs["runs"])
    parts = groups(runs, settings)
    cells = [_cell(group, MEAN) for group in parts]
    cells += [_cell(group, TENSORS if _on_gpu(group.runs) else PEAK_ADDED) for group in parts]
    notes = ["MB (10^6 bytes)."]
    if runs["seed"].nunique() > 1:
        notes.append(f"Mean over seeds: with at least {MIN_SEEDS} the 95 % t-interval, else the standard deviation.")
    if "device" in set(runs["kind"]):
        notes.append(
            "On a GPU: the mean of the memory in use on the device, as NVML reports it, which is the figure that the "
            "paper gives. It includes what other processes and the CUDA context take, and all that the allocator "
            "holds. Below it, what tensors took at their peak."
        )
    if "resident" in set(runs["kind"]):
        notes.append(
            "On a CPU: the mean of the memory of the whole process. Below it, its peak minus the baseline, which is "
            "what it held before the model was loaded. This is not GPU memory and decides no claim about it."
        )
    notes += [*same_for_all_note(cells), *_run_notes(runs, settings)]
    table = new_table("table4", CORNER if _on_gpu(runs) else CORNER_CPU, cells, notes)
    return replace(table, published=table.published and replace(table.published, corner=CORNER))


def draw_details(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the other figures of memory: what the allocator held, the parts counted, and their prediction."""
    runs = read_memory(inputs["runs"])
    parts = groups(runs, settings)
    shown = [row for row in DETAILS if row is not PEAK_ADDED or _on_gpu(runs)]  # of a CPU it is in table 4
    cells = [_cell(group, row) for row in shown for group in parts]
    notes = [
        "MB (10^6 bytes). Baseline: what the device or the process held before the model was loaded.",
        "Weights, gradients and the optimizer's state follow from the parameters and the data type of each. Saved for "
        "backward: what autograd kept in the largest batch, each storage counted once, without parameters, and "
        "independent of the device's allocator.",
        "Predicted: an estimate of the same count from shapes alone. On an H200 it was within 3.2 % of the count in "
        "float32 and bf16, for RoBERTa and MPNet, full fine-tuning and LoRA; on a CPU it is the count, except for the "
        "loss. Elsewhere its error is not known.",
        "Gradients are freed before the next forward pass, so they need not exist at the same time as what is saved "
        "for backward. Temporary buffers, and the layer that gradient checkpointing recomputes, are not in the sum, "
        "which is an estimate of the peak of tensors.",
        *same_for_all_note(cells),
        *_run_notes(runs, settings),
    ]
    return new_table("table4-details", CORNER, available(cells), notes)


def _on_gpu(runs: pd.DataFrame) -> bool:
    return "device" in set(runs["kind"])


def _cell(group: Group, row: Row) -> Cell:
    cell, values = group.cell(row.suffix, row.quantity, "MB"), group.runs[row.column]
    return same_cell(cell, values, FIGURES) if row.same else mean_cell(cell, list(values), FIGURES)


def _run_notes(runs: pd.DataFrame, settings: DrawSettings) -> Iterator[str]:
    yield devices_note(runs)
    yield from shared_device_note(runs, settings)
