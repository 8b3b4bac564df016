"""The data behind the page's slider: what every run cost after each epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lora_core.evaluation.frames import per_device, read_curves


@dataclass(frozen=True)
class RunCurve:
    """One run: after each epoch its score, and the seconds and joules spent so far (None if not measured).

    `name` is the method's label, with the device if a method's runs are of several: costs are never averaged over two.
    The times and energies of a `disturbed` run are not those of the method alone.
    """

    method: str
    name: str
    disturbed: bool
    epochs: list[tuple[float, float, float | None]] = field(default_factory=list)


@dataclass(frozen=True)
class TaskCurves:
    """The threshold of a task, None without one, and the curve of every run."""

    threshold: float | None
    runs: list[RunCurve]


def cost_curves(curves: Sequence[Path], costs: pd.DataFrame, labels: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Return plain values by task; `costs` has one row per run (`read_costs`), `labels` are those of the methods."""
    return {
        str(task): asdict(_task(rows, costs[costs["task"] == task], labels))
        for task, rows in read_curves(curves).groupby("task", sort=False)
    }


def _task(curves: pd.DataFrame, costs: pd.DataFrame, labels: Mapping[str, str]) -> TaskCurves:
    named = costs["method"].map(lambda method: labels.get(method, method))
    labeled = per_device(costs.assign(entry=costs["method"], method=named))
    names = labeled.rename(columns={"method": "label", "entry": "method"})[["method", "seed", "label", "disturbed"]]
    rows = curves.merge(names, on=["method", "seed"])
    runs = [
        RunCurve(str(run["method"].iloc[0]), str(run["label"].iloc[0]), bool(run["disturbed"].iloc[0]), _epochs(run))
        for _, run in rows.groupby(["method", "seed"], sort=False)
    ]
    return TaskCurves(_number(costs["threshold"].iloc[0]), runs)


def _epochs(run: pd.DataFrame) -> list[tuple[float, float, float | None]]:
    columns = ["score", "cumulative_train_seconds", "cumulative_train_energy_joules"]
    return [
        (float(score), float(seconds), _number(joules))
        for score, seconds, joules in run[columns].itertuples(index=False)
    ]


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
