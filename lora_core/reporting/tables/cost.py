"""Tables 5 and 6: power, time, epochs and energy up to the task's threshold."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.frames import read_costs
from lora_core.measuring.power_trace import LESS_THAN_IDLE
from lora_core.reporting.digits import FIGURES, PERCENT, Numbers, count
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table
from lora_core.reporting.tables.cells import (
    Group,
    devices_note,
    disturbed_note,
    groups,
    marked_if_disturbed,
    median_cell,
    run_names,
    same_cell,
    same_for_all_note,
    shared_device_note,
)
from lora_core.stats import MIN_SEEDS

WHOLE, HALVES = Numbers(decimals=0), Numbers(decimals=1)  # the median of an even number can lie between two epochs


@dataclass(frozen=True)
class Row:
    """A row of the table: its label, the column of the records, and what the value is.

    `reached` is the column that is empty for a run that did not reach the threshold; None for what every run has.
    `uncertainty` is the column of by how much the value may be wrong.
    """

    label: str
    column: str
    quantity: str
    unit: str
    reached: str | None = "epochs_to_threshold"
    uncertainty: str | None = None


ROWS = (
    Row("power (W)", "power", "power", "W", uncertainty="power_uncertainty"),
    Row("training time (s)", "seconds_to_threshold", "training time", "s"),
    Row("epochs", "epochs_to_threshold", "epochs", "epochs"),
    Row("energy (kJ)", "energy", "energy", "kJ", uncertainty="energy_uncertainty"),
)
NET_ENERGY = "energy minus idle"
DETAILS = (
    Row("energy minus idle (kJ)", "net_energy", NET_ENERGY, "kJ", uncertainty="energy_uncertainty"),
    Row("epochs to the seed's own threshold", "epochs_to_seed_threshold", "epochs to the seed's own threshold",
        "epochs", "epochs_to_seed_threshold"),
    Row("seconds per epoch", "seconds_per_epoch", "time per epoch", "s", None),
    Row("preparation (s)", "preparation_seconds", "preparation", "s", None),
    Row("preparation (kJ)", "preparation_energy", "energy of the preparation", "kJ", None),
)  # fmt: skip
# An uncertainty is shown if it is more than this share of the value.
SHOWN_UNCERTAINTY = 0.01
SOURCES = {"counter": "the device's energy counter", "trapezoid": "power samples alone (no energy counter here)"}

# What is subtracted in "energy minus idle", by the phase in which it was measured.
IDLE = {
    "idle_context": "with the model on the GPU, because an idle CUDA context alone draws power",
    "idle": "before the model was loaded",
}


def draw_full(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw table 5, of full fine-tuning."""
    return _draw("table5", inputs, settings)


