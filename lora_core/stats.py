"""How sure a figure is: intervals over seeds, and the equivalence of latencies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_SEEDS = 3  # below that no verdict across seeds: two say next to nothing of how seeds differ
POWER = 0.8  # of the smallest detectable effect


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; `detectable` is the smallest effect found with 80% power."""

    estimate: float
    low: float
    high: float
    detectable: float


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Student's interval of the mean of independent values; None below two, which have no spread."""
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    n = len(values)
    if n < 2:
        return None
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(n)
    quantile = float(stdtrit(n - 1, (1 + level) / 2))
    reach = quantile * error
    return Interval(mean, mean - reach, mean + reach, (quantile + float(stdtrit(n - 1, POWER))) * error)


@dataclass(frozen=True)
class Median:
    """The median of runs of which some never got there, which are above all others.

    `value` is None where it falls on one of those; `at_least` then bounds it from below, where that is known. The
    t-interval of the mean stands beside it from three runs on, all of them there.
    """

    value: float | None
    at_least: float | None
    interval: Interval | None


def censored_median(known: Sequence[float], total: int) -> Median:
    """Of `total` runs, those that got there `known`."""
    ranked = sorted(map(float, known))
    lower, upper = max(0, total - 1) // 2, total // 2  # the two in the middle
    if upper >= len(ranked):
        return Median(None, ranked[lower] if lower < len(ranked) else None, None)
    interval = t_interval(ranked) if MIN_SEEDS <= len(ranked) == total else None
    return Median((ranked[lower] + ranked[upper]) / 2, None, interval)


@dataclass(frozen=True)
class Equivalence:
    """A paired ratio with its 90% interval against a margin, and what follows (two one-sided tests at 5%)."""

    ratio: float
    low: float
    high: float
    detectable_percent: float
    verdict: str  # equivalent | slower | faster | undecided
    rounds: int


def equivalence(log_ratios: Sequence[float], margin: float) -> Equivalence | None:
    """Judge paired log-ratios of times: inside ±margin they are equivalent, wholly outside slower or faster.

    None below two rounds.
    """
    found = t_interval(log_ratios, 0.90)
    if found is None:
        return None
    ratio, low, high = (math.exp(v) for v in (found.estimate, found.low, found.high))
    if low > 1 / (1 + margin) and high < 1 + margin:
        verdict = "equivalent"
    elif low >= 1 + margin:
        verdict = "slower"
    elif high <= 1 / (1 + margin):
        verdict = "faster"
    else:
        verdict = "undecided"
    return Equivalence(ratio, low, high, 100 * math.expm1(found.detectable), verdict, len(log_ratios))
