"""Tables 5 and 6: power, time, epochs and energy up to the task's threshold."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.frames import read_costs, run_names
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table
from lora_core.reporting.tables.cells import (
    Group,
    Show,
    devices_note,
    disturbed_note,
    groups,
    marked_if_disturbed,
    median_cell,
    percent,
    same_cell,
    shared_device_note,
)
from lora_core.stats import MIN_SEEDS


@dataclass(frozen=True)
class Row:
    """A row of the table: its label, the column of the records, and what the value is.

    `reached` is the column that is empty for a run that did not reach the threshold; None for what every run has.
    `uncertainty` is the column of by how much the value may be wrong.
    """

    label: str
    column: str
    show: Show
    quantity: str
    unit: str
    reached: str | None = "epochs_to_threshold"
    uncertainty: str | None = None


ROWS = (
    Row("power (W)", "power", "{:.1f}".format, "power", "W", uncertainty="power_uncertainty"),
    Row("training time (s)", "seconds_to_threshold", "{:.1f}".format, "training time", "s"),
    Row("epochs", "epochs_to_threshold", "{:.3g}".format, "epochs", "epochs"),
    Row("energy (kJ)", "energy", "{:.3g}".format, "energy", "kJ", uncertainty="energy_uncertainty"),
    Row(
        "energy minus idle (kJ)", "net_energy", "{:.3g}".format, "energy minus idle", "kJ",
        uncertainty="energy_uncertainty",
    ),
    Row(
        "epochs to the seed's own threshold", "epochs_to_seed_threshold", "{:.3g}".format,
        "epochs to the seed's own threshold", "epochs", "epochs_to_seed_threshold",
    ),
    Row("seconds per epoch", "seconds_per_epoch", "{:.2f}".format, "time per epoch", "s", None),
    Row("preparation (s)", "preparation_seconds", "{:.2f}".format, "preparation", "s", None),
    Row("preparation (kJ)", "preparation_energy", "{:.3g}".format, "energy of the preparation", "kJ", None),
)  # fmt: skip
# An uncertainty is shown if it is more than this share of the value.
SHOWN_UNCERTAINTY = 0.01
SOURCES = {"counter": "the device's energy counter", "trapezoid": "power samples alone (no energy counter here)"}


def draw_full(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw table 5, of full fine-tuning."""
    return _draw("table5", inputs, settings)