def draw_adapters(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw table 6, of LoRA and the other adapter methods."""
    return _draw("table6", inputs, settings)


def _draw(name: str, inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the rows that the paper has, a block for each method."""
    costs = read_costs(inputs["costs"])
    costs = costs[costs["method"].isin(settings.methods)]
    cells = [cell for group in groups(costs, settings) for cell in cost_cells(group, ROWS)]
    notes = [*_notes(settings), *same_for_all_note(cells), *run_notes(costs, cells, settings)]
    return new_table(name, "quantity", cells, notes)


def cost_cells(group: Group, rows: Iterable[Row]) -> Iterator[Cell]:
    """The cells of these rows, of one method on one task."""
    runs = group.runs
    no_threshold = runs["threshold"].isna().all()
    for row in rows:
        cell = block_cell(group, row.label, row.quantity, row.unit)
        if row.reached and no_threshold:
            yield cell
            continue
        reached = runs[row.reached].notna() if row.reached else runs["seed"].notna()
        numbers = FIGURES if row.unit != "epochs" else WHOLE if len(runs) % 2 else HALVES
        filled = _with_uncertainty(median_cell(cell, runs[row.column], reached, numbers), row, runs)
        yield filled if row.unit == "epochs" else marked_if_disturbed(filled, runs)


def block_cell(group: Group, row: str, quantity: str, unit: str) -> Cell:
    """Return an empty cell in a row of the method's block."""
    return group.cell(f": {row}", quantity, unit)


def _with_uncertainty(cell: Cell, row: Row, runs: pd.DataFrame) -> Cell:
    """Add the largest uncertainty of the runs' values to a cell, if it is large enough to be shown.

    An interval over seeds contains it.
    """
    if row.uncertainty is None or not isinstance(cell.value, float) or cell.low is not None:
        return cell
    uncertainty = runs[row.uncertainty].max()
    if pd.isna(uncertainty) or uncertainty <= SHOWN_UNCERTAINTY * abs(cell.value):
        return cell
    text = FIGURES.with_sd(cell.value, uncertainty)
    low, high = cell.value - uncertainty, cell.value + uncertainty
    return replace(cell, text=text, low=low, high=high, note="low and high: the uncertainty of the energy counter")


def details_cells(group: Group) -> Iterator[Cell]:
    """What else is known of the costs of one method on one task."""
    runs = group.runs
    older = runs["preparation_seconds"].isna().all()
    yield from cost_cells(group, [row for row in DETAILS if not (older and row.column.startswith("preparation"))])
    yield _reached_cell(
        block_cell(group, "seeds that reached the threshold", "reached the threshold", "fraction"), runs
    )
    yield same_cell(block_cell(group, "threshold (%)", "threshold", "fraction"), runs["threshold"], PERCENT)
    planned = block_cell(group, "planned epochs", "planned epochs", "epochs")
    yield same_cell(planned, runs["planned_epochs"], WHOLE)


def _reached_cell(cell: Cell, runs: pd.DataFrame) -> Cell:
    known = runs["reached"].dropna().astype(bool)
    if known.empty:
        return cell
    return replace(cell, value=float(known.mean()), text=f"{count(known.sum())} of {count(len(known))}", n=len(known))


def _notes(settings: DrawSettings) -> list[str]:
    both = settings.references.full, settings.references.adapter
    labels = " and ".join(settings.label(name) for name in both if name)
    threshold = f": the lower mean of the best scores of {labels}, minus 0.5 points" if all(both) else ""
    return [
        f"Cost up to the first epoch whose score reaches the task's threshold{threshold}. Medians over seeds; with at "
        f"least {MIN_SEEDS} seeds, the 95 % t-interval of the mean if all of them reached the threshold. Training "
        "only, without evaluation, loading and saving.",
        "The learning rate decays over the planned epochs, so their number also affects the epochs to a threshold.",
    ]


def run_notes(costs: pd.DataFrame, cells: Iterable[Cell], settings: DrawSettings) -> Iterator[str]:
    """What can be said of the runs whose costs are shown: thresholds, meters, devices, and what disturbed them."""
    if costs.empty:
        yield "The study has no method of this kind."
        return
    started = costs.dropna(subset="start_from").drop_duplicates(["method", "task"])
    if len(started):
        names = [
            f"{settings.label(r['method'])} {task_title(r['task'])} ({task_title(r['start_from'])})"
            for _, r in started.iterrows()
        ]
        yield f"Started from another task's run, whose cost is not included: {', '.join(names)}."
    yield from _threshold_notes(costs)
    yield from _energy_notes(costs, cells, settings)
    yield devices_note(costs)
    yield from shared_device_note(costs, settings)
    yield from disturbed_note(costs, settings)


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


def _energy_notes(costs: pd.DataFrame, cells: Iterable[Cell], settings: DrawSettings) -> Iterator[str]:
    """Where the energy comes from, or why there is none."""
    if sources := sorted(set(costs["energy_source"].dropna())):
        boundary = "; ".join(sorted(set(costs["energy_boundary"].dropna())))
        yield f"Energy from {' and '.join(SOURCES[source] for source in sources)}; it covers {boundary}."
    when = " or ".join(IDLE[phase] for phase in sorted(set(costs["idle_net_of"].dropna()))) or "by the run itself"
    if any(cell.quantity == NET_ENERGY and cell.value is not None for cell in cells):
        yield f"Energy minus idle: without idle power × time. Idle power was measured {when}."
    elif costs["net_energy"].notna().any():
        yield f"Idle power is included; the details of this table are without it, as measured {when}."
    without_net = costs["energy"].notna() & costs["idle_net_of"].notna() & costs["net_energy"].isna()
    if names := run_names(costs[without_net], settings):
        yield f"No energy minus idle (n/a), because {LESS_THAN_IDLE}: {names}."
    if any("±" in cell.text for cell in cells):
        yield (
            "± after an energy or a power: by how much it may be wrong, because the energy counter advances in ticks; "
            f"shown above {SHOWN_UNCERTAINTY:.0%}."
        )
    if too_short := run_names(costs[costs["too_short_for_meter"].astype(str) == "True"], settings):
        yield f"Too short up to the threshold for the meter to tell the energy (n/a): {too_short}."
    if reasons := sorted(set(costs["meter_reason"].dropna())):
        yield f"No power and energy (n/a): {'; '.join(reasons)}."
