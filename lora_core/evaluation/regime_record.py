"""regimes.json: steps of full fine-tuning and of LoRA, measured and predicted, and what follows for tasks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import pandas as pd

from lora_core.evaluation.break_even import QUANTITIES, Quantity, break_even
from lora_core.evaluation.references import References
from lora_core.evaluation.run_record import device_of
from lora_core.provenance import ABSENT, Provenance
from lora_core.records import read_json
from lora_core.sealed import unseal
from lora_core.stats import t_interval
from lora_core.typed_records import fill, name_damaged_file

SHAPE = ["rows", "tokens", "rows_at_once"]
SIZE = ["task", *SHAPE, "execution"]  # what identifies a step, besides the method
BOUNDS = ("launches", "bytes", "arithmetic", "random numbers")  # what an operation may wait for
TOLERANCE = 0.2  # of the measured time: a prediction within it counts as right
Predicted = dict[str, dict[str, float]]  # seconds of each part by what its operations wait for


@dataclass(frozen=True)
class Size:
    """The rows and tokens of a step.

    Attributes:
        rows_at_once: Those of a micro-batch; `rows` for a batch that is computed as a whole.
        task: The task of the study whose mean batch it is; empty for the grid.
    """

    rows: int
    tokens: int
    rows_at_once: int
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
        rows_at_once: Those of a micro-batch; `rows` for a batch that is computed as a whole.
        task: The task whose mean batch this is; empty for the grid.
        execution: "eager", or "graphs" for CUDA graphs.
        rounds: Seconds of a step in each round, next to the other methods' in the same round; empty if not measured.
        parts: Seconds of the forward pass, the backward pass and the update; None where they were not timed apart.
        joules: Of a step; None without a meter that counts energy.
        peak_mb: Of the allocator, without what the other method holds; None on a CPU.
        saved_mb: What autograd saves for the backward pass.
        predicted: Seconds of each part by what it waits for; None for a model that does not run on shapes alone.
        reason: Why nothing was measured; None if it was.
    """

    method: str
    rows: int
    tokens: int
    rows_at_once: int
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
            waits for most, and for which share of its predicted time; the shares of all bounds by their names;
            `reason`, why it was not measured, empty if it was.
        tasks: One row per task and execution, with the size of full fine-tuning's mean batch: `full_seconds`,
            `lora_seconds`, `full_joules`, `lora_joules` of an epoch, and `time`, `energy`: how many times as many
            epochs LoRA may take before it costs more.
        device: Its model.
        precision: That of training.
        measured_on: The device as records of runs name it, with its threads or libraries.
        lower_precision: One in which the device is faster; None if it has none, or the study is in one already.
        execution: That of the study's runs; steps were measured in every execution that the device has.
        methods: The steps of each method apart: one row per size, execution and method, in the order of the record.
            Columns beside those: `ms`, `predicted_ms`; `forward_ms`, `backward_ms`, `update_ms`; `joules`, `saved_mb`,
            `peak_mb`; of the mean batch of a task, `epoch_seconds` and `epoch_joules`; `reason`, empty for
            what was measured.
    """

    steps: pd.DataFrame
    tasks: pd.DataFrame
    device: str
    precision: str
    measured_on: str = ""
    execution: str = "eager"
    methods: pd.DataFrame = field(default_factory=pd.DataFrame)
    lower_precision: str | None = None

    def well_predicted(self, tolerance: float = TOLERANCE) -> tuple[int, int]:
        """Return how many steps were predicted within a share of what was measured, and of how many."""
        known = self.methods.dropna(subset=["ms", "predicted_ms"])
        return int(((known["predicted_ms"] / known["ms"] - 1).abs() <= tolerance).sum()), len(known)

    def break_evens(self, quantity: Quantity) -> dict[str, float]:
        """Return the break-even of each task whose steps were measured, executed as those of runs if they could be."""
        known = self.tasks.dropna(subset=[quantity])
        preferred = known.sort_values("execution", key=lambda names: names == self.execution, kind="stable")
        return {str(row["task"]): float(row[quantity]) for _, row in preferred.iterrows()}  # the last of a task counts


def read_regimes(file: Path, references: References) -> Regimes:
    """Read regimes.json. Raise ValueError that names the file if it is damaged or lacks one of the references."""
    with name_damaged_file(file):
        return _read(unseal(read_json(file), file), file, references)


def _read(content: Mapping[str, Any], file: Path, references: References) -> Regimes:
    # Earlier records had no micro-batches. A column of texts and None would have NaN, which is no text.
    records = [{"rows_at_once": row["rows"]} | row | {"reason": row["reason"] or ""} for row in content["rows"]]
    rows = pd.DataFrame(records)
    both = references.full or "", references.adapter or ""
    if missing := sorted(set(both) - set(rows["method"])):
        raise ValueError(f"{file} has no steps of {', '.join(missing)}; delete it and run again")
    full, lora = (rows[rows["method"] == method].set_index(SIZE) for method in both)
    steps = pd.DataFrame([_compare(full.loc[key], lora.loc[key], key) for key in full.index])
    where = fill(Provenance, ABSENT | content["provenance"])
    tasks = pd.DataFrame(
        [_epochs(task, batches, full, lora, both, execution)
         for task, batches in content["tasks"].items() for execution in dict.fromkeys(rows["execution"])]
    )  # fmt: skip
    of_methods = pd.DataFrame([_step(row, content["tasks"]) for row in records if row["method"] in both])
    return Regimes(
        steps, tasks, where.device_model, str(where.precision), device_of(where), content["execution"], of_methods,
        content.get("lower_precision"),
    )  # fmt: skip


def _step(row: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A step of one method; where it is the mean batch of a task, with what follows for an epoch."""
    seconds, joules = mean_seconds(row), math.nan if row["joules"] is None else row["joules"]
    batches, method = tasks.get(row["task"], {"sizes": {}}), row["method"]
    is_mean_batch = method in batches["sizes"] and _size(batches, method) == tuple(row[name] for name in SHAPE)
    count = batches["steps"][method] if is_mean_batch else math.nan
    return {
        **{name: row[name] for name in (*SIZE, "method", "saved_mb", "peak_mb", "reason")},
        **{f"{part}_ms": 1e3 * value for part, value in (row["parts"] or {}).items()},
        "ms": 1e3 * seconds,
        "predicted_ms": 1e3 * total_seconds(row["predicted"]) if row["predicted"] else math.nan,
        "joules": joules,
        "epoch_seconds": count * seconds,
        "epoch_joules": count * joules,
    }


