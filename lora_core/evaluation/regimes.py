"""Which regime a training step is in: steps of full fine-tuning and of LoRA, timed side by side over a grid of sizes.

Next to each measurement stands what the model of a step predicts (`lora_core.evaluation.step_model`), so that it is
known what a step waits for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lora_core import precision, provenance
from lora_core.data import batches as data
from lora_core.data.batches import Examples
from lora_core.evaluation.regime_record import Predicted, RegimeRow, Size, TaskBatches, total_seconds
from lora_core.evaluation.repeated_constants import Constants, ConstantsMeter, median_of
from lora_core.evaluation.step_limits import ROUNDS, Expected, StepLimits, alternating, free_memory_mb
from lora_core.evaluation.step_model import StepCount, count_divided_step
from lora_core.evaluation.step_timing import SETTLE_SECONDS, ReadyStep, Timing, execution_of_runs, time_steps
from lora_core.evaluation.task_batches import padded, task_batches
from lora_core.evaluation.timed_models import TimedModels
from lora_core.intact import check_model
from lora_core.measuring.counter_ticks import measure_tick
from lora_core.measuring.exclusive import ExclusiveDevice, exclusive_device
from lora_core.measuring.memory import parameter_memory_mb
from lora_core.measuring.predicted_memory import predicted_memory_mb
from lora_core.models.model import max_input_length
from lora_core.records import write_json
from lora_core.sealed import seal
from lora_core.training.progress import Progress
from lora_core.training.steps import forward

if TYPE_CHECKING:
    from lora_core.training.spec import RunSpec

# Rows and tokens of a step, without padding: from 64 tokens a step to 16,384.
GRID = ((4, 16), (16, 16), (16, 32), (16, 64), (16, 128), (32, 128), (32, 256), (32, 512))
# Why a size is never measured, however much time is left.
TOO_LONG = "longer than the model's longest input"
NOT_CAPTURED = "a step of this model cannot be captured as a CUDA graph"


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
        meter = ConstantsMeter(spec, held.device)
        regimes = _Regimes(TimedModels(model, plan.specs, held.device), held, meter, plan.seconds)
        held.meter.settle()
        tasks = {task: regimes.batches(task, data.load(file)) for task, file in train_data.items()}
        sizes = dict.fromkeys(size for one in tasks.values() for size in one.sizes.values())
        rows = [asdict(row) for row in regimes.measure([*sizes, *regimes.grid()])]
    record = {
        "model": spec.base_model,
        "execution": execution_of_runs(spec, held.device),
        "lower_precision": precision.lower(spec.precision, held.device),
        "constants": median_of(meter.measured).to_json(),
        "tasks": {task: asdict(one) for task, one in tasks.items()},
        "rows": rows,
        "provenance": asdict(replace(started, driver=held.meter.details.get("driver"), shared=held.meter.shared)),
    }
    held.meter.close()
    write_json(out, seal(record))


class _Regimes:
    """Measures sizes until the time is over."""

    def __init__(
        self,
        models: TimedModels,
        held: ExclusiveDevice,
        constants_meter: ConstantsMeter,
        seconds: float,
    ) -> None:
        self._models, self._held, self._constants_meter = models, held, constants_meter
        self._executions = list(constants_meter.measure().launches)
        self._beside: dict[tuple[Size, str], list[Constants]] = {}  # measured between the rounds of a step
        models.of("")  # before the time begins to run
        has_counter = self._counter() is not None
        tick = measure_tick(self._counter) if has_counter else None
        self._limits = StepLimits(seconds, partial(free_memory_mb, held.device), has_counter, tick)
        self._counts: dict[tuple[Size, str], StepCount | None] = {}
        self._saved_mb: dict[tuple[Size, str], float | None] = {}
        self._progress = Progress("regimes")

    def batches(self, task: str, examples: Examples) -> TaskBatches:
        """Return the mean batch of a task and the steps of an epoch, for each method."""
        runs = {method: (self._models.spec(method, task), model) for method, model in self._models.of(task).items()}
        return task_batches(task, runs, examples)

    def grid(self) -> list[Size]:
        """Return the sizes of the grid, as the device pads them."""
        model = next(iter(self._models.of("").values()))
        return [padded(Size(rows, tokens, rows), model) for rows, tokens in GRID]

    def measure(self, sizes: Sequence[Size]) -> list[RegimeRow]:
        """Return the rows of sizes in their order: every method and execution, timed in turn.

        Tasks are measured first, then the grid, small and large sizes in turn. What takes more than its share of the
        time that is left is measured at the end, if it still fits then.
        """
        tasks, grid = ([size for size in sizes if bool(size.task) == of_task] for of_task in (True, False))
        planned = [(size, execution) for size in [*tasks, *alternating(grid)] for execution in self._executions]
        rows: dict[tuple[Size, str], list[RegimeRow]] = {}
        late: list[tuple[Size, str]] = []
        for number, (size, execution) in enumerate(planned):
            waiting = len(planned) - number + len(late)
            rows[size, execution] = self._measure(size, execution, waiting, 1.0 if size.task else 1 / waiting)
            if not size.task and rows[size, execution][0].reason not in (None, TOO_LONG, NOT_CAPTURED):
                late.append((size, execution))
        late.sort(key=lambda step: step[0].rows * step[0].tokens)
        for number, (size, execution) in enumerate(late):
            rows[size, execution] = self._measure(size, execution, len(late) - number)
        return [
            replace(row, predicted=self._predict(size, row.method, execution))  # by all constants that are known now
            for size in sizes
            for execution in self._executions
            for row in rows[size, execution]
        ]

    def _measure(self, size: Size, execution: str, waiting: int, share: float = 1.0) -> list[RegimeRow]:
        """Return the rows of a size in one execution, measured if it fits into a share of the time that is left."""
        self._progress.update(f"{size.rows} × {size.tokens} tokens")
        methods = self._models.of(size.task)
        predicted = {method: self._predict(size, method, execution) for method in methods}
        expected = {method: self._expected(size, method, predicted[method]) for method in methods}
        beside_seconds = (ROUNDS + 1) * self._constants_meter.seconds + ROUNDS * SETTLE_SECONDS
        block = self._limits.block_seconds(waiting, len(methods), beside_seconds)
        timings = dict.fromkeys(methods, Timing())
        reason = self._too_long(size) or self._limits.why_not(expected, execution, block, share, beside_seconds)
        if reason is None:
            reason, timings = self._time(size, execution, block)
        self._limits.learn(expected, execution, timings)
        return [
            RegimeRow(
                method, size.rows, size.tokens, size.rows_at_once, size.task, execution, **vars(timing),
                predicted=predicted[method], reason=reason,
            )
            for method, timing in timings.items()
        ]  # fmt: skip

    def _time(self, size: Size, execution: str, block: float) -> tuple[str | None, dict[str, Timing]]:
        """Time the steps of a size; say why there are no times if they are not executed as they should."""
        methods = self._models.of(size.task)
        specs = {method: self._models.spec_of_step(method, size) for method in methods}
        batch = (size.rows, size.tokens)
        ready = {method: ReadyStep(specs[method], model, batch, execution) for method, model in methods.items()}
        if execution == "graphs" and not all(step.is_captured for step in ready.values()):
            return NOT_CAPTURED, dict.fromkeys(ready, Timing())
        beside = self._beside[size, execution] = [self._constants_meter.measure()]

        def measure_again() -> None:
            beside.append(self._constants_meter.measure())

        return None, time_steps(ready, ROUNDS, self._held.meter, execution, block, measure_again)

    def _counter(self) -> float | None:
        return self._held.meter.read_edge().counter_millijoules

    def _too_long(self, size: Size) -> str | None:
        limits = map(max_input_length, self._models.of(size.task).values())
        is_longer = any(limit is not None and size.tokens > limit for limit in limits)
        return TOO_LONG if is_longer else None

    def _predict(self, size: Size, method: str, execution: str) -> Predicted | None:
        key, spec = (size, method), self._models.spec(method, size.task)
        if key not in self._counts:
            self._counts[key] = count_divided_step(
                self._models.shapes(size.task)[method], (size.rows, size.tokens), size.rows_at_once,
                self._held.device.type, spec.precision, spec.hyperparameters.optimizer,
                spec.hyperparameters.max_grad_norm is not None,
            )  # fmt: skip
        count = self._counts[key]
        constants = median_of(self._beside.get((size, execution), self._constants_meter.measured))
        return None if count is None else count.predict(constants.launches[execution], constants.device)

    def _expected(self, size: Size, method: str, predicted: Predicted | None) -> Expected:
        """What is known of a step before it is measured."""
        key, spec = (size, method), self._models.spec(method, size.task)
        shapes, at_once = self._models.shapes(size.task)[method], (size.rows_at_once, size.tokens)
        if key not in self._saved_mb:
            parts = predicted_memory_mb(
                shapes, at_once, self._held.device.type,
                lambda model, inputs: forward(model, dict(inputs), spec.precision), spec.hyperparameters.optimizer,
            )  # fmt: skip
            self._saved_mb[key] = None if parts is None else parts["saved_for_backward_mb"]
        state = parameter_memory_mb(shapes, spec.hyperparameters.optimizer)
        seconds = None if predicted is None else total_seconds(predicted)
        return Expected(size.rows * size.tokens, math.prod(at_once), seconds, sum(state.values()), self._saved_mb[key])
