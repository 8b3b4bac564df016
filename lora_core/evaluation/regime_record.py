"""regimes.json: steps of full fine-tuning and of LoRA, measured and predicted, and what follows for tasks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from lora_core.evaluation.references import References
from lora_core.records import read_json
from lora_core.sealed import unseal
from lora_core.stats import t_interval

SIZE = ["task", "rows", "tokens", "execution"]  # what identifies a step, besides the method
Predicted = dict[str, dict[str, float]]  # seconds of each part by what its operations wait for


@dataclass(frozen=True)
class Size:
    """The rows and tokens of a step, and the task of the study whose mean batch it is; none for the grid."""

    rows: int
    tokens: int
    task: str = ""


@dataclass(frozen=True)
class TaskBatches:
    """The batches of a task: the mean batch as a step, by method, and how many an epoch has."""

    sizes: Mapping[str, Size]
    steps: Mapping[str, int]


@dataclass(frozen=True)
class RegimeRow:
    """A step of one method, measured and predicted.

    Attributes:
        task: The task whose mean batch this is; empty for the grid.
        execution: "eager", or "graphs" for CUDA graphs.
        rounds: Seconds of a step in each round, next to the other methods' in the same round; empty if not measured.
        parts: Seconds of the forward pass, the backward pass and the update; None where they were not timed apart.
        joules: Of a step; None without a meter that counts energy.
        peak_mb: Of the allocator; None on a CPU.
        saved_mb: What autograd saves for the backward pass.
        predicted: Seconds of each part by what it waits for; None for a model that does not run on shapes alone.
        reason: Why nothing was measured; None if it was.
    """

    method: str
    rows: int
    tokens: int
    task: str
    execution: str
    rounds: list[float]
    parts: dict[str, float] | None
    joules: float | None
    peak_mb: float | None
    saved_mb: float | None
    predicted: Predicted | None
    reason: str | None


@dataclass(frozen=True)
class Regimes:
    """What regimes.json holds.

    Attributes:
        steps: One row per size and execution. Columns beside those: `tokens_per_step`; `full_ms`, `lora_ms`; `time`,
            `time_low`, `time_high`, the ratio LoRA / full over the rounds with its 95 % interval; `energy`, the same
            ratio; `predicted_full_ms`, `predicted_lora_ms`, `predicted`; `waits_for` and `waiting`, what LoRA's step
            waits for most, and for which share of its predicted time; `reason`, why it was not measured.
        tasks: One row per task and execution, with the size of full fine-tuning's mean batch: `full_seconds`,
            `lora_seconds`, `full_joules`, `lora_joules` of an epoch, and `time`, `energy`: how many times as many
            epochs LoRA may take before it costs more.
        device: Its model.
        precision: That of training.
    """

    steps: pd.DataFrame
    tasks: pd.DataFrame
    device: str
    precision: str


def read_regimes(file: Path, references: References) -> Regimes:
    """Read regimes.json. Raise ValueError if it lacks one of the references."""
    content = unseal(read_json(file), file)
    rows = pd.DataFrame(content["rows"])
    both = references.full, references.adapter
    if missing := sorted({str(method) for method in both} - set(rows["method"])):
        raise ValueError(f"{file} has no steps of {', '.join(missing)}; delete it and run again")
    full, lora = (rows[rows["method"] == method].set_index(SIZE) for method in both)
    steps = pd.DataFrame([_compare(full.loc[key], lora.loc[key], key) for key in full.index])
    where = content["provenance"]
    tasks = pd.DataFrame(
        [_epochs(task, batches, full, lora, both, execution)
         for task, batches in content["tasks"].items() for execution in dict.fromkeys(rows["execution"])]
    )  # fmt: skip
    return Regimes(steps, tasks, where["device_model"], where["precision"])


def _compare(full: pd.Series, lora: pd.Series, key: tuple[Any, ...]) -> dict[str, Any]:
    """One size: the ratio of both methods, paired by round."""
    row = dict(zip(SIZE, key, strict=True)) | {"tokens_per_step": key[1] * key[2], "reason": full["reason"]}
    row |= {"full_ms": _milliseconds(full), "lora_ms": _milliseconds(lora), "energy": _ratio(full, lora, "joules")}
    logs = [math.log(b / a) for a, b in zip(full["rounds"], lora["rounds"], strict=True)]
    interval = t_interval(logs)
    row["time"] = math.exp(sum(logs) / len(logs)) if logs else math.nan
    row["time_low"], row["time_high"] = (
        (math.exp(interval.low), math.exp(interval.high)) if interval else (math.nan, math.nan)
    )
    if full["predicted"] and lora["predicted"]:
        waited = waiting(lora["predicted"])
        row |= {
            "predicted_full_ms": 1e3 * total_seconds(full["predicted"]),
            "predicted_lora_ms": 1e3 * total_seconds(lora["predicted"]),
        }
        row |= {"predicted": row["predicted_lora_ms"] / row["predicted_full_ms"]}
        row |= {"waits_for": next(iter(waited)), "waiting": next(iter(waited.values()))}
    return row


def total_seconds(predicted: Predicted) -> float:
    """Return the predicted seconds of a step, from those of its parts."""
    return sum(seconds for part in predicted.values() for seconds in part.values())


def waiting(predicted: Predicted) -> dict[str, float]:
    """Return for which share of a step's predicted time its operations wait for what, the largest first."""
    total, waited = total_seconds(predicted), dict.fromkeys(predicted["forward"], 0.0)
    for part in predicted.values():
        for bound, seconds in part.items():
            waited[bound] += seconds / total
    return dict(sorted(waited.items(), key=lambda item: -item[1]))


def _epochs(
    task: str,
    batches: Mapping[str, Any],
    full: pd.DataFrame,
    lora: pd.DataFrame,
    methods: tuple[str | None, str | None],
    execution: str,
) -> dict[str, Any]:
    """An epoch of a task by both methods, each with its own batches."""
    size = batches["sizes"][methods[0]]
    row: dict[str, Any] = {"task": task, "execution": execution, "rows": size["rows"], "tokens": size["tokens"]}
    for name, steps, method in (("full", full, methods[0]), ("lora", lora, methods[1])):
        size = batches["sizes"][method]
        step = steps.loc[pd.MultiIndex.from_tuples([(task, size["rows"], size["tokens"], execution)])].iloc[0]
        count = batches["steps"][method]
        row[f"{name}_seconds"] = count * _milliseconds(step) / 1e3
        row[f"{name}_joules"] = math.nan if step["joules"] is None else count * float(step["joules"])
    return row | {
        "time": row["full_seconds"] / row["lora_seconds"],
        "energy": row["full_joules"] / row["lora_joules"],
    }


def _milliseconds(row: pd.Series) -> float:
    return 1e3 * median(row["rounds"]) if row["rounds"] else math.nan


def _ratio(full: pd.Series, lora: pd.Series, column: str) -> float:
    values = full[column], lora[column]
    return math.nan if any(pd.isna(value) for value in values) else float(lora[column] / full[column])
