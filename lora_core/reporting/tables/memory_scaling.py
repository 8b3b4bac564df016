"""Training memory of full fine-tuning and LoRA against model size."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lora_core.decimals import plain
from lora_core.evaluation.frames import read_memory_scaling
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table

COUNTED, RESIDENT = "counted on a real step", "resident memory at its peak"


@dataclass(frozen=True)
class Column:
    """A column of the table: which value of a row it shows, and how."""

    title: str
    value: str
    text: Callable[[float], str]
    quantity: str
    unit: str
    method: str = ""
    divisor: float = 1.0  # from the unit of the records to that of the table


def _gigabytes(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else plain(value, 3)


def _percent(value: float) -> str:
    return f"{100 * value:.0f}"


PARAMETERS = Column("parameters (M)", "parameters", lambda value: f"{value:,.1f}", "parameters", "million", divisor=1e6)
MEMORY = (
    Column("full fine-tuning (GB)", "full_mb", _gigabytes, "training memory", "GB", "full", 1e3),
    Column("LoRA (GB)", "lora_mb", _gigabytes, "training memory", "GB", "lora", 1e3),
    Column("saved by LoRA (%)", "saved", _percent, "memory saved", "fraction", "lora"),
)
ACTIVATIONS = Column(
    "activations in full fine-tuning (%)", "activations", _percent, "share of activations", "fraction", "full"
)
PEAK = tuple(
    Column(column.title, value, column.text, column.quantity, column.unit, column.method, column.divisor)
    for column, value in zip(MEMORY, ("full_peak_mb", "lora_peak_mb", "saved_at_peak"), strict=True)
)


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the table from scaling.json."""
    scaling = read_memory_scaling(inputs["memory_scaling"][0])
    columns = (PARAMETERS, *MEMORY, ACTIVATIONS)
    cells = [
        *_cells(scaling.predicted, "", columns),
        *_cells(scaling.counted, COUNTED, columns),
        *_cells(scaling.counted, RESIDENT, PEAK),
    ]
    notes = [
        *(_crossover_note(rows) for _, rows in scaling.predicted.groupby(["batch", "tokens"], sort=False)),
        "Batch × padded tokens; weights, gradients, AdamW's state and what is saved for backward, in float32, 10^9 "
        "bytes. Predicted from shapes for a CPU, each model as an encoder of that shape, with LoRA of rank 8 "
        "on query and value. Counted: the same on a real step with random weights on this machine.",
        "Resident memory: by how much a separate process grew over two such steps, at its peak, as the operating "
        "system reports it. Gradients are freed before the next forward pass, so the process need not hold the whole "
        "sum at once; temporary buffers of operations are added to it.",
        "A GPU keeps less than is predicted here: one byte instead of four of each dropout mask, and no attention "
        "probabilities where attention is fused, which counts the more the longer the input is.",
        "Without activations LoRA would save close to 75 %: of weights, gradients and two moments, the weights remain.",
    ]
    return new_table("scaling", "batch × tokens: model", cells, notes)


def _cells(frame: pd.DataFrame, kind: str, columns: tuple[Column, ...]) -> list[Cell]:
    """The cells of every model and batch."""
    cells = []
    for _, row in frame.iterrows():
        label = f"{row['batch']}×{row['tokens']}: {row['model']}" + (f", {kind}" if kind else "")
        for column in columns:
            value = row[column.value] / column.divisor
            cells.append(
                Cell(label, column.title, value, column.text(value), method=column.method, variant=label,
                     quantity=column.quantity, unit=column.unit)
            )  # fmt: skip
    return cells


def crossover(frame: pd.DataFrame) -> float | None:
    """Return the number of parameters at which activations are half of the memory of full fine-tuning.

    `frame` holds one batch's rows by rising size; interpolated over the logarithm of the size. None if it is outside
    the sizes.
    """
    sizes, shares = np.log(frame["parameters"].to_numpy(float)), frame["activations"].to_numpy()
    for i in range(len(shares) - 1):
        if shares[i] >= 0.5 > shares[i + 1]:
            return float(np.exp(np.interp(-0.5, -shares[i : i + 2], sizes[i : i + 2])))
    return None


def _crossover_note(frame: pd.DataFrame) -> str:
    """Say of one batch up to which size activations are the larger part."""
    batch, tokens = frame["batch"].iloc[0], frame["tokens"].iloc[0]
    size = crossover(frame)
    if size is None:
        which = "no size" if frame["activations"].iloc[0] < 0.5 else "every size"
        return f"{batch}×{tokens}: activations are the larger part of full fine-tuning at {which} of this table."
    below, above = frame[frame["parameters"] <= size].iloc[-1], frame[frame["parameters"] > size].iloc[0]
    return (
        f"{batch}×{tokens}: activations stop being the larger part of full fine-tuning at about "
        f"{size / 1e6:,.0f} million parameters, between {below['model']} and {above['model']}."
    )
