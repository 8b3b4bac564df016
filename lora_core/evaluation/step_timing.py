"""How long a training step takes on batches of one shape: methods in turn, by parts, with the energy of a step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from lora_core import device as devices
from lora_core.data.batches import Examples
from lora_core.evaluation import memory_scaling
from lora_core.evaluation.step_model import PARTS, LaunchCosts, count_step
from lora_core.methods import full
from lora_core.models import masks
from lora_core.precision import is_scaled
from lora_core.training.device_batches import DeviceExamples
from lora_core.training.run import apply_speedups
from lora_core.training.steps import compute_loss, forward, optimizer_step
from lora_core.training.training_step import create_step

if TYPE_CHECKING:
    from lora_core.measuring.meters import Meter
    from lora_core.training.spec import RunSpec

PLANNED_STEPS = 1 << 14  # for the learning rates, which are 0: weights stay, the arithmetic is the same
FIRST_TOKEN = 5  # after the special tokens
# The shape, batch and repetitions of a model so small that its steps are launches and nothing else.
TINY = memory_scaling.Shape("launches", 64, 2, 2, 100, 130)
TINY_BATCH, TINY_REPETITIONS = (2, 8), 9
SETTLE_SECONDS = 0.1  # of steps before each round


@dataclass(frozen=True)
class Timing:
    """What was measured of a step; `lora_core.evaluation.regimes.RegimeRow` says what the fields are."""

    rounds: list[float] = field(default_factory=list)
    parts: dict[str, float] | None = None
    joules: float | None = None
    peak_mb: float | None = None
    saved_mb: float | None = None


class ReadyStep:
    """A training step on random tokens of one shape, after it was done once; in the run's micro-batches, if it has any.

    Attributes:
        is_captured: Whether it is a CUDA graph.
    """

    def __init__(self, spec: RunSpec, model: nn.Module, batch: tuple[int, int], execution: str) -> None:
        graphs: Literal["auto", "off"] = "auto" if execution == "graphs" else "off"
        still = replace(spec.hyperparameters, learning_rate=0.0)
        self._spec = replace(spec, cuda_graphs=graphs, hyperparameters=still)
        others_mb = _allocated_mb(next(model.parameters()).device) - sum(p.nbytes for p in model.parameters()) / 1e6
        self._examples = _random_examples(model, batch)
        self._model, self._step = model.train(), create_step(self._spec, model, self._examples, PLANNED_STEPS)
        (self._batch,) = self._step.batches([np.arange(batch[0])])
        devices.reset_peak_memory(self._examples.device)
        if execution == "graphs":
            self._step.prepare(self._batch)
        self.is_captured = execution == "graphs" and self._step.can_capture
        _, saved = self._step.counted(self._batch)
        self.saved_mb = saved.mb
        peak_mb, _ = devices.peak_memory_mb(self._examples.device)
        peak_mb = self._step.peak_allocated_mb(peak_mb, [self._batch.shape])
        self.peak_mb = None if peak_mb is None else peak_mb - others_mb
        self.seconds = self.block(1)

    def block(self, steps: int) -> float:
        """Do some steps and return the seconds of one."""
        device = self._examples.device
        devices.synchronize(device)
        started = time.perf_counter()
        for _ in range(steps):
            self._step(self._batch)
        devices.synchronize(device)
        return (time.perf_counter() - started) / steps

    def parts(self) -> dict[str, float]:
        """Do one step and return the seconds of its parts; the device is waited for after each."""
        step, seconds = self._step, dict.fromkeys(PARTS, 0.0)
        clock = _Clock(self._examples.device)
        sizes = [size for size, _ in self._batch.parts]
        for rows, (_, tokens) in zip(self._batch.rows.split(sizes), self._batch.parts, strict=True):
            logits = forward(self._model, self._examples.inputs(rows, tokens), self._spec.precision)
            loss = compute_loss(logits, self._examples.labels[rows])
            seconds["forward"] += clock.lap()
            step.scaling.backward(loss)
            seconds["backward"] += clock.lap()
        max_norm = self._spec.hyperparameters.max_grad_norm
        optimizer_step(step.trained, step.optimizer, step.rates, max_norm, step.scaling)
        seconds["update"] = clock.lap()
        return seconds


def _allocated_mb(device: torch.device) -> float:
    """The memory of all tensors on a GPU, also those of other models; 0 on a CPU."""
    return torch.cuda.memory_allocated(device) / 1e6 if device.type == "cuda" else 0.0


class _Clock:
    """Seconds since the last lap, when the device has finished what was launched in it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        devices.synchronize(device)
        self._last = time.perf_counter()

    def lap(self) -> float:
        devices.synchronize(self._device)
        before, self._last = self._last, time.perf_counter()
        return self._last - before


