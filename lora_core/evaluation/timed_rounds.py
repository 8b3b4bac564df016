"""Timing of inference: warm-up, and rounds in which every variant makes one pass."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from lora_core import device as devices
from lora_core.evaluation.latency_summary import LOOKS, Variant, decided, look_after, summarize
from lora_core.records import LatencyRow
from lora_core.seeds import derive
from lora_core.training.device_batches import DeviceExamples, Inputs
from lora_core.training.progress import Progress
from lora_core.training.steps import forward

if TYPE_CHECKING:
    from lora_core.evaluation.latency import LatencyPlan
    from lora_core.precision import Precision

STEADY = 0.1  # warm-up ends when two consecutive passes differ by less than this share
MAX_WARMUP = 5  # passes


@dataclass(frozen=True)
class LoadedVariant:
    """A model on the device, and the validation set there as the model takes it, whole and in batches."""

    model: Any
    max_tokens: int | None
    examples: DeviceExamples
    batches: list[Inputs]


LoadedVariants = dict[Variant, LoadedVariant]


class TimedRounds:
    """Times one pass of every variant per round, in an order that is shuffled for each round."""

    def __init__(self, variants: LoadedVariants, plan: LatencyPlan, device: torch.device, progress: Progress) -> None:
        """Prepare to time loaded models by a plan."""
        self.variants = variants
        self.plan = plan
        self.device = device
        self.progress = progress
        self.shuffle = random.Random(derive(plan.seed, "latency"))

    def passes(self, after_round: Callable[[], object]) -> list[LatencyRow]:
        """Time passes over the validation set until the plan is fulfilled, calling `after_round` after each round."""
        batches = {key: variant.batches for key, variant in self.variants.items()}
        rows: list[LatencyRow] = []
        start = time.monotonic()
        for number in self._numbers(rows, start):
            rows += self._round(number, "pass", batches, self.plan.batch_size)
            after_round()
            spent = time.monotonic() - start
            self.progress.update(f"round {number}, {spent:.0f} of at most {self.plan.seconds:.0f} s")
        return rows

    def _numbers(self, rows: list[LatencyRow], start: float) -> Iterator[int]:
        """Yield round numbers until `rows`, to which the caller adds, fulfill the plan.

        When the time is over, whatever the verdicts, the rounds so far are the last look.
        """
        plan = self.plan
        against = None if plan.reference is None else (plan.reference, "plain")
        for number in range(1, (plan.passes << (LOOKS - 1)) + 1):
            yield number
            if look_after(number, plan.passes) and decided(summarize(rows, "pass", plan.margin, against)):
                return
            if number >= plan.passes and time.monotonic() - start >= plan.seconds:
                return

    def singles(self, examples: int) -> list[LatencyRow]:
        """Time some of the validation examples one by one, in one round per example."""
        rows: list[LatencyRow] = []
        chosen = self.shuffle.sample(range(examples), min(self.plan.single_examples, examples))
        for number, index in enumerate(chosen, 1):
            batches = {key: variant.examples.inputs_in([np.array([index])]) for key, variant in self.variants.items()}
            rows += self._round(number, "single", batches, batch_size=1)
        return rows

    def _round(
        self, number: int, mode: str, batches: Mapping[Variant, list[Inputs]], batch_size: int
    ) -> list[LatencyRow]:
        """Time one pass of every variant; the rows are in the order of the variants."""
        order = self.shuffle.sample(list(self.variants), len(self.variants))
        seconds = {
            key: _seconds(self.variants[key].model, batches[key], self.device, self.plan.precision) for key in order
        }
        examples = sum(len(inputs["input_ids"]) for inputs in batches[order[0]])
        return [
            LatencyRow(number, order.index(key) + 1, *key, mode, examples, batch_size, seconds[key])
            for key in self.variants
        ]


def warm_up(variant: LoadedVariant, device: torch.device, precision: Precision) -> int:
    """Run passes until two consecutive ones take the same time, and return how many there were."""
    before = _seconds(variant.model, variant.batches, device, precision)
    for passes in range(2, MAX_WARMUP + 1):
        now = _seconds(variant.model, variant.batches, device, precision)
        if abs(now / before - 1) < STEADY:
            return passes
        before = now
    return MAX_WARMUP


def _seconds(model: nn.Module, batches: list[Inputs], device: torch.device, precision: Precision) -> float:
    devices.synchronize(device)
    start = time.perf_counter()
    for inputs in batches:
        forward(model, inputs, precision)
    devices.synchronize(device)
    return time.perf_counter() - start
