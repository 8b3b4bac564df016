"""Records as data frames, from which tables, figures and claims are made.

A file's task and seed are read from its own name, by the patterns of `layout`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.latency_record import LatencyRecord
from lora_core.evaluation.run_record import MemoryParts, RunRecord, device_of
from lora_core.layout import PREDICTIONS, Layout, place, wildcards
from lora_core.records import LatencyRow, read_json, read_rows
from lora_core.sealed import unseal
from lora_core.sealed_csv import read_sealed_csv

PARTS = tuple(field.name for field in fields(MemoryParts))
KEY = ["model", "parameters", "batch", "tokens"]  # what identifies a row of scaling.json, besides the method


def per_device(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the device to the method's name if there are several: measurements are never averaged over two devices."""
    if frame["device"].nunique() > 1:
        frame = frame.assign(method=frame["method"] + " on " + frame["device"])
    return frame


def run_names(frame: pd.DataFrame) -> Iterator[str]:
    """Name each run of a frame."""
    return (f"{row['method']} {task_title(row['task'])} seed {row['seed']}" for _, row in frame.iterrows())


def suspended_names(frame: pd.DataFrame, column: str = "suspended_seconds") -> Iterator[str]:
    """Name each suspended run of a frame of costs, and for how long it was suspended."""
    suspended = frame[frame[column] > 0]
    for name, seconds in zip(run_names(suspended), suspended[column], strict=True):
        yield f"{name} ({seconds:.0f} s)"


def _with_task(pattern: str, files: Sequence[Path]) -> pd.DataFrame:
    """Concatenate CSV files that are named after their task, with the task as a column."""
    parts = []
    for file in files:
        frame = read_sealed_csv(file, place(pattern, file))
        # A study with one method has no differences, but one row of everything else at least.
        if "method" not in frame or (frame.empty and pattern != Layout.differences):
            raise ValueError(f"{file} is damaged (no run is in it); delete it and run again")
        parts.append(frame.assign(task=wildcards(pattern, file)["task"]))
    return pd.concat(parts, ignore_index=True)


def read_scores(files: Sequence[Path]) -> pd.DataFrame:
    """Read scores/{task}.csv: one row per run."""
    frame = _with_task(Layout.scores, files).rename(columns={"constant_guess": "baseline_score"})  # its first name
    return frame.assign(equal_length_batches=frame.get("equal_length_batches", False))


def read_differences(files: Sequence[Path]) -> pd.DataFrame:
    """Read scores/{task}_differences.csv: one row per pair of methods and quantity."""
    return _with_task(Layout.differences, files)


def read_costs(files: Sequence[Path]) -> pd.DataFrame:
    """Read energy/{task}.csv: one row per run, in the units of tables 5 and 6 (W, s, kJ).

    Seconds per epoch are those of the median epoch.
    """
    frame = _without_zero_energy(_with_task(Layout.costs, files))
    uncertainty = _absent_in_older(frame, "energy_uncertainty_joules")
    net = frame["net_energy_to_threshold_joules"].where(frame["energy_to_threshold_joules"].notna())
    return frame.assign(
        power=frame["energy_to_threshold_joules"] / frame["seconds_to_threshold"],
        energy=frame["energy_to_threshold_joules"] / 1e3,
        net_energy=net.where(net > 0) / 1e3,  # older records have negative ones
        seconds_per_epoch=frame["median_epoch_seconds"],
        energy_uncertainty=uncertainty / 1e3,
        power_uncertainty=uncertainty / frame["seconds_to_threshold"],
        idle_net_of=frame.get("idle_net_of"),
        too_short_for_meter=frame.get("too_short_for_meter", False),
        preparation_seconds=_absent_in_older(frame, "preparation_seconds"),
        preparation_energy=_absent_in_older(frame, "preparation_energy_joules") / 1e3,
        disturbed=frame["disturbed"].astype(str) == "True",
        suspended_seconds=frame.get("suspended_seconds", 0.0),
        eval_suspended_seconds=frame.get("eval_suspended_seconds", 0.0),
    )


def _absent_in_older(frame: pd.DataFrame, column: str) -> pd.Series:
    """A column of numbers; not a number in records that lack it."""
    return frame.get(column, pd.Series(float("nan"), frame.index)).astype(float)


def read_curves(files: Sequence[Path]) -> pd.DataFrame:
    """Read energy/{task}_curve.csv: one row per epoch of every run, score against time and energy spent so far."""
    return _without_zero_energy(_with_task(Layout.curve, files))


def _without_zero_energy(frame: pd.DataFrame) -> pd.DataFrame:
    """Older records have 0 J of a meter that stood still: that is no measurement, and nothing can be divided by it."""
    names = [name for name in map(str, frame) if name.endswith("_joules") and not name.startswith("net_")]
    return frame.assign(**{name: frame[name].where(frame[name] > 0) for name in names})


