"""What every export reads: the finished runs of a results folder, as points over time, parameters and results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from lora_core.config.results_folder import obstacle
from lora_core.evaluation.collect_runs import leaves
from lora_core.evaluation.run_history import RunHistory, read_history
from lora_core.evaluation.run_record import RunRecord
from lora_core.layout import HISTORY, POWER, Layout

# The measurements that a tracker compares runs by. All others are in its series or in runs.csv.
RESULTS = (
    *("score.best", "score.last", "parameters.trained_with_head", "train_seconds", "eval_seconds"),
    *("energy.train_joules", "energy.sampling.suspended_seconds", "memory.mean_mb", "memory.peak_mb"),
    *("memory.peak_allocated_mb", "memory.saved_for_backward_mb"),
)
DEVICE_SERIES = ("power_watts", "utilization_percent", "memory_used_mb", "temperature_celsius", "clock_mhz")
NOT_SERIES = ("epoch", "part")  # columns of history.csv


@dataclass(frozen=True)
class Point:
    """One value of a series.

    Attributes:
        name: "epoch/..." for a column of history.csv, "device/..." for one of power.csv.
        step: The epoch, counted from 1, or the milliseconds since the run started.
    """

    name: str
    step: int
    time: datetime
    value: float


@dataclass(frozen=True)
class ExportedRun:
    """A finished run.

    Attributes:
        study: The name of the study that it belongs to.
        weights: The folder of its weights.
        grid_co2_grams_per_kwh: Carbon intensity of the electricity that it used; None if nothing says it.
    """

    study: str
    history: RunHistory
    weights: Path
    grid_co2_grams_per_kwh: float | None = None

    @property
    def record(self) -> RunRecord:
        """The run's record."""
        return self.history.record

    @property
    def name(self) -> str:
        """Method, task and seed as a path."""
        return f"{self.record.method}/{self.record.task}/seed{self.record.seed}"

    @cached_property
    def parameters(self) -> dict[str, str | int | float | bool]:
        """What the run was given: the settings of the method begin with "method."; what is not set is left out."""
        run = self.record
        given = {name: getattr(run, name) for name in ("method", "task", "seed", "model", "precision", "batching")}
        settings = {f"method.{name}": value for name, value in leaves(run.settings)}
        simulated = {"simulated": True} if run.energy.simulated else {}  # the driver of its meter
        everything = given | settings | dict(run.hyperparameters) | simulated
        return {name: _plain(value) for name, value in everything.items() if value is not None}

    @cached_property
    def results(self) -> dict[str, float]:
        """The measurements of the whole run that were made."""
        measured = dict(leaves(self.record.measurement))
        return {name: value for name in RESULTS if isinstance(value := measured.get(name), int | float)}

    @property
    def started(self) -> datetime:
        """When the run, or its last part if it was resumed, started."""
        return datetime.fromisoformat(self.record.provenance.started)

    @property
    def ended(self) -> datetime:
        """When the last sample was taken."""
        return self._time(self.history.power[-1].seconds)

    def points(self) -> Iterator[Point]:
        """Yield every value that was measured, one series after the other in each of the two tables."""
        yield from self._epoch_points()
        yield from self._sample_points()

    def epochs(self) -> list[dict[str, Any]]:
        """Return the rows of history.csv; an empty field is None."""
        rows = self.history.history.to_dict("records")
        return [{str(name): None if pd.isna(value) else value for name, value in row.items()} for row in rows]

    def _epoch_points(self) -> Iterator[Point]:
        for row, window in zip(self.epochs(), self.history.windows, strict=True):
            time = self._time(window[-1].seconds)
            for name, value in row.items():
                if name not in NOT_SERIES and isinstance(value, int | float):
                    yield Point(f"epoch/{name}", row["epoch"], time, float(value))

    def _sample_points(self) -> Iterator[Point]:
        """Yield the samples of the device; one at the edge of two windows is in both, and is yielded once."""
        last: float | None = None
        for row in self.history.power:
            if row.seconds == last:
                continue
            last = row.seconds
            for name in DEVICE_SERIES:
                if (value := getattr(row, name)) is not None:
                    yield Point(f"device/{name}", round(1000 * row.seconds), self._time(row.seconds), float(value))

    def _time(self, seconds: float) -> datetime:
        """Return the time of a sample: `started` is that of the last part, and seconds count from the first."""
        part = self.history.power[-1].part
        first = next(row.seconds for row in self.history.power if row.part == part)
        return self.started + timedelta(seconds=seconds - first)


def read_runs(results: Path, grid_co2_grams_per_kwh: float | None = None) -> Iterator[ExportedRun]:
    """Read the finished runs of a results folder, which no record says the grid's carbon intensity of.

    Raise ValueError if there are none, or if one is damaged.
    """
    if reason := obstacle(results):
        raise ValueError(reason)
    records = sorted(results.glob(Layout.run_record.format(method="*", task="*", seed="*")))
    if not records:
        raise ValueError(f"{results} has no run.json under runs/; name the results folder of a study that has run")
    for record in records:
        folder = record.parent
        history = read_history(record, folder / HISTORY, folder / POWER)
        yield ExportedRun(results.resolve().name, history, folder / Path(Layout.weights).name, grid_co2_grams_per_kwh)


def measured_joules(run: ExportedRun) -> float | None:
    """Return the energy of training; None if nothing measured it, or if the driver of the meter is a stand-in."""
    energy = run.record.energy
    return None if energy.simulated else energy.train_joules


def _plain(value: object) -> str | int | float | bool:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return value if isinstance(value, str | int | float | bool) else str(value)
