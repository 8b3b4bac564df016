"""What equal accuracy costs: one threshold per task, and each run's time and energy up to the first epoch there.

Reading the cut off the history is exactly what early stopping would have cost (Section 4.1); no second training.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd

from lora_core.measuring import power_trace as trace
from lora_core.records import FULL, OWN, PowerRow, atomic_file, read_checked, read_rows

MARGIN = 0.005  # min(LoRA, FFT) - 0.005 (Section 4.1)
MEANINGFUL = 0.02  # a threshold this close to the constant guess tells nothing
TIE = 1e-9  # scores are fractions of examples: what differs by less is the same
CURVE_COLUMNS = ["method", "seed", "epoch", "score", "cumulative_train_seconds", "cumulative_train_energy_joules"]


@dataclass(frozen=True)
class Run:
    """A finished run: its record, its history and its samples."""

    method: str
    seed: int
    record: dict[str, Any]
    history: pd.DataFrame
    power: list[PowerRow]

    @cached_property
    def windows(self) -> list[list[PowerRow]]:
        """The training windows, one an epoch."""
        return trace.windows(self.power, "train")

    @property
    def best(self) -> float:
        return float(self.history["score"].max())


def read_run(folder: Path) -> Run:
    record = read_checked(folder / "run.json", "history.csv", "power.csv")
    history = pd.read_csv(folder / "history.csv", float_precision="round_trip")
    run = Run(
        record["run"]["method"], record["run"]["seed"], record, history, read_rows(folder / "power.csv", PowerRow)
    )
    if len(run.windows) != len(history):
        raise ValueError(f"{folder}: {len(run.windows)} training windows in power.csv, {len(history)} in history.csv")
    return run


def device_of(record: dict[str, Any]) -> str:
    """What a record was measured on: time, memory and energy are never averaged over two of these."""
    place = record["provenance"]
    return place["device_model"] + (f", {place['threads']} threads" if place["device"] == "cpu" else "")


def threshold(runs: list[Run]) -> float | None:
    """min(mean best score of `fft`, of `lora`, over seeds) - 0.005; None where one of the two is missing."""
    means = []
    for method in (FULL, OWN):
        scores = [run.best for run in runs if run.method == method]
        if not scores:
            return None
        means.append(sum(scores) / len(scores))
    return min(means) - MARGIN


def cut(run: Run, at: float | None) -> dict[str, Any]:
    """Epochs, seconds and joules up to the first epoch whose score reaches `at`; all None where none does."""
    reached = run.history.index[run.history["score"] >= (float("inf") if at is None else at - TIE)]
    if reached.empty:
        return {"epochs": None, "train_seconds": None, "train_energy_joules": None, "train_net_energy_joules": None}
    epochs = int(reached[0]) + 1
    spent = float(run.history["train_seconds"].iloc[:epochs].sum())
    gross = energy(run, epochs)
    idle = trace.idle_watts(run.power)
    return {
        "epochs": epochs,
        "train_seconds": spent,
        "train_energy_joules": gross,
        "train_net_energy_joules": None if gross is None or idle is None else gross - idle * spent,
    }


def energy(run: Run, epochs: int) -> float | None:
    """Joules of the first epochs' training windows together, as the whole run's are read."""
    return trace.energy_joules(run.windows[:epochs], trace.source(run.power))


def cost_rows(runs: list[Run]) -> list[dict[str, Any]]:
    """One row a run: whole, cut at the task's threshold, and cut at its own seed's threshold.

    A run that never gets there has `reached` False and no cost (it is censored, not as dear as its full length).
    """
    shared = threshold(runs)
    rows = []
    for run in runs:
        own = threshold([r for r in runs if r.seed == run.seed])
        at, at_own = cut(run, shared), cut(run, own)
        guess = run.record["run"]["data"]["validation"]["constant_guess"]
        measured = run.record["measurement"]
        rows.append(
            {
                "method": run.method,
                "seed": run.seed,
                "device": device_of(run.record),
                "start_from": run.record["run"]["hyperparameters"]["start_from"],
                "planned_epochs": len(run.history),
                "best_score": run.best,
                "threshold": shared,
                "threshold_meaningful": None if shared is None else shared >= guess + MEANINGFUL - TIE,
                "reached": None if shared is None else at["epochs"] is not None,
                "epochs_to_threshold": at["epochs"],
                "seconds_to_threshold": at["train_seconds"],
                "energy_to_threshold_joules": at["train_energy_joules"],
                "net_energy_to_threshold_joules": at["train_net_energy_joules"],
                "seed_threshold": own,
                "epochs_to_seed_threshold": at_own["epochs"],
                "seconds_to_seed_threshold": at_own["train_seconds"],
                "energy_to_seed_threshold_joules": at_own["train_energy_joules"],
                "train_seconds": measured["train_seconds"],
                "train_energy_joules": energy(run, len(run.history)),
                "energy_source": measured["energy"]["source"],
                "energy_boundary": measured["energy"]["boundary"],
                "meter": measured["energy"]["meter"],
                "meter_reason": measured["energy"]["reason"],
                "simulated": run.record["run"]["simulated"],
                "shared": run.record["provenance"]["shared"],
            }
        )
    return rows


def curve_rows(runs: list[Run]) -> pd.DataFrame:
    """One row an epoch of every run: score against time and energy spent so far."""
    parts = [
        pd.DataFrame(
            {
                "method": run.method,
                "seed": run.seed,
                "epoch": run.history["epoch"],
                "score": run.history["score"],
                "cumulative_train_seconds": run.history["train_seconds"].cumsum(),
                "cumulative_train_energy_joules": run.history["epoch"].map(partial(energy, run)).astype(float),
            }
        )
        for run in runs
    ]
    return pd.concat(parts, ignore_index=True)[CURVE_COLUMNS]


def aggregate(folders: list[Path], costs: Path, curve: Path) -> None:
    """Write a task's cost at equal accuracy, and its curves, from its run folders."""
    runs = [read_run(folder) for folder in folders]
    for path, frame in ((costs, pd.DataFrame(cost_rows(runs))), (curve, curve_rows(runs))):
        with atomic_file(path) as temp_path:
            frame.to_csv(temp_path, index=False)
