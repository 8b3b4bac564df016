"""Time of a training step by its size, what it waits for, and what follows for the epochs of tasks."""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.regime_advice import advice
from lora_core.evaluation.regime_record import TOLERANCE, Regimes, read_regimes
from lora_core.reporting.digits import RATIO, Numbers
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table

STEP, RELATIVE = "time of a step", "{} of a step relative to full fine-tuning"
MILLISECONDS, PERCENT = Numbers(), Numbers(factor=100, decimals=0)


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the table from regimes.json."""
    regimes = read_regimes(inputs["regimes"][0], settings.references)
    several = regimes.steps["execution"].nunique() > 1
    cells = [cell for _, row in regimes.steps.iterrows() for cell in _step(row, settings, several)]
    cells += [cell for _, row in regimes.tasks.iterrows() for cell in _task(row, settings, several)]
    return new_table("regimes", "rows × tokens", cells, list(_notes(regimes, settings)))


def row_name(row: pd.Series, several: bool) -> str:
    """Return what tables call a size; `several`: whether there are several executions."""
    name = shape(row)
    task = f"{task_title(row['task'])}: " if row["task"] else ""
    return f"{task}{name}" + (f", {row['execution']}" if several else "")


def shape(row: pd.Series) -> str:
    """Return the rows and tokens of a size, and its micro-batches."""
    parts = f" in micro-batches of {row['rows_at_once']}" if row["rows_at_once"] < row["rows"] else ""
    return f"{row['rows']} × {row['tokens']}{parts}"


def _step(row: pd.Series, settings: DrawSettings, several: bool) -> Iterator[Cell]:
    """The cells of one size."""
    full, adapter = settings.references.full or "", settings.references.adapter or ""
    ratio = f"{settings.label(adapter)} / {settings.label(full)}"
    empty = Cell(
        row_name(row, several), "", method=adapter, variant=f"{shape(row)}, {row['execution']}",
        task=row["task"], note=row["reason"],
    )  # fmt: skip
    for method, value in ((full, row["full_ms"]), (adapter, row["lora_ms"])):
        cell = replace(empty, column=f"{settings.label(method)} (ms)", method=method, quantity=STEP, unit="ms")
        yield _filled(cell, value, MILLISECONDS)
    relative = replace(empty, quantity=RELATIVE.format("time"), unit="ratio")
    yield _with_bounds(replace(relative, column=f"time, {ratio}"), row["time"], row["time_low"], row["time_high"])
    predicted = replace(relative, column="predicted", quantity=RELATIVE.format("predicted time"))
    yield _filled(predicted, row.get("predicted"), RATIO)
    if not pd.isna(row["energy"]):
        yield _filled(
            replace(relative, column=f"energy, {ratio}", quantity=RELATIVE.format("energy")), row["energy"], RATIO
        )
    if isinstance(row.get("waits_for"), str):
        text = f"{row['waits_for']} ({PERCENT.one(row['waiting'])} %)"
        column = f"{settings.label(adapter)} waits for"
        yield replace(empty, column=column, value=row["waits_for"], text=text, quantity="waits for", note="")


def _filled(cell: Cell, value: float | None, numbers: Numbers) -> Cell:
    return cell if value is None or pd.isna(value) else replace(cell, value=value, text=numbers.one(value), note="")


def _with_bounds(cell: Cell, value: float, low: float, high: float) -> Cell:
    if pd.isna(value) or pd.isna(low):
        return _filled(cell, value, RATIO)
    return replace(cell, value=value, text=RATIO.with_bounds(value, low, high), low=low, high=high, note="")


def _task(row: pd.Series, settings: DrawSettings, several: bool) -> Iterator[Cell]:
    """What follows for an epoch of one task, in the row of its mean batch."""
    ratios = {"time": "break-even in time", "energy": "break-even in energy"}
    for quantity, name in ratios.items():
        value = row[quantity]
        if not pd.isna(value):
            yield Cell(
                row_name(row, several), name, value, RATIO.one(value), method=settings.references.adapter or "",
                variant=row["execution"], task=row["task"], quantity=f"{name}, from single steps", unit="ratio",
            )  # fmt: skip


def _notes(regimes: Regimes, settings: DrawSettings) -> Iterator[str]:
    yield from advice(regimes, settings.references, settings.label(settings.references.adapter or ""))
    full, adapter = (settings.label(method or "") for method in (settings.references.full, settings.references.adapter))
    yield (
        f"Measured on {regimes.device} in {regimes.precision}, on random tokens without padding; both methods in "
        "turn, with the 95 % t-interval of the ratio over rounds. Rows with a task are its mean batch."
    )
    close, steps = regimes.well_predicted()
    accuracy = (
        f" The prediction is within {100 * TOLERANCE:g} % of the measurement for {close} of {steps} steps."
        if steps
        else ""
    )
    yield (
        "Predicted: each operation of a step takes as long as the slowest of moving its bytes, its arithmetic and, for "
        "dropout, its random numbers; it is launched before, or on a GPU meanwhile. What these cost was measured on "
        f"this device.{accuracy}"
    )
    if regimes.tasks[["time", "energy"]].notna().any(axis=None):
        yield (
            f"Break-even: how many times as many epochs as {full} {adapter} may take before it costs more; from the "
            "steps above. What both took is in the details of table 6."
        )
    missing = regimes.steps[regimes.steps["reason"] != ""]
    for reason, rows in missing.groupby("reason", sort=False):
        sizes = ", ".join(dict.fromkeys(shape(row) for _, row in rows.iterrows()))
        yield f"Not measured: {sizes} ({reason})."
