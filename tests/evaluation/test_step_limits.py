"""What time and memory allow to be measured, by a stand-in clock: sizes with and without a prediction."""

import random
from types import SimpleNamespace

import pytest
import torch

from lora_core.evaluation import regimes
from lora_core.evaluation.regime_record import Size
from lora_core.evaluation.step_limits import (
    BLOCK_SECONDS,
    COUNTER_BLOCK_SECONDS,
    ROUNDS,
    WARM_UP_AND_PARTS,
    Expected,
    StepLimits,
    alternating,
    free_memory_mb,
)
from lora_core.evaluation.step_timing import Timing
from lora_core.measuring.counter_ticks import is_too_short
from lora_core.measuring.device_constants import MEMORY_MB

METHODS = ("fft", "lora")


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


def step(tokens, seconds=None, saved_mb=None):
    return dict.fromkeys(METHODS, Expected(tokens, tokens, seconds, state_mb=10.0, saved_mb=saved_mb))


def timed(seconds, saved_mb=None):
    return dict.fromkeys(METHODS, Timing(rounds=[seconds] * ROUNDS, saved_mb=saved_mb))


@pytest.mark.parametrize("seconds", [None, 1e-9])
def test_nothing_is_measured_after_the_time_with_or_without_a_prediction(clock, seconds):
    limits = StepLimits(150, lambda: 1e9, clock=clock)
    assert limits.why_not(step(64, seconds), "eager", BLOCK_SECONDS) is None
    clock.seconds = 151
    assert limits.why_not(step(64, seconds), "eager", BLOCK_SECONDS) == "no time is left"


def test_without_a_prediction_time_grows_with_the_tokens_of_the_last_size(clock):
    """A step of 128 tokens takes 2 s; each method takes it `WARM_UP_AND_PARTS` and `ROUNDS` times."""
    limits = StepLimits(2 * 2 * (WARM_UP_AND_PARTS + ROUNDS) + 0.5, lambda: 1e9, clock=clock)
    limits.learn(step(64), "eager", timed(1.0))
    assert limits.why_not(step(128), "eager", BLOCK_SECONDS) is None
    clock.seconds = 1.0
    assert limits.why_not(step(128), "eager", BLOCK_SECONDS) == "takes about 28 s, and 28 s are left"
    assert limits.why_not(step(64), "eager", BLOCK_SECONDS) is None
    assert limits.why_not(step(128), "graphs", BLOCK_SECONDS) is None  # of which nothing is known


def test_without_a_prediction_memory_grows_with_the_tokens_of_the_last_size(clock):
    """Two methods hold 10 MB each, and save 1 MB for each of 100 tokens; four fifths of what is free may be used."""
    limits = StepLimits(150, lambda: 300.0, clock=clock)
    limits.learn(step(50), "eager", timed(1e-3, saved_mb=50.0))
    assert limits.why_not(step(110), "eager", BLOCK_SECONDS) is None
    assert limits.why_not(step(111), "eager", BLOCK_SECONDS) == "needs about 242 MB, and 300 MB are left for it"


def test_predictions_are_corrected_by_the_last_steps_of_the_same_execution(clock):
    limits = StepLimits(10, lambda: 1e9, clock=clock)
    limits.learn(step(64, 0.1), "eager", timed(1.0))
    assert limits.why_not(step(64, 0.1), "eager", BLOCK_SECONDS) == "takes about 14 s, and 10 s are left"
    assert limits.why_not(step(64, 0.1), "graphs", BLOCK_SECONDS) is None


def test_the_blocks_of_all_rounds_are_counted(clock):
    limits = StepLimits(2 * ROUNDS * 1.0, lambda: 1e9, clock=clock)
    assert limits.why_not(step(64, 1e-6), "eager", 0.99) is None
    assert limits.why_not(step(64, 1e-6), "eager", 1.01) == "takes about 6 s, and 6 s are left"


@pytest.mark.parametrize("tick", [0.02, 0.1, 0.5])
def test_a_block_is_as_short_as_the_time_requires_and_long_enough_for_the_ticks(clock, tick):
    limits = StepLimits(150, lambda: 1e9, has_counter=True, tick=tick, clock=clock)
    alone, crowded = (limits.block_seconds(waiting, len(METHODS)) for waiting in (1, 1000))
    assert crowded <= alone
    assert alone >= COUNTER_BLOCK_SECONDS
    assert not is_too_short(1.001 * ROUNDS * crowded, ROUNDS, tick)
    assert tick > 0.05 or crowded == BLOCK_SECONDS
    assert StepLimits(150, lambda: 1e9, clock=clock).block_seconds(1, len(METHODS)) == BLOCK_SECONDS  # no counter


