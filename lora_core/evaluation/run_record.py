"""The record of a run (run.json) as typed fields, for everything that reads it after training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_core.data.card import DataCard
from lora_core.evaluation.recorded_scores import Score, TestedScore
from lora_core.layout import Layout, wildcards
from lora_core.measuring.idle_power import IdlePower
from lora_core.provenance import ABSENT, Provenance
from lora_core.records import check_digests, read_run_record
from lora_core.typed_records import fill, name_damaged_file


@dataclass(frozen=True)
class Parameters:
    """How many parameters the model has, and how many of them were trained: with the head, and in the head."""

    trained_with_head: int
    head: int
    total: int


@dataclass(frozen=True)
class MemoryParts:
    """What training keeps in memory, by its parts, in MB (10^6 bytes)."""

    weights_mb: float
    gradients_mb: float
    optimizer_mb: float
    saved_for_backward_mb: float

    @property
    def sum_mb(self) -> float:
        """The sum of the four parts."""
        return sum(vars(self).values())


@dataclass(frozen=True)
class Memory:
    """Memory while training, in MB (10^6 bytes); None if it was not measured.

    Attributes:
        kind: Whose memory the meter read: "device" or "resident" (`lora_core.measuring.meters.Meter`).
        mean_mb: Mean of the meter's samples.
        peak_mb: Highest of the meter's samples.
        baseline_mb: Mean of the samples before the model was loaded.
        peak_allocated_mb: The allocator's peak; None on a CPU.
        peak_reserved_mb: The allocator's reserved peak; None on a CPU.
        parts: Counted in the largest batch.
        predicted: The same parts from shapes alone; None if they could not be predicted.
    """

    kind: str
    mean_mb: float | None
    peak_mb: float | None
    baseline_mb: float | None
    peak_allocated_mb: float | None
    peak_reserved_mb: float | None
    parts: MemoryParts
    predicted: MemoryParts | None

    def above_baseline(self, measured_mb: float | None) -> float | None:
        """Return a measured figure minus the baseline; None if one of them was not measured."""
        return None if measured_mb is None or self.baseline_mb is None else measured_mb - self.baseline_mb


@dataclass(frozen=True)
class Energy:
    """The energy of training, and how it was read.

    Attributes:
        meter: Name of the meter, "none" without one.
        source: "counter" or "trapezoid"; None if no energy was read.
        boundary: What the energy covers, as text.
        reason: Why there is no energy; None if there is.
        simulated: The driver behind the meter is a stand-in.
        train_joules: Of all training windows; None if it was not measured.
        power_limit_watts: The device's power limit; None if the meter does not know it.
        suspended_seconds: For how long the run was suspended while it trained; None in older records.
        counter_tick_seconds: How often the energy counter advances; None if that was not measured.
        uncertainty_joules: By how much `train_joules` may be wrong for that reason; None if that is not known.
        idle_measured: When the idle baseline was measured (ISO 8601, UTC); None without one, and in older records.
        idle_shared: Whether another run on the same device measured it; None if there is none.
        idle: The idle power; in records without `idle_measured`, what the run's own samples gave.
    """

    meter: str
    source: str | None
    boundary: str | None
    reason: str | None
    simulated: bool
    train_joules: float | None
    power_limit_watts: float | None
    suspended_seconds: float | None
    counter_tick_seconds: float | None
    uncertainty_joules: float | None
    idle_measured: str | None
    idle_shared: bool | None
    idle: IdlePower


# What older records lack.
OLDER_ENERGY = {
    **dict.fromkeys(("power_limit_watts", "counter_tick_seconds", "uncertainty_joules", "idle_context_watts")),
    **dict.fromkeys(("idle_measured", "idle_shared")),
    "net_of": "idle",
}


@dataclass(frozen=True)
class Preparation:
    """What came before the first epoch of each part of a run; None in older records, or if it was not measured."""

    seconds: float | None
    energy_joules: float | None


@dataclass(frozen=True)
class RunRecord:
    """One finished run.

    Attributes:
        kind: The kind of the method.
        settings: All settings of the method, with its kind, as they are printed.
        hyperparameters: As they are printed.
        start_from: The task whose run this one started from; None for the pre-trained model.
        base_model: The id on the hub or the folder of the pre-trained model, `model` its name in the study.
        base_revision: The revision on the hub by which adapters name it; None if they name a folder.
        sample_seconds: Between two samples of the meter.
        equal_length_batches: Whether no batch was padded, because padding changes the model's logits.
        execution: Of the training steps: "graphs" (CUDA graphs) or "eager"; None in older records.
        data: The card of the tokenized task.
        measurement: All that was measured, by the names in the file, for runs.csv.
        test: The score on the test split; None for a task without one.
    """

    method: str
    task: str
    seed: int
    kind: str
    settings: Mapping[str, object]
    hyperparameters: Mapping[str, object]
    start_from: str | None
    precision: str
    batching: str
    base_model: str
    base_revision: str | None
    model: str
    sample_seconds: float
    data: DataCard
    parameters: Parameters
    score: Score
    train_seconds: float
    eval_seconds: float
    memory: Memory
    energy: Energy
    preparation: Preparation
    equal_length_batches: bool
    execution: str | None
    provenance: Provenance
    measurement: Mapping[str, object]
    test: TestedScore | None = None

    @property
    def device(self) -> str:
        """The device model, on a CPU with the number of threads: measurements are never averaged over two of these."""
        return device_of(self.provenance)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RunRecord:
        """Take the fields from a record of `read_run_record`. Raise KeyError if one is missing."""
        run, measurement = record["run"], record["measurement"]
        memory = measurement["memory"]
        if memory["peak_mb"] == 0:  # older records have what a meter reported that reads no memory
            memory = memory | dict.fromkeys(("mean_mb", "peak_mb", "baseline_mb"))
        predicted = memory["predicted"]
        return fill(
            cls,
            {"execution": None, "equal_length_batches": False, "base_revision": None} | run | measurement,
            kind=run["settings"]["kind"],
            sample_seconds=run["measure"]["sample_seconds"],
            start_from=run["hyperparameters"]["start_from"],
            data=DataCard.from_json(run["data"]),
            parameters=fill(Parameters, measurement["parameters"]),
            score=fill(Score, measurement["score"]),
            memory=fill(
                Memory,
                memory,
                parts=fill(MemoryParts, memory),
                predicted=None if predicted is None else fill(MemoryParts, predicted),
            ),
            energy=fill(
                Energy,
                OLDER_ENERGY | measurement["energy"],
                idle=fill(IdlePower, OLDER_ENERGY | measurement["energy"]),
                suspended_seconds=measurement["energy"]["sampling"].get("suspended_seconds"),
            ),
            preparation=fill(Preparation, measurement.get("preparation", {"seconds": None, "energy_joules": None})),
            provenance=fill(Provenance, ABSENT | record["provenance"]),
            measurement=measurement,
            test=None if measurement.get("test") is None else fill(TestedScore, measurement["test"]),
        )

    @classmethod
    def read(cls, path: Path, files: Mapping[str, Path] | None = None) -> RunRecord:
        """Read a run.json after checking the digests of `files` (`records.check_digests`).

        Raise ValueError if a file differs from what the run wrote, if the record is damaged or was edited, or if it is
        that of another run than the one whose folder it is in.
        """
        with name_damaged_file(path):
            record = read_run_record(path)
            check_digests(record, path, files or {})
            run = cls.from_json(record)
        if reason := misplaced(path, run.method, run.task, run.seed):
            raise ValueError(f"{path} {reason}; delete the folder {path.parent} and run again")
        return run


def misplaced(path: Path, method: object, task: object, seed: object) -> str | None:
    """Return in words which run a record is of, if it lies in the folder of another; None if all is well.

    A file that is not named as `Layout` names it is not checked.
    """
    try:
        place = wildcards(Layout.run_record, path)
    except ValueError:
        return None
    if place == {"method": str(method), "task": str(task), "seed": str(seed)}:
        return None
    return f"is the record of {method}/{task}/seed{seed}"


def device_of(provenance: Provenance) -> str:
    """Return what figures were measured on: the device model, for a CPU with threads, for a GPU with its libraries."""
    threads = f", {provenance.threads} threads" if provenance.device == "cpu" else ""
    cuda = f", CUDA {provenance.cuda}" if provenance.cuda else ""
    cudnn = f", cuDNN {provenance.cudnn}" if provenance.cudnn else ""
    return f"{provenance.device_model}{threads}{cuda}{cudnn}"
