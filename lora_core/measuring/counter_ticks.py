"""An energy counter that advances in ticks: its tick, the error at the edges of windows, and when that is too large.

A reading is late by up to a tick: it lacks up to tick x power.
"""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

MAX_ERROR = 0.2  # of the energy; windows with a larger error at their edges are too short to be measured
MIN_INTERVALS = 3  # between changes of the counter, from which its tick follows


def tick_seconds(changes: Sequence[float]) -> float | None:
    """Return the median interval between a counter's changes, which came at these times; None if they are too few."""
    intervals = [after - before for before, after in pairwise(changes)]
    return statistics.median(intervals) if len(intervals) >= MIN_INTERVALS else None


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