def test_a_counter_whose_tick_is_not_known_has_long_blocks(clock):
    limits = StepLimits(150, lambda: 1e9, has_counter=True, clock=clock)
    assert limits.block_seconds(1000, len(METHODS)) == COUNTER_BLOCK_SECONDS


@pytest.mark.parametrize("count", range(6))
def test_small_and_large_sizes_alternate(count):
    sizes = [Size(1, tokens, 1) for tokens in range(1, count + 1)]
    expected = {0: [], 1: [1], 2: [1, 2], 3: [1, 3, 2], 4: [1, 4, 2, 3], 5: [1, 5, 2, 4, 3]}[count]
    assert [size.tokens for size in alternating(random.sample(sizes, count))] == expected


def test_what_the_allocator_keeps_of_a_larger_size_is_free(monkeypatch):
    """After the largest size of the grid comes the second smallest."""
    free = [1e9]
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: free.append(8e9))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[-1], 12e9))
    assert free_memory_mb(torch.device("cuda")) == 8000 - MEMORY_MB["cuda"]


GRID = [Size(rows, tokens, rows) for rows, tokens in regimes.GRID]


def regimes_with(clock, seconds_of_a_step, executions=("eager", "graphs"), overhead=0.5, beside=0.3, **limits):
    """The measurement of steps that take by their tokens what a function says, and of constants `beside` them."""
    one = regimes._Regimes.__new__(regimes._Regimes)
    one._models = SimpleNamespace(of=lambda task: dict.fromkeys(METHODS))
    one._executions, one._progress = list(executions), SimpleNamespace(update=lambda text: None)
    one._constants_meter = SimpleNamespace(seconds=beside)
    one._limits = StepLimits(150, lambda: 1e9, clock=clock, **limits)
    one._too_long = lambda size: None
    one._predict = lambda size, method, execution: None
    one._expected = lambda size, method, predicted: step(
        size.rows * size.tokens, seconds_of_a_step(size.rows * size.tokens), 0.0
    )[method]

    def time_steps(size, execution, block):
        seconds = seconds_of_a_step(size.rows * size.tokens)
        of_rounds = ROUNDS * max(block, seconds)
        clock.seconds += len(METHODS) * (WARM_UP_AND_PARTS * seconds + of_rounds) + overhead + (ROUNDS + 1) * beside
        return None, timed(seconds, saved_mb=0.0)

    one._time = time_steps
    return one


def measured_with(clock, seconds_of_a_step, tasks=0, **settings):
    """The rows of the grid and of some tasks."""
    sizes = [Size(16, 32 + number, 16, f"task{number}") for number in range(tasks)]
    return regimes_with(clock, seconds_of_a_step, **settings).measure([*sizes, *GRID])


def test_every_size_is_measured_on_a_gpu_with_an_energy_counter(clock):
    """Of six tasks and the grid, in two executions, on a GPU whose counter advances ten times a second."""
    rows = measured_with(clock, lambda tokens: 2e-3 + 3e-6 * tokens, tasks=6, has_counter=True, tick=0.1)
    assert {row.reason for row in rows} == {None}
    assert clock.seconds <= 150
    assert [(row.rows, row.tokens) for row in rows][-4:] == [(32, 512)] * 4  # in their order again


def test_without_enough_time_the_smallest_and_the_largest_size_are_measured(clock):
    """With many tasks and a slow counter, the middle of the grid is what is left out."""
    rows = measured_with(clock, lambda tokens: 2e-3 + 3e-6 * tokens, tasks=8, has_counter=True, tick=0.17)
    of_grid = {(row.rows, row.tokens): row.reason for row in rows if not row.task}
    assert of_grid[4, 16] is of_grid[32, 512] is None
    assert any(of_grid.values())


def test_large_sizes_of_a_slow_device_do_not_take_the_time_of_small_ones(clock):
    """The largest step takes 8 s on this CPU: 112 s for both methods and 4 s besides, of 150."""
    rows = measured_with(clock, lambda tokens: tokens / 2048, tasks=1, executions=("eager",), beside=0.8)
    reasons = {row.tokens * row.rows: row.reason for row in rows if not row.task}
    assert [reasons[size.rows * size.tokens] for size in GRID[:-1]] == [None] * (len(GRID) - 1)
    assert reasons[32 * 512].startswith("takes about 116 s, and ")
    assert clock.seconds <= 150


def test_a_step_that_cannot_be_captured_is_tried_once(clock):
    one, tried = regimes_with(clock, lambda tokens: 1e-3), []
    one._time = lambda size, *_: tried.append(size) or (regimes.NOT_CAPTURED, dict.fromkeys(METHODS, Timing()))
    assert {row.reason for row in one.measure(GRID)} == {regimes.NOT_CAPTURED}
    assert len(tried) == 2 * len(GRID)
