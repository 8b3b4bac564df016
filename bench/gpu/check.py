"""`--check`: does a GPU compute what it should, and are its meters right? Speed does not matter here."""

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import torch
from safetensors.numpy import load_file

from bench.gpu.check_workflow import Skipped, run_workflow
from bench.gpu.context import FIRST_WORD, METHODS, PRECISIONS, GpuContext, write_task
from lora_core.data.batches import Examples
from lora_core.data.datasets import TokenizedFiles
from lora_core.evaluation.run_record import RunRecord
from lora_core.training import steps
from lora_core.training.spec import RunSpec
from lora_core.training.training_step import StaticStep, TrainingStep

# By how much the loss of a step may differ between graphs and eager: sums in another order change the last digits.
TOLERANCES = {"fp32": 1e-5, "tf32": 1e-4}
TOLERANCE_ELSEWHERE = 3e-3
EXAMPLES, EPOCHS = 128, 5
# Training must not be chaotic, or differences in the last digit would grow.
LEARNING_RATES = {"lora": 5e-4, "full": 2e-5}
DROPOUT_TOKENS, DROPOUT_BATCH, DROPOUT_STEPS = 24, 8, 240
# By how many standard errors two samples may differ: by chance one comparison in 16,000 fails.
STANDARD_ERRORS = 4.0
LEAST_WATTS = 20.0  # of a GPU at work
Graphs = Literal["auto", "off"]


@dataclass(frozen=True)
class Check:
    """Whether something is right; `passed` is None if it could not be checked."""

    name: str
    passed: bool | None
    details: str

    @property
    def result(self) -> str:
        """The result in one word."""
        return {True: "passed", False: "FAILED", None: "skipped"}[self.passed]


def run_checks(context: GpuContext) -> Iterator[Check]:
    """Yield the result of each check when it is done."""
    for precision, method in product(dict.fromkeys(("fp32", PRECISIONS[0])), METHODS):
        name = f"graphs compute what eager steps compute ({method}, {precision})"
        yield check(name, partial(compare_losses, context, method, precision))
        if context.quick:
            break
    yield check("dropout in graphs draws new numbers, distributed as in eager steps", partial(compare_dropout, context))
    yield check("no step and no evaluation makes the host wait", partial(train_without_waiting, context))
    yield check("NVML reads energy, power and memory", partial(read_meter, context))
    yield check("the workflow trains, merges and times a tiny task", partial(run_workflow, context))


def check(name: str, details: Callable[[], str]) -> Check:
    """Call what returns details if all is right, and otherwise raises `Skipped` or any other error."""
    try:
        return Check(name, True, details())
    except Skipped as reason:
        return Check(name, None, str(reason))
    except Exception as error:  # each kind is a failed check, and the other checks follow
        return Check(name, False, one_line(error))


def one_line(error: Exception) -> str:
    """Return an error of any kind as one line."""
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:500]


def compare_losses(context: GpuContext, method: str, precision: str) -> str:
    """Compare the losses of all steps without dropout. Raise ValueError if they differ."""
    files = context.examples("rte", "check", context.lengths("rte")[:EXAMPLES])
    epochs = 1 if context.quick else EPOCHS
    spec = _change(context.gpu_spec("rte", method, precision, epochs), dropout=0.0, batch_size=16)
    spec = _change(spec, learning_rate=LEARNING_RATES[method])
    graphs, eager = (train_losses(context, spec, files, kind) for kind in ("auto", "off"))
    difference = largest_difference(graphs, eager, precision)
    _require_graphs(context)
    return f"largest difference of {len(graphs)} losses: {difference:.1e}"


def largest_difference(losses: np.ndarray, expected: np.ndarray, precision: str) -> float:
    """Return the largest difference of losses. Raise ValueError if it is above the precision's tolerance."""
    difference = float(np.abs(losses - expected).max())
    tolerance = TOLERANCES.get(precision, TOLERANCE_ELSEWHERE)
    if not difference <= tolerance:
        raise ValueError(f"the losses differ by up to {difference:.1e}, more than {tolerance:.0e}")
    return difference


def compare_dropout(context: GpuContext) -> str:
    """Compare losses that only dropout changes: one batch again and again, at a learning rate of almost 0.

    Raise ValueError if they are not of one distribution.
    """
    files = TokenizedFiles.in_folder(context.folder / "data" / "one-example")
    steps_of_run = 6 if context.quick else DROPOUT_STEPS
    _write_one_example(steps_of_run * DROPOUT_BATCH, files)
    spec = context.gpu_spec("rte", "lora", "fp32")
    spec = _change(spec, dropout=0.1, batch_size=DROPOUT_BATCH, learning_rate=1e-12)
    graphs, eager = (train_losses(context, spec, files, kind) for kind in ("auto", "off"))
    errors = require_one_distribution(graphs, eager)
    _require_graphs(context)
    return f"{len(graphs)} losses each, means apart by {errors:.1f} standard errors"