def draw_adapters(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw table 6, of LoRA and the other adapter methods."""
    return _draw("table6", inputs, settings)


def _draw(name: str, inputs: Inputs, settings: DrawSettings) -> Table:
    costs = read_costs(inputs["costs"])
    costs = costs[costs["method"].isin(settings.methods)]
    parts = groups(costs)
    several = len({group.label for group in parts}) > 1
    cells = [cell for group in parts for cell in _cells(group, f"{group.label}: " if several else "")]
    return new_table(name, "quantity", cells, [*_notes(costs)])


def _cells(group: Group, prefix: str) -> Iterator[Cell]:
    """The rows of one method on one task."""
    runs = group.runs
    no_threshold = runs["threshold"].isna().all()
    for row in ROWS:
        if row.column.startswith("preparation") and runs["preparation_seconds"].isna().all():
            continue  # older records
        cell = _cell(group, f"{prefix}{row.label}", row.quantity, row.unit)
        if row.reached and no_threshold:
            yield cell
            continue
        reached = runs[row.reached].notna() if row.reached else runs["seed"].notna()
        filled = _with_uncertainty(median_cell(cell, runs[row.column], reached, row.show), row, runs)
        yield filled if row.unit == "epochs" else marked_if_disturbed(filled, runs)
    yield _reached_cell(
        _cell(group, f"{prefix}seeds that reached the threshold", "reached the threshold", "fraction"), runs
    )
    yield same_cell(_cell(group, f"{prefix}threshold", "threshold", "fraction"), runs["threshold"], percent)
    yield same_cell(
        _cell(group, f"{prefix}planned epochs", "planned epochs", "epochs"), runs["planned_epochs"], "{:g}".format
    )


def _cell(group: Group, row: str, quantity: str, unit: str) -> Cell:
    return replace(group.cell("", quantity, unit), row=row)


def _with_uncertainty(cell: Cell, row: Row, runs: pd.DataFrame) -> Cell:
    """Add the largest uncertainty of the runs' values to a cell, if it is large enough to be shown."""
    if row.uncertainty is None or not isinstance(cell.value, float):
        return cell
    uncertainty = runs[row.uncertainty].max()
    if pd.isna(uncertainty) or uncertainty <= SHOWN_UNCERTAINTY * abs(cell.value):
        return cell
    return replace(cell, text=f"{cell.text} ± {row.show(uncertainty)}")


def _reached_cell(cell: Cell, runs: pd.DataFrame) -> Cell:
    known = runs["reached"].dropna().astype(bool)
    if known.empty:
        return cell
    return replace(cell, value=float(known.mean()), text=f"{known.sum()} of {len(known)}", n=len(known))


def _notes(costs: pd.DataFrame) -> Iterator[str]:
    yield (
        "Cost up to the first epoch whose score reaches the task's threshold, which is min(mean FFT, mean LoRA) of the "
        f"best scores minus 0.5 points. Medians over seeds; with at least {MIN_SEEDS} seeds, the 95% t-interval of the "
        "mean if all of them reached the threshold. Training only, without evaluation, loading and saving. "
        "Seconds per epoch are those of each run's median epoch."
    )
    if costs["preparation_seconds"].notna().any():
        yield (
            "Preparation is what happens only once in a process, before its first epoch (loading kernels, reserving "
            "memory); it is not part of any other row."
        )
    yield "The learning rate decays over the planned epochs, so their number also affects the epochs to a threshold."
    if costs.empty:
        yield "The study has no method of this kind."
        return
    started = costs.dropna(subset="start_from").drop_duplicates(["method", "task"])
    if len(started):
        names = [
            f"{r['method']} {task_title(r['task'])} ({task_title(r['start_from'])})" for _, r in started.iterrows()
        ]
        yield f"Started from another task's run, whose cost is not included: {', '.join(names)}."
    yield from _threshold_notes(costs)
    yield from _energy_notes(costs)
    yield devices_note(costs)
    yield from shared_device_note(costs)
    yield from disturbed_note(costs)


def _threshold_notes(costs: pd.DataFrame) -> Iterator[str]:
    """What can be said of the threshold, and of the runs that did not reach it."""
    if costs["threshold"].isna().all():
        yield f"No threshold: {'; '.join(sorted(set(costs['threshold_reason'].dropna())))}."
        return
    if not costs["reached"].astype(bool).all():
        yield (
            "A run that never reaches the threshold is censored: it counts as more expensive than all that do. If the "
            "median falls on such a run, only a lower bound is known (≥), or nothing (not reached)."
        )
    vague = [task_title(str(t)) for t, g in costs.groupby("task", sort=False) if not g["threshold_meaningful"].all()]
    if vague:
        yield f"Threshold not meaningful (within 2 points of the majority-class baseline): {', '.join(vague)}."


def _energy_notes(costs: pd.DataFrame) -> Iterator[str]:
    """Where the energy comes from, or why there is none."""
    if sources := sorted(set(costs["energy_source"].dropna())):
        boundary = "; ".join(sorted(set(costs["energy_boundary"].dropna())))
        yield f"Energy from {' and '.join(SOURCES[source] for source in sources)}; it covers {boundary}."
    if (costs["energy_uncertainty"] > SHOWN_UNCERTAINTY * costs[["energy", "net_energy"]].abs().min(axis=1)).any():
        yield (
            "± after an energy or a power: by how much it may be wrong, because the energy counter advances in ticks; "
            f"shown above {SHOWN_UNCERTAINTY:.0%}."
        )
    if too_short := list(run_names(costs[costs["too_short_for_meter"].astype(str) == "True"])):
        yield f"Too short up to the threshold for the meter to tell the energy (n/a): {', '.join(too_short)}."
    if reasons := sorted(set(costs["meter_reason"].dropna())):
        yield f"No power and energy (n/a): {'; '.join(reasons)}."
