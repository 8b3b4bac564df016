"""Which regime a training step is in: steps of full fine-tuning and of LoRA, timed side by side over a grid of sizes.

Next to each measurement stands what the model of a step predicts (`lora_core.evaluation.step_model`), so that it is
known what a step waits for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch
from torch import nn

from lora_core import precision, provenance
from lora_core.data import batches as data
from lora_core.evaluation.regime_record import Predicted, RegimeRow, Size, TaskBatches, total_seconds
from lora_core.evaluation.step_model import LaunchCosts, StepCount, count_step
from lora_core.evaluation.step_timing import ReadyStep, Timing, execution_of_runs, launch_costs, place, time_steps
from lora_core.intact import check_model
from lora_core.measuring.device_constants import DeviceConstants, measure_constants
from lora_core.measuring.exclusive import ExclusiveDevice, exclusive_device
from lora_core.measuring.predicted_memory import predicted_memory_mb
from lora_core.methods import registry
from lora_core.models import model as models
from lora_core.models.dropout import set_probability
from lora_core.records import write_json
from lora_core.sealed import seal
from lora_core.training.progress import Progress
from lora_core.training.run import apply_speedups, build_model
from lora_core.training.steps import forward

if TYPE_CHECKING:
    from lora_core.training.spec import RunSpec

# Rows and tokens of a step, without padding: from 64 tokens a step to 16,384.
GRID = ((4, 16), (16, 16), (16, 32), (16, 64), (16, 128), (32, 128), (32, 256), (32, 512))
ROUNDS = 3
WARM_UP_AND_PARTS = 3  # steps of each method before the rounds
MEMORY_SHARE = 0.8  # of the free memory that a step may need by its prediction
OUTPUTS = 2


@dataclass(frozen=True)
class RegimesPlan:
    """What is measured: the run of each method and task, and for how many seconds at most."""

    specs: Mapping[str, Mapping[str, RunSpec]]  # by method and task
    seconds: float
    threads: int

    @property
    def spec(self) -> RunSpec:
        """A run that stands for all: they share device, precision and measurement."""
        return next(iter(next(iter(self.specs.values())).values()))


def measure_regimes(
    model: Path, model_record: Path | None, train_data: Mapping[str, Path], plan: RegimesPlan, out: Path
) -> None:
    """Write regimes.json: constants of the device, the batches of each task, and a row for each method and size.

    Sizes that do not fit into the time or the memory that is left are predicted alone, and say so. Raise ValueError if
    the device is not available or lacks the precision, or the model is damaged.
    """
    check_model(model, model_record)
    torch.set_num_threads(plan.threads)
    spec = plan.spec
    precision.allow_tf32(spec.precision == "tf32")
    with exclusive_device(spec.device, spec.measure.meter) as held:
        precision.check_device(spec.precision, held.device)
        started = provenance.collect(held.device, plan.threads, spec.precision)
        constants = measure_constants(held.device, spec.precision)
        launches = launch_costs(spec, held.device)
        regimes = _Regimes(model, plan, held, constants, launches)
        held.meter.settle()
        tasks = {task: regimes.batches(task, data.load(file).lengths) for task, file in train_data.items()}
        sizes = [*dict.fromkeys(size for one in tasks.values() for size in one.sizes.values()), *_grid()]
        rows = [asdict(row) for size in sizes for row in regimes.measure(size)]
    record = {
        "model": spec.base_model,
        "execution": execution_of_runs(spec, held.device),
        "constants": asdict(constants) | {"launches": {name: asdict(costs) for name, costs in launches.items()}},
        "tasks": {task: asdict(one) for task, one in tasks.items()},
        "rows": rows,
        "provenance": asdict(replace(started, driver=held.meter.details.get("driver"), shared=held.meter.shared)),
    }
    held.meter.close()
    write_json(out, seal(record))


def _grid() -> list[Size]:
    return [Size(*size) for size in GRID]


class _Regimes:
    """Measures sizes until the time is over; models are loaded once."""

    def __init__(
        self,
        folder: Path,
        plan: RegimesPlan,
        held: ExclusiveDevice,
        constants: DeviceConstants,
        launches: Mapping[str, LaunchCosts],
    ) -> None:
        self._held, self._constants, self._launches = held, constants, launches
        self._specs = {method: next(iter(specs.values())) for method, specs in plan.specs.items()}
        self._by_task = plan.specs
        self._shapes = {method: without_weights(spec, folder, held.device) for method, spec in self._specs.items()}
        self._models = {method: _load(folder, spec, held.device) for method, spec in self._specs.items()}
        self._deadline = time.monotonic() + plan.seconds
        self._slowness = 1.0  # of measured steps relative to their prediction
        self._progress = Progress("regimes")

    def batches(self, task: str, lengths: np.ndarray) -> TaskBatches:
        """Return the mean batch of a task and the steps of an epoch, for each method; a micro-batch is a step."""
        sizes, steps = {}, {}
        for method, specs in self._by_task.items():
            spec = specs[task]
            size = spec.hyperparameters.micro_batch_size or spec.hyperparameters.batch_size
            rows = min(size, len(lengths))
            order = data.order(lengths, size, spec.batching, seed=0)
            padded = [int(lengths[batch].max()) for batch in order]
            sizes[method] = Size(rows, round(float(np.mean(padded))), task)
            steps[method] = len(order)
        return TaskBatches(sizes, steps)

    def measure(self, size: Size) -> Iterator[RegimeRow]:
        """Yield the rows of a size: every method and execution, timed in turn."""
        batch = (size.rows, size.tokens)
        self._progress.update(f"{size.rows} × {size.tokens} tokens")
        counts = {method: self._count(method, batch) for method in self._models}
        for execution in self._launches:
            predicted = {method: self._predict(count, execution) for method, count in counts.items()}
            reason, timings = self._why_not(batch, predicted), dict.fromkeys(self._models, Timing())
            if reason is None:
                reason, timings = self._time(batch, execution)
            self._learn(timings, predicted)
            for method, timing in timings.items():
                yield RegimeRow(
                    method, size.rows, size.tokens, size.task, execution, **vars(timing),
                    predicted=predicted[method], reason=reason,
                )  # fmt: skip

    def _time(self, batch: tuple[int, int], execution: str) -> tuple[str | None, dict[str, Timing]]:
        """Time the steps of a size; say why there are no times if they are not executed as they should."""
        ready = {
            method: ReadyStep(self._specs[method], model, batch, execution) for method, model in self._models.items()
        }
        if execution == "graphs" and not all(step.is_captured for step in ready.values()):
            return "a step of this model cannot be captured as a CUDA graph", dict.fromkeys(ready, Timing())
        return None, time_steps(ready, ROUNDS, self._held.meter, execution)

    def _count(self, method: str, batch: tuple[int, int]) -> StepCount | None:
        spec = self._specs[method]
        return count_step(
            self._shapes[method], batch, self._held.device.type, spec.precision, spec.hyperparameters.optimizer
        )

    def _predict(self, count: StepCount | None, execution: str) -> Predicted | None:
        if count is None:
            return None
        return count.predict(self._launches[execution], self._constants)

    def _why_not(self, batch: tuple[int, int], predicted: Mapping[str, Predicted | None]) -> str | None:
        """Why a size is not measured: the model, the memory or the time does not allow it."""
        limits = {method: models.max_input_length(model) for method, model in self._models.items()}
        if any(limit is not None and batch[1] > limit for limit in limits.values()):
            return "longer than the model's longest input"
        seconds = self._slowness * sum(map(_seconds, predicted.values())) * (WARM_UP_AND_PARTS + ROUNDS)
        if seconds > (left := max(0.0, self._deadline - time.monotonic())):
            return f"takes about {seconds:.0f} s, and {left:.0f} s are left"
        needed = sum(self._memory_mb(method, batch) for method in self._models)
        if needed > MEMORY_SHARE * (free := _free_mb(self._held.device)):
            return f"needs about {needed:,.0f} MB, and {free:,.0f} MB are free"
        return None

    def _memory_mb(self, method: str, batch: tuple[int, int]) -> float:
        spec = self._specs[method]
        parts = predicted_memory_mb(
            self._shapes[method], batch, self._held.device.type,
            lambda model, inputs: forward(model, dict(inputs), spec.precision), spec.hyperparameters.optimizer,
        )  # fmt: skip
        return sum(parts.values()) if parts else 0.0

    def _learn(self, timings: Mapping[str, Timing], predicted: Mapping[str, Predicted | None]) -> None:
        """Remember how much slower than predicted the last measured steps were."""
        measured = sum(median(timing.rounds) for timing in timings.values() if timing.rounds)
        if measured and (expected := sum(map(_seconds, predicted.values()))):
            self._slowness = max(1.0, measured / expected)


def without_weights(spec: RunSpec, folder: Path, device: torch.device) -> nn.Module:
    """Return the shapes of a method's model as it is trained on the device, from a prepared model."""
    hyperparameters = spec.hyperparameters
    model = registry.build_without_weights(folder, OUTPUTS, spec.settings, hyperparameters.gradient_checkpointing)
    if hyperparameters.dropout is not None:
        set_probability(model, hyperparameters.dropout)
    apply_speedups(model, spec, device)
    return model


def _load(folder: Path, spec: RunSpec, device: torch.device) -> nn.Module:
    """A method's model on the device, as it is trained, with a head of two classes."""
    return place(build_model(spec, folder, ["0", "1"], np.zeros(1, np.int64)), spec, device)


def _seconds(predicted: Predicted | None) -> float:
    """The predicted seconds of a step; 0 for a model whose steps cannot be predicted."""
    return total_seconds(predicted) if predicted else 0.0


def _free_mb(device: torch.device) -> float:
    """The memory in MB that is free for a step."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 1e6
    return psutil.virtual_memory().available / 1e6
