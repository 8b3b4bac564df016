"""Which steps fit into the time and the memory that are left, by their predictions or by steps measured before."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import psutil
import torch

from lora_core.evaluation.regime_record import Size
from lora_core.measuring.counter_ticks import enough_seconds
from lora_core.measuring.device_constants import MEMORY_MB

if TYPE_CHECKING:
    from lora_core.evaluation.step_timing import Timing

ROUNDS = 3
WARM_UP_AND_PARTS = 4  # steps of each method before the rounds
MEMORY_SHARE = 0.8  # of the free memory that a step may need by its prediction
# A block of steps takes at least so long; with a counter of energy, up to the second value if there is time.
BLOCK_SECONDS, COUNTER_BLOCK_SECONDS = 0.2, 1.0
# The share of its time that a size spends on blocks; the rest is for capturing, warming up and predicting.
SHARE_OF_BLOCKS = 0.5


@dataclass(frozen=True)
class Expected:
    """What is known of a method's step before it is measured.

    Attributes:
        tokens: Of the batch.
        tokens_at_once: Of a micro-batch.
        seconds: By its prediction; None for a model that does not run on shapes alone.
        state_mb: Weights, gradients and the optimizer's state.
        saved_mb: What is saved for the backward pass, by its prediction; None for a model as above.
    """

    tokens: int
    tokens_at_once: int
    seconds: float | None
    state_mb: float
    saved_mb: float | None


class StepLimits:
    """What time and memory allow to be measured; it learns from what was measured."""

    def __init__(
        self,
        seconds: float,
        free_mb: Callable[[], float],
        has_counter: bool = False,
        tick: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to measure for some seconds; `tick` is the interval of the energy counter, if there is one."""
        self._clock, self._free_mb = clock, free_mb
        self._deadline = clock() + seconds
        self._has_counter, self._tick = has_counter, tick
        self._slowness: dict[str, float] = {}  # of the last steps relative to their prediction, by execution
        self._last_seconds: dict[tuple[str, str], float] = {}  # of a token, by method and execution
        self._last_saved_mb: dict[str, float] = {}  # of a token, by method

    def seconds_left(self) -> float:
        """Return the seconds until the time is over."""
        return max(0.0, self._deadline - self._clock())

    def block_seconds(self, waiting: int, methods: int, beside_seconds: float = 0.0) -> float:
        """Return how long a block of steps takes at least, if so many sizes are still to be measured.

        With a counter of energy it is as long as the time allows, but no shorter than its ticks require. Of the time of
        each size, `beside_seconds` are for what else is measured between the rounds.
        """
        if not self._has_counter:
            return BLOCK_SECONDS
        shortest = COUNTER_BLOCK_SECONDS if self._tick is None else enough_seconds(ROUNDS, self._tick) / ROUNDS
        left = max(0.0, self.seconds_left() - waiting * beside_seconds)
        allowed = SHARE_OF_BLOCKS * left / waiting / (ROUNDS * methods)
        return max(BLOCK_SECONDS, shortest, min(COUNTER_BLOCK_SECONDS, allowed))

    def why_not(
        self,
        expected: Mapping[str, Expected],
        execution: str,
        block: float,
        share: float = 1.0,
        beside_seconds: float = 0.0,
    ) -> str | None:
        """Return why the steps of all methods cannot be measured in a share of the time that is left; None if they can.

        `block` is how long a block of steps takes at least; `beside_seconds` is for what else is measured between the
        rounds. A size that takes up to twice the time of its blocks may take more than its share: it would not take
        much less if it were smaller.
        """
        if not (left := self.seconds_left()):
            return "no time is left"
        steps = [self._seconds(method, execution, step) for method, step in expected.items()]
        seconds = beside_seconds + sum(WARM_UP_AND_PARTS * step + ROUNDS * max(block, step) for step in steps)
        if seconds > min(left, max(share * left, beside_seconds + 2 * ROUNDS * block * len(steps))):
            return f"takes about {seconds:.0f} s, and {left:.0f} s are left"
        needed = sum(step.state_mb + self._saved_mb(method, step) for method, step in expected.items())
        if needed > MEMORY_SHARE * (free := self._free_mb()):
            return f"needs about {needed:,.0f} MB, and {free:,.0f} MB are left for it"
        return None

    def learn(self, expected: Mapping[str, Expected], execution: str, timings: Mapping[str, Timing]) -> None:
        """Remember what the steps of a size took, for those that come next."""
        seconds = {method: median(timing.rounds) for method, timing in timings.items() if timing.rounds}
        for method, step_seconds in seconds.items():
            self._last_seconds[method, execution] = step_seconds / expected[method].tokens
            if (saved := timings[method].saved_mb) is not None:
                self._last_saved_mb[method] = saved / expected[method].tokens_at_once
        if predicted := sum(expected[method].seconds or 0.0 for method in seconds):
            self._slowness[execution] = max(1.0, sum(seconds.values()) / predicted)

    def _seconds(self, method: str, execution: str, step: Expected) -> float:
        """The seconds of a step: predicted, else in proportion to the last one's; 0 for the first, of which none is."""
        if step.seconds is not None:
            return self._slowness.get(execution, 1.0) * step.seconds
        return step.tokens * self._last_seconds.get((method, execution), 0.0)

    def _saved_mb(self, method: str, step: Expected) -> float:
        """What is saved for the backward pass, in the same way."""
        if step.saved_mb is not None:
            return step.saved_mb
        return step.tokens_at_once * self._last_saved_mb.get(method, 0.0)


def alternating(sizes: Sequence[Size]) -> list[Size]:
    """Return the smallest size, the largest, the second smallest, and so on: without time the middle is left out."""
    ascending = sorted(sizes, key=lambda size: size.rows * size.tokens)
    half = -(-len(ascending) // 2)
    pairs = zip(ascending[:half], [*ascending[: half - 1 : -1], None], strict=False)
    return [size for pair in pairs for size in pair if size is not None]


def free_memory_mb(device: torch.device) -> float:
    """Return the memory in MB that is free for a step, between whose rounds the constants are measured."""
    if device.type == "cuda":
        gc.collect()  # steps of the last size, whose graphs refer to each other
        torch.cuda.empty_cache()  # what the allocator keeps of a larger size
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = psutil.virtual_memory().available
    return max(0.0, free / 1e6 - MEMORY_MB[device.type])
