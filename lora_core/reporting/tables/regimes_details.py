"""The details of the table of regimes: steps of each method by their parts, their memory, and the epochs of tasks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd

from lora_core.evaluation.regime_record import read_regimes
from lora_core.reporting.digits import FIGURES
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table
from lora_core.reporting.tables.cells import available
from lora_core.reporting.tables.regimes import row_name, shape


@dataclass(frozen=True)
class Column:
    """A column of the table: its title, the column of the record, what it holds, and its unit."""

    title: str
    value: str
    quantity: str
    unit: str


OF_PARTS = ("forward_ms", "backward_ms", "update_ms")
PARTS_OF_GRAPHS = "a CUDA graph is one launch, whose parts are not timed apart"
COLUMNS = (
    Column("measured (ms)", "ms", "time of a step", "ms"),
    Column("predicted (ms)", "predicted_ms", "predicted time of a step", "ms"),
    Column("forward (ms)", "forward_ms", "time of the forward pass", "ms"),
    Column("backward (ms)", "backward_ms", "time of the backward pass", "ms"),
    Column("update (ms)", "update_ms", "time of the update", "ms"),
    Column("energy (J)", "joules", "energy of a step", "J"),
    Column("saved for backward (MB)", "saved_mb", "saved for backward", "MB"),
    Column("allocator's peak (MB)", "peak_mb", "peak of allocated memory", "MB"),
    Column("epoch (s)", "epoch_seconds", "time of an epoch, from single steps", "s"),
    Column("epoch (J)", "epoch_joules", "energy of an epoch, from single steps", "J"),
)


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the table from regimes.json."""
    regimes = read_regimes(inputs["regimes"][0], settings.references)
    several = regimes.methods["execution"].nunique() > 1
    columns = [column for column in COLUMNS if regimes.methods.get(column.value, pd.Series(dtype=float)).notna().any()]
    cells = [cell for _, row in regimes.methods.iterrows() for cell in _step(row, columns, settings, several)]
    of_graphs = f"; {PARTS_OF_GRAPHS}" if (regimes.methods["execution"] == "graphs").any() else ""
    notes = [
        "Geometric means over rounds. Parts are timed in steps of their own, which wait for the device after each "
        f"part, so they need not add up to a step{of_graphs}.",
        "Memory: what autograd saves for the backward pass, and on a GPU the allocator's peak in one step, without "
        "what the other method holds.",
        "Epoch: the steps of one epoch of a task, each as long as its mean batch.",
    ]
    return new_table("regimes-details", "rows × tokens: method", available(cells), notes)


def _step(row: pd.Series, columns: list[Column], settings: DrawSettings, several: bool) -> Iterator[Cell]:
    """The cells of one size and method."""
    name = row_name(row, several)
    for column in columns:
        is_part_of_graph = row["execution"] == "graphs" and column.value in OF_PARTS
        cell = Cell(
            f"{name}: {settings.label(row['method'])}", column.title, method=row["method"], task=row["task"],
            variant=f"{shape(row)}, {row['execution']}", quantity=column.quantity, unit=column.unit,
            note=row["reason"] or (PARTS_OF_GRAPHS if is_part_of_graph else ""),
        )  # fmt: skip
        value = row[column.value]
        yield cell if pd.isna(value) else replace(cell, value=float(value), text=FIGURES.one(value), note="")