def read_memory(records: Sequence[Path]) -> pd.DataFrame:
    """Read the figures of table 4 from run.json files: one row per run, in MB (10^6 bytes)."""
    rows = []
    for path in records:
        run = RunRecord.read(path)
        memory, predicted = run.memory, run.memory.predicted
        rows.append(
            {
                **_key(run),
                "kind": memory.kind,
                "mean_mb": memory.mean_mb,
                "peak_mb": memory.peak_mb,
                "baseline_mb": memory.baseline_mb,
                "peak_allocated_mb": memory.peak_allocated_mb,
                "peak_reserved_mb": memory.peak_reserved_mb,
                **vars(memory.parts),
                "added_mb": memory.above_baseline(memory.mean_mb),
                "peak_added_mb": memory.above_baseline(memory.peak_mb),
                "accounted_mb": memory.parts.sum_mb,
                "predicted_saved_mb": predicted and predicted.saved_for_backward_mb,
                "predicted_mb": predicted and predicted.sum_mb,
                "device": run.device,
                "shared": run.provenance.shared,
                "simulated": run.energy.simulated,
            }
        )
    return pd.DataFrame(rows)


def _key(run: RunRecord) -> dict[str, str | int]:
    """The columns that identify a run."""
    return {"method": run.method, "task": run.task, "seed": run.seed}


@dataclass(frozen=True)
class LatencyRun:
    """The timed forward passes of one task and seed, and the JSON record about them."""

    task: str
    seed: int
    rows: list[LatencyRow]
    record: LatencyRecord

    @property
    def device(self) -> str:
        """What the passes were measured on."""
        return device_of(self.record.provenance)

    @property
    def suspended(self) -> str | None:
        """The task and seed, and for how long the process was suspended while it timed; None if it was not."""
        seconds = self.record.suspended_seconds
        return f"{task_title(self.task)} seed {self.seed} ({seconds:.0f} s)" if seconds else None


def read_latency_runs(passes: Sequence[Path], records: Sequence[Path]) -> list[LatencyRun]:
    """Read latency/{task}/seed{seed}.csv files with their JSON records, both in the same order.

    Raise ValueError if a file and its record are not of the same task and seed.
    """
    runs = []
    for csv_file, json_file in zip(passes, records, strict=True):
        values = wildcards(Layout.latency, csv_file)
        if values != wildcards(Layout.latency_record, json_file):
            raise ValueError(f"{json_file} is not the record of {csv_file}")
        rows, record = read_rows(csv_file, LatencyRow), LatencyRecord.read(json_file, csv_file)
        runs.append(LatencyRun(values["task"], int(values["seed"]), rows, record))
    return runs


def read_latency(passes: Sequence[Path], records: Sequence[Path]) -> pd.DataFrame:
    """Read every timed forward pass, with its task, seed and device; files and records as in `read_latency_runs`."""
    parts = [
        pd.DataFrame(run.rows).assign(task=run.task, seed=run.seed, device=run.device, suspended=run.suspended)
        for run in read_latency_runs(passes, records)
    ]
    return pd.concat(parts, ignore_index=True)


def read_losses(records: Sequence[Path], predictions: Sequence[Path]) -> pd.DataFrame:
    """Read the training losses: one row per step of every run with method, task, seed, step (from 1) and loss.

    `predictions` are the files that belong to `records`, in the same order.
    """
    from safetensors.numpy import load_file

    parts = []
    for path, stored in zip(records, predictions, strict=True):
        run = RunRecord.read(path, {PREDICTIONS: stored})
        losses = load_file(stored)["step_losses"]
        parts.append(pd.DataFrame({**_key(run), "step": np.arange(1, len(losses) + 1), "loss": losses}))
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class MemoryScaling:
    """Training memory against model size: one row per model and batch.

    Columns: `full_mb` and `lora_mb`, the sums of both methods; `saved`, the share that LoRA saves; `activations`, their
    share of full fine-tuning; and of a real step `full_peak_mb`, `lora_peak_mb` and `saved_at_peak`, by how much the
    process grew at its peak.
    """

    predicted: pd.DataFrame
    counted: pd.DataFrame


def read_memory_scaling(file: Path) -> MemoryScaling:
    """Read scaling.json: what is predicted from shapes, and what was counted on a real step."""
    content = unseal(read_json(file), file)
    return MemoryScaling(_compare_memory(content["predicted"]), _compare_memory(content["counted"]))


def _compare_memory(records: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    rows = pd.DataFrame(records)
    rows["total_mb"] = rows[list(PARTS)].sum(axis=1)
    full, lora = (rows[rows["method"] == kind].set_index(KEY) for kind in ("full", "lora"))
    frame = pd.DataFrame({"full_mb": full["total_mb"], "lora_mb": lora["total_mb"]})
    frame["saved"] = 1 - frame["lora_mb"] / frame["full_mb"]
    frame["activations"] = full["saved_for_backward_mb"] / frame["full_mb"]
    frame["full_peak_mb"], frame["lora_peak_mb"] = (side["resident_peak_mb"].astype(float) for side in (full, lora))
    frame["saved_at_peak"] = 1 - frame["lora_peak_mb"] / frame["full_peak_mb"]
    return frame.reset_index().sort_values(["batch", "tokens", "parameters"], ignore_index=True)
