"""An energy counter that advances in ticks: its tick, the error at the edges of windows, and when that is too large.

A reading is late by up to a tick: it lacks up to tick x power. Power that follows from a counter is a mean between two
readings.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from lora_core.measuring.pulse import now
from lora_core.records import PowerRow

MAX_ERROR = 0.2  # of the energy; windows with a larger error at their edges are too short to be measured
MIN_INTERVALS = 3  # between changes of the counter, from which its tick follows
TICK_SECONDS = 1.0  # for how long the counter's changes are watched at most
TICK_CHANGES = 20  # that are enough: on a CPU, watching takes power itself
TICK_POLL_SECONDS = 0.001

# Of which a mean power is at least the mean: with a counter that advances every millisecond, as that of a CPU, it is
# wrong by up to 5%.
MEAN_SECONDS = 0.02


def tick_seconds(changes: Sequence[float]) -> float | None:
    """Return the median interval between a counter's changes, which came at these times; None if they are too few."""
    intervals = [after - before for before, after in pairwise(changes)]
    return statistics.median(intervals) if len(intervals) >= MIN_INTERVALS else None


def measure_tick(read: Callable[[], float | None], seconds: float = TICK_SECONDS) -> float | None:
    """Watch a counter for some seconds at most and return its tick.

    None if there is no counter (`read` returns None), or if it advances too rarely to tell.
    """
    end = now() + seconds
    last: float | None = None
    changes: list[float] = []
    while now() < end and len(changes) < TICK_CHANGES:
        value = read()
        if value is None:
            return None
        if last not in (None, value):
            changes.append(now())
        last = value
        time.sleep(TICK_POLL_SECONDS)
    return tick_seconds(changes)


def edge_seconds(windows: int, tick: float) -> float:
    """Return by how many seconds at their mean power the energy of consecutive windows may be wrong.

    The first and the last edge count with a full tick each. What the edges between them attribute to the wrong side
    varies independently and evenly within a tick: it counts with two standard deviations of the sum.
    """
    between = 2 * max(0, windows - 1)
    return tick * (2 + 2 * math.sqrt(between / 12))


def is_too_short(seconds: float, windows: int, tick: float) -> bool:
    """Return whether the error at the edges of windows of this length altogether is more than `MAX_ERROR`."""
    return seconds <= 0 or edge_seconds(windows, tick) > MAX_ERROR * seconds


def enough_seconds(windows: int, tick: float) -> float:
    """Return how long windows are altogether at least whose energy is not wrong by more than `MAX_ERROR`."""
    return edge_seconds(windows, tick) / MAX_ERROR


def uncertainty_joules(
    joules: float, seconds: float, windows: int, tick: float, watts_between: float | None = None
) -> float:
    """Return by how much the energy of windows of this length altogether may be wrong.

    `watts_between` is the power between two windows; None if it is not known. A reading is late by half a tick on
    average. So a window ends half a tick too early, at its own power, and begins half a tick too early, at the power
    of what came before: if they differ, the errors of all windows add up.
    """
    watts = joules / seconds
    difference = abs(watts - (watts_between or 0.0))
    return watts * edge_seconds(windows, tick) + difference * tick / 2 * max(0, windows - 1)


def mean_watts(window: Sequence[PowerRow], row: PowerRow) -> float | None:
    """Return the power from the latest sample of a window with a power, or its first one, to the next sample, `row`.

    None for the first sample of a window, whose energy before that is none of it; also if the counter was not read or
    was reset. A sample that comes too soon after the one before has the power from an earlier one.
    """
    for number in reversed(range(len(window))):
        before = window[number]
        if number and before.power_watts is None:
            continue
        seconds = row.seconds - before.seconds
        if seconds < MEAN_SECONDS:
            continue
        if row.counter_millijoules is None or before.counter_millijoules is None:
            return None
        joules = (row.counter_millijoules - before.counter_millijoules) / 1e3
        return joules / seconds if joules >= 0 else None
    return None


def has_mean_power(window: Sequence[PowerRow]) -> bool:
    """Return whether the power of a window follows from its counter: each sample has the mean up to itself."""
    *before, last = window
    watts = mean_watts(before, last)
    if window[0].power_watts is not None or watts is None or last.power_watts is None:
        return False
    return math.isclose(last.power_watts, watts, rel_tol=1e-6)


def with_power_at_both_edges(window: Sequence[PowerRow]) -> Sequence[PowerRow]:
    """Return a window whose first sample has the power of the interval that it begins, if none was sampled there."""
    if not has_mean_power(window):
        return window
    known = next(row.power_watts for row in window if row.power_watts is not None)
    return [replace(window[0], power_watts=known), *window[1:]]


def sum_of_means(window: Sequence[PowerRow]) -> float:
    """Energy of a window whose samples have the mean power since the last sample that has one, or since its start."""
    total, since = 0.0, window[0].seconds
    for row in window:
        if row.power_watts is not None:
            total += row.power_watts * (row.seconds - since)
            since = row.seconds
    return total