def _size(batches: Mapping[str, Any], method: str) -> tuple[int, int, int]:
    """The mean batch of a task as a method trains it, as in `SHAPE`."""
    size = batches["sizes"][method]
    return size["rows"], size["tokens"], size.get("rows_at_once", size["rows"])


def mean_seconds(row: Mapping[str, Any] | pd.Series) -> float:
    """Return the seconds of a step; nan if it was not measured.

    They are the geometric mean over rounds, so that the quotient of two methods is the mean of their ratios.
    """
    return geometric_mean(row["rounds"]) if row["rounds"] else math.nan


def _compare(full: pd.Series, lora: pd.Series, key: tuple[Any, ...]) -> dict[str, Any]:
    """One size: the ratio of both methods, paired by round."""
    row = dict(zip(SIZE, key, strict=True)) | {"tokens_per_step": key[1] * key[2], "reason": full["reason"]}
    row |= {"full_ms": 1e3 * mean_seconds(full), "lora_ms": 1e3 * mean_seconds(lora)}
    row["energy"] = _ratio(full, lora, "joules")
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
        row |= waited | {"waits_for": next(iter(waited)), "waiting": next(iter(waited.values()))}
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
    methods: tuple[str, str],
    execution: str,
) -> dict[str, Any]:
    """An epoch of a task by both methods, each with its own batches."""
    shape = dict(zip(SHAPE, _size(batches, methods[0]), strict=True))
    row: dict[str, Any] = {"task": task, "execution": execution, **shape}
    for name, steps, method in (("full", full, methods[0]), ("lora", lora, methods[1])):
        step = steps.loc[pd.MultiIndex.from_tuples([(task, *_size(batches, method), execution)])].iloc[0]
        count = batches["steps"][method]
        row[f"{name}_seconds"] = count * mean_seconds(step)
        row[f"{name}_joules"] = math.nan if step["joules"] is None else count * float(step["joules"])
    units = dict(zip(QUANTITIES, ("seconds", "joules"), strict=True))
    return row | {name: break_even(row[f"full_{unit}"], row[f"lora_{unit}"]) for name, unit in units.items()}


def _ratio(full: pd.Series, lora: pd.Series, column: str) -> float:
    values = full[column], lora[column]
    return math.nan if any(pd.isna(value) for value in values) else float(lora[column] / full[column])