def time_steps(
    ready: Mapping[str, ReadyStep],
    rounds: int,
    meter: Meter,
    execution: str,
    block_seconds: float,
    after_round: Callable[[], object],
) -> dict[str, Timing]:
    """Time a block of steps of every method in each round, in turn, and return what was measured by method.

    `after_round` is called after each round. What it does is followed by steps that do not count, for a counter of
    energy tells some of it late.
    """
    parts = {method: _median_parts(step) if execution == "eager" else None for method, step in ready.items()}
    repeats = {method: max(1, math.ceil(block_seconds / step.seconds)) for method, step in ready.items()}
    seconds: dict[str, list[float]] = {method: [] for method in ready}
    millijoules: dict[str, list[float | None]] = {method: [] for method in ready}
    for number in range(rounds):
        in_turn = list(ready)[:: 1 if number % 2 == 0 else -1]
        ready[in_turn[0]].block(max(1, round(SETTLE_SECONDS / ready[in_turn[0]].seconds)))
        for method in in_turn:
            before = meter.read_edge().counter_millijoules
            seconds[method].append(ready[method].block(repeats[method]))
            after = meter.read_edge().counter_millijoules
            known = before is not None and after is not None and after > before
            millijoules[method].append((after - before) / repeats[method] if known else None)  # type: ignore[operator]
        after_round()
    return {
        method: Timing(seconds[method], parts[method], _joules(millijoules[method]), step.peak_mb, step.saved_mb)
        for method, step in ready.items()
    }


def _joules(millijoules: list[float | None]) -> float | None:
    """The joules of a step; None if any round has none: its counter did not move."""
    known = [value for value in millijoules if value is not None]
    return sum(known) / len(known) / 1e3 if known and len(known) == len(millijoules) else None


def _median_parts(step: ReadyStep, repetitions: int = 2) -> dict[str, float]:
    measured = [step.parts() for _ in range(repetitions)]
    return {part: median(one[part] for one in measured) for part in PARTS}


def place(model: nn.Module, spec: RunSpec, device: torch.device) -> nn.Module:
    """Return a model on the device as a run trains it there."""
    masks.choose_form(model, device)
    model = model.to(device)
    apply_speedups(model, spec, device)
    return model


class LaunchTimer:
    """Times what launches cost by execution, from steps of a model whose arithmetic takes no time."""

    def __init__(self, spec: RunSpec, device: torch.device) -> None:
        whole = replace(spec.hyperparameters, micro_batch_size=None)
        tiny = replace(spec, settings=full.Settings(), hyperparameters=whole)
        model = place(memory_scaling.build(TINY, tiny.settings), tiny, device)
        clips = spec.hyperparameters.max_grad_norm is not None
        count = count_step(model, TINY_BATCH, device.type, spec.precision, clips=clips)
        assert count is not None  # RoBERTa runs on shapes alone
        self._launches = {part: len(getattr(count, part)) for part in PARTS}
        has_graphs = device.type == "cuda" and not is_scaled(spec.precision)
        executions = ("eager", "graphs") if has_graphs else ("eager",)
        self._steps = {execution: ReadyStep(tiny, model, TINY_BATCH, execution) for execution in executions}

    def costs(self) -> dict[str, LaunchCosts]:
        """Return what launches cost now."""
        parts = _median_parts(self._steps["eager"], TINY_REPETITIONS)
        costs = {"eager": LaunchCosts(**{part: parts[part] / self._launches[part] for part in PARTS})}
        if "graphs" in self._steps:
            seconds = self._steps["graphs"].block(TINY_REPETITIONS)
            costs["graphs"] = LaunchCosts.same(seconds / sum(self._launches.values()))
        return costs


def execution_of_runs(spec: RunSpec, device: torch.device) -> str:
    """Return how a run executes its steps on a device, as far as they can be captured."""
    graphs = device.type == "cuda" and spec.cuda_graphs == "auto" and not is_scaled(spec.precision)
    return "graphs" if graphs else "eager"


def _random_examples(model: nn.Module, batch: tuple[int, int]) -> DeviceExamples:
    """As many examples as the batch has rows, each of all its tokens."""
    rows, tokens = batch
    config: Any = model.config
    ids = np.random.default_rng(0).integers(FIRST_TOKEN, config.vocab_size, rows * tokens).astype(np.int32)
    labels = np.zeros(rows, np.float32 if config.num_labels == 1 else np.int64)
    return DeviceExamples(Examples(ids, None, np.arange(rows + 1) * tokens, labels), model)
