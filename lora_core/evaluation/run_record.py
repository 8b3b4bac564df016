"""What comparisons read from a run.json, as typed fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lora_core.records import JsonObject, check_digests, read_run_record


@dataclass(frozen=True)
class EnergyReading:
    """How a run's energy was read.

    Attributes:
        meter: Name of the meter, "none" without one.
        source: "counter" or "trapezoid"; None if no energy was read.
        boundary: What the energy covers, as text.
        reason: Why there is no energy; None if there is.
        simulated: The driver behind the meter is a stand-in.
    """

    meter: str
    source: str | None
    boundary: str | None
    reason: str | None
    simulated: bool


@dataclass(frozen=True)
class RunRecord:
    """One finished run.

    Attributes:
        baseline_score: Score of a constant prediction on the validation split (majority class; 0 for correlations).
        start_from: The task whose run this one started from; None for the pre-trained model.
        metric: Name of the score.
        best_epoch: Counted from 1.
        device: Device model, on a CPU with the number of threads. Measurements are never averaged over two of these.
        shared: Another process used the device during the run; None if that is unknown.
    """

    method: str
    task: str
    seed: int
    baseline_score: float
    start_from: str | None
    metric: str
    best_score: float
    best_epoch: int
    last_score: float
    train_seconds: float
    energy: EnergyReading
    device: str
    shared: bool | None

    @classmethod
    def from_json(cls, record: JsonObject) -> RunRecord:
        """Take the fields from a record of `read_run_record`. Raise KeyError if one is missing."""
        run, measurement = record["run"], record["measurement"]
        score, energy = measurement["score"], measurement["energy"]
        return cls(
            method=run["method"],
            task=run["task"],
            seed=run["seed"],
            baseline_score=run["data"]["validation"]["baseline_score"],
            start_from=run["hyperparameters"]["start_from"],
            metric=score["metric"],
            best_score=score["best"],
            best_epoch=score["best_epoch"],
            last_score=score["last"],
            train_seconds=measurement["train_seconds"],
            energy=EnergyReading(
                meter=energy["meter"],
                source=energy["source"],
                boundary=energy["boundary"],
                reason=energy["reason"],
                simulated=energy["simulated"],
            ),
            device=device_of(record),
            shared=record["provenance"]["shared"],
        )

    @classmethod
    def read(cls, path: Path, files: dict[str, Path]) -> RunRecord:
        """Read a run.json after checking the digests of `files` (`records.check_digests`).

        Raise ValueError if a file differs from what the run wrote, or if the record lacks a field.
        """
        record = read_run_record(path)
        check_digests(record, path, files)
        try:
            return cls.from_json(record)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged (field {error} is missing); delete it and run again") from error


def device_of(record: JsonObject) -> str:
    """Return what a run's or a latency record's figures were measured on: the device model, for a CPU with threads."""
    provenance = record["provenance"]
    threads = f", {provenance['threads']} threads" if provenance["device"] == "cpu" else ""
    return provenance["device_model"] + threads
