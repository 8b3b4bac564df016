"""A study as CodeCarbon's emissions.csv: one row for each run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from lora_core.csv_cells import as_text
from lora_core.reporting.card_metadata import JOULES_PER_KWH, emissions_grams
from lora_core.reporting.exports.runs import ExportedRun, measured_joules

FILE = "emissions.csv"
PARTS = {"nvml": "gpu", "rapl": "cpu"}  # what of CodeCarbon's three parts (CPU, GPU, RAM) a meter reads


def write(runs: Sequence[ExportedRun], folder: Path) -> None:
    """Write the time, the energy and, where the grid is known, the CO2 of training; what nothing says stays empty."""
    logging.getLogger("codecarbon").setLevel(logging.ERROR)  # it announces the file by its temporary name
    from codecarbon.output_methods.emissions_data import EmissionsData
    from codecarbon.output_methods.file import FileOutput

    output = FileOutput(FILE, str(folder))
    for run in runs:
        known = values(run)
        # Every column is named, because those that are not have a default of 0.
        output.out(EmissionsData(**{field.name: known.get(field.name) for field in fields(EmissionsData)}), None)


def values(run: ExportedRun) -> dict[str, object]:
    """Return what the records say, by CodeCarbon's names: energies in kWh, powers in W, emissions in kg.

    A text that begins like a formula has an apostrophe in front.
    """
    record, place = run.record, run.record.provenance
    joules, part = measured_joules(run), PARTS.get(record.energy.meter)
    row: dict[str, object] = {
        "timestamp": run.ended.strftime("%Y-%m-%dT%H:%M:%S"),
        "project_name": run.study,
        "run_id": run.name,
        "experiment_id": f"{record.method}/{record.task}",
        "duration": record.train_seconds,
        "energy_consumed": None if joules is None else joules / JOULES_PER_KWH,
        "os": place.system,
        "python_version": place.python,
    }
    if joules is not None and part:
        row |= {f"{part}_energy": joules / JOULES_PER_KWH, f"{part}_power": joules / record.train_seconds}
    if (grams := emissions_grams(record, run.grid_co2_grams_per_kwh)) is not None:
        row |= {"emissions": grams / 1e3, "emissions_rate": grams / 1e3 / record.train_seconds}
    on_cpu = place.device == "cpu"
    row |= {"cpu_model": place.device_model} if on_cpu else {"gpu_model": place.device_model, "gpu_count": 1}
    return {name: as_text(value) for name, value in row.items()}
