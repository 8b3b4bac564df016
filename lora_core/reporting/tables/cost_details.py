"""The details of tables 5 and 6: costs per epoch and of the preparation, thresholds, and from where on LoRA pays."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from lora_core.evaluation.break_even import QUANTITIES
from lora_core.evaluation.frames import read_costs
from lora_core.evaluation.regime_record import read_regimes
from lora_core.reporting.digits import RATIO
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table
from lora_core.reporting.tables.cells import available, groups, marked_if_disturbed, ratio_cell, same_for_all_note
from lora_core.reporting.tables.cost import block_cell, details_cells, run_notes
from lora_core.stats import MIN_SEEDS

BREAK_EVEN = {"break-even in time": "seconds_per_epoch", "break-even in energy": "joules_per_epoch"}
EPOCHS = "epochs_to_threshold"


def draw_full(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the details of table 5."""
    return _draw("table5-details", inputs, settings)


def draw_adapters(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the details of table 6, with the epochs up to which an adapter costs less, measured and predicted."""
    return _draw("table6-details", inputs, settings)


def _draw(name: str, inputs: Inputs, settings: DrawSettings) -> Table:
    costs = read_costs(inputs["costs"])
    costs = costs.assign(joules_per_epoch=costs.get("train_energy_joules", float("nan")) / costs["planned_epochs"])
    shown = costs[costs["method"].isin(settings.methods)]
    cells = [cell for group in groups(shown, settings) for cell in details_cells(group)]
    predicted = _predicted(inputs, costs, settings)
    ratios = available(_break_even(costs, shown, predicted, settings))
    cells = [*available(cells), *ratios]
    notes = [
        f"Medians over seeds; with at least {MIN_SEEDS} seeds, the 95 % t-interval of the mean if all of them reached "
        "the threshold. Seconds per epoch are those of each run's median epoch."
    ]
    if shown["preparation_seconds"].notna().any():
        notes.append(
            "Preparation is what happens only once in a process, before its first epoch (loading kernels, reserving "
            "memory); it is not part of any other row."
        )
    if ratios:
        full = settings.label(settings.references.full or "")
        notes.append(
            f"Break-even: the cost of an epoch of {full}, relative to the method's. The method costs less in total if "
            "the epochs that it needs, relative to full fine-tuning, are fewer than that. All are ratios paired by "
            f"seed: geometric mean, with at least {MIN_SEEDS} seeds the 95 % t-interval."
        )
    if any("predicted" in cell.quantity for cell in ratios):
        notes.append(
            "Break-even, predicted: from single steps on the mean batch of each task, measured apart from these runs "
            "(table regimes). The claims compare this one with what the runs took."
        )
    notes += [*same_for_all_note(cells), *run_notes(shown, cells, settings)]
    return new_table(name, "quantity", cells, notes)


def _break_even(
    costs: pd.DataFrame, shown: pd.DataFrame, predicted: Mapping[str, Mapping[str, float]], settings: DrawSettings
) -> Iterator[Cell]:
    """Of each adapter: how many times as many epochs it needs, and up to how many it would cost less."""
    full = settings.references.full
    if full is None or costs["device"].nunique() > 1:
        return
    for group in groups(shown[shown["method"] != full], settings):
        both = costs[(costs["task"] == group.task) & costs["method"].isin([group.method, full])]
        relative = {"epochs, relative to full fine-tuning": (EPOCHS, group.method, full)}
        relative |= {name: (column, full, group.method) for name, column in BREAK_EVEN.items()}
        for name, (column, above, below) in relative.items():
            ratios = both.pivot(index="seed", columns="method", values=column).reindex(columns=[above, below])
            logs = np.log(ratios[above].astype(float) / ratios[below].astype(float))
            cell = ratio_cell(block_cell(group, name, name, "ratio"), list(logs))
            yield cell if column == EPOCHS else marked_if_disturbed(cell, both)
        for name, values in predicted.items() if group.method == settings.references.adapter else ():
            if group.task in values:
                value = values[group.task]
                yield replace(block_cell(group, name, name, "ratio"), value=value, text=RATIO.one(value))


def _predicted(inputs: Inputs, costs: pd.DataFrame, settings: DrawSettings) -> dict[str, dict[str, float]]:
    """By row and task, the adapter's break-even from single steps, if they were measured on the device of the runs."""
    files, references = inputs.get("measured_regimes", ()), settings.references
    if not files or references.missing("full", "adapter"):
        return {}
    regimes = read_regimes(files[0], references)
    if {regimes.measured_on} != set(costs["device"]):
        return {}
    return {f"break-even in {quantity}, predicted": regimes.break_evens(quantity) for quantity in QUANTITIES}