def require_one_distribution(graphs: np.ndarray, eager: np.ndarray) -> float:
    """Return by how many standard errors the means differ.

    Raise ValueError if the first sample repeats its values, or if means or spreads differ by too much.
    """
    steps = len(graphs)
    if len(np.unique(graphs)) < steps / 2:
        raise ValueError(f"{steps} steps in graphs have only {len(np.unique(graphs))} different losses")
    deviations = graphs.std(ddof=1), eager.std(ddof=1)
    errors = abs(graphs.mean() - eager.mean()) / math.hypot(*deviations) * math.sqrt(steps)
    # The logarithm of a standard deviation has the standard error 1 / sqrt(2n), that of two has 1 / sqrt(n).
    spread_errors = abs(math.log(deviations[0] / deviations[1])) * math.sqrt(steps)
    if max(errors, spread_errors) > STANDARD_ERRORS:
        raise ValueError(
            f"means differ by {errors:.1f} standard errors, standard deviations by {spread_errors:.1f}; "
            f"at most {STANDARD_ERRORS:.0f} are due to chance"
        )
    return float(errors)


def train_without_waiting(context: GpuContext) -> str:
    """Train and evaluate, with graphs and without, while whatever makes the host wait raises an error."""
    _require_graphs(context)
    files = context.examples("rte", "check", context.lengths("rte")[:EXAMPLES])
    spec = _change(context.gpu_spec("rte", "lora", PRECISIONS[0], epochs=EPOCHS), batch_size=16)
    with no_host_waits() as calls:
        for kind in ("auto", "off"):
            train_losses(context, spec, files, kind)
    return f"{len(calls)} guarded calls"


@contextmanager
def no_host_waits() -> Iterator[list[str]]:
    """Let whatever makes the host wait in a step or in a forward pass raise RuntimeError; yield the guarded calls."""
    calls: list[str] = []

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            calls.append(function.__name__)
            before = torch.cuda.get_sync_debug_mode()
            torch.cuda.set_sync_debug_mode("error")
            try:
                return function(*arguments, **named)
            finally:
                torch.cuda.set_sync_debug_mode(before)

        return call

    with (
        patch.object(TrainingStep, "_train", guarded(TrainingStep._train)),
        patch.object(StaticStep, "__call__", guarded(StaticStep.__call__)),
        patch.object(steps, "forward", guarded(steps.forward)),
    ):
        yield calls


def read_meter(context: GpuContext) -> str:
    """Look at what NVML read in the eager run of the check of dropout, which takes some seconds."""
    _require_graphs(context)
    return describe_meter(RunRecord.read(_folder(context, "off") / "run.json"))


def describe_meter(record: RunRecord) -> str:
    """Return what the meter read. Raise ValueError if it is missing or impossible."""
    energy, memory = record.energy, record.memory
    if energy.meter != "nvml" or energy.simulated:
        raise ValueError(f"the meter was {energy.meter}{' (simulated)' if energy.simulated else ''}")
    if energy.train_joules is None:
        raise ValueError(f"no energy was read: {energy.reason}")
    watts, limit = energy.train_joules / record.train_seconds, energy.power_limit_watts or math.inf
    if not LEAST_WATTS < watts < 1.05 * limit:
        raise ValueError(f"{watts:.0f} W on average cannot be right for a GPU that trains (limit {limit:.0f} W)")
    if memory.peak_mb is None or memory.peak_mb < (memory.peak_allocated_mb or 0.0):
        raise ValueError(f"{memory.peak_mb} MB in use are less than the tensors' {memory.peak_allocated_mb} MB")
    return f"{watts:.0f} W of at most {limit:.0f}, by its {energy.source}; {memory.peak_mb:,.0f} MB in use"


def train_losses(context: GpuContext, spec: RunSpec, files: TokenizedFiles, graphs: Graphs) -> np.ndarray:
    """Train, and return the loss of every step. Raise ValueError if graphs were not used as asked."""
    out = _folder(context, graphs)
    shutil.rmtree(out, ignore_errors=True)
    record = context.train(replace(spec, cuda_graphs=graphs), files, out)
    expected = "graphs" if graphs == "auto" and context.device != "cpu" else "eager"
    if record.execution != expected:
        raise ValueError(f"steps were executed as {record.execution!r}, not {expected!r}; the log has the reason")
    return load_file(out / "predictions.safetensors")["step_losses"]


def _change(spec: RunSpec, **hyperparameters: Any) -> RunSpec:
    return replace(spec, hyperparameters=replace(spec.hyperparameters, **hyperparameters))


def _folder(context: GpuContext, graphs: Graphs) -> Path:
    return context.folder / f"check-{graphs}"


def _require_graphs(context: GpuContext) -> None:
    if context.device == "cpu":
        raise Skipped("needs a GPU")


def _write_one_example(examples: int, files: TokenizedFiles) -> None:
    """Write a task that has one example again and again."""
    tokens = np.arange(FIRST_WORD, FIRST_WORD + DROPOUT_TOKENS, dtype=np.int32)
    offsets = DROPOUT_TOKENS * np.arange(examples + 1)
    split = Examples(np.tile(tokens, examples), None, offsets, np.zeros(examples, np.int64))
    write_task("rte", (split, split), files)
