"""Uncertainty: intervals over seeds, medians of censored runs, and the equivalence of latencies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

MIN_SEEDS = 3  # below that there is no verdict across seeds: two say almost nothing about the spread between seeds
POWER = 0.8  # of the smallest detectable effect
MEANINGFUL = 0.02  # a score closer than this to the majority-class baseline shows that nothing was learned
TIE = 1e-9  # figures this close are equal, in the unit of what is judged: a smaller difference is rounding


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; `detectable` is the smallest effect that is found with 80% power."""

    estimate: float
    low: float
    high: float
    detectable: float

    @property
    def has_spread(self) -> bool:
        """Whether the values differ by more than rounding."""
        return self.high - self.low > TIE


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return Student's interval of the mean of independent values; None for fewer than two, which have no spread."""
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    n = len(values)
    if n < 2:
        return None
    mean, standard_error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(n)
    quantile = float(stdtrit(n - 1, (1 + level) / 2))
    half_width = quantile * standard_error
    detectable = (quantile + float(stdtrit(n - 1, POWER))) * standard_error
    return Interval(mean, mean - half_width, mean + half_width, detectable)


def corrected(interval: Interval, n: int, comparisons: int, level: float = 0.95) -> Interval:
    """Return Student's interval of `n` values with its error, 1 - level, divided by the number of comparisons.

    This is Bonferroni's correction: all of the intervals together miss with at most that error.
    """
    from scipy.special import stdtrit

    quantile, wider = (float(stdtrit(n - 1, 1 - (1 - level) / 2 / count)) for count in (1, comparisons))
    scale = wider / quantile
    low, high = (interval.estimate + scale * (bound - interval.estimate) for bound in (interval.low, interval.high))
    return replace(interval, low=low, high=high)


def median_bounds(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Return the values between which the median of their population lies, whatever its distribution.

    They are two of the ordered values, as in the sign test. None for too few: below six at 95 %.
    """
    from scipy.special import bdtr

    ranked, n = sorted(map(float, values)), len(values)
    ranks = [rank for rank in range((n + 1) // 2) if 2 * float(bdtr(rank, n, 0.5)) <= 1 - level]
    return (ranked[ranks[-1]], ranked[-1 - ranks[-1]]) if ranks else None


@dataclass(frozen=True)
class Median:
    """The median of runs of which some did not reach the threshold; those rank above all others.

    `value` is None if the median falls on one of those; `at_least` is then a lower bound, if one is known. `interval`
    is the t-interval of the mean, from three runs on and only if all of them reached the threshold.
    """

    value: float | None
    at_least: float | None
    interval: Interval | None


def censored_median(reached: Sequence[float], total: int) -> Median:
    """Return the median of `total` runs, of which those that reached the threshold have the values `reached`."""
    ranked = sorted(map(float, reached))
    lower, upper = max(0, total - 1) // 2, total // 2  # ranks of the two in the middle
    if upper >= len(ranked):
        return Median(None, ranked[lower] if lower < len(ranked) else None, None)
    interval = t_interval(ranked) if MIN_SEEDS <= len(ranked) == total else None
    return Median((ranked[lower] + ranked[upper]) / 2, None, interval)


@dataclass(frozen=True)
class Equivalence:
    """A paired ratio with its interval against a margin, and what follows (two one-sided tests)."""

    ratio: float
    low: float
    high: float
    detectable_percent: float
    verdict: str  # equivalent | slower | faster | undecided
    rounds: int


def equivalence(log_ratios: Sequence[float], margin: float, level: float) -> Equivalence | None:
    """Judge paired log-ratios of times; None for fewer than two rounds.

    The times are equivalent if the interval of their ratio is inside [1 / (1 + margin), 1 + margin], slower or faster
    if it is entirely outside, and undecided otherwise. Each one-sided test has the error (1 - level) / 2.
    """
    interval = t_interval(log_ratios, level)
    if interval is None:
        return None
    ratio, low, high = (math.exp(v) for v in (interval.estimate, interval.low, interval.high))
    if low >= 1 / (1 + margin) - TIE and high <= 1 + margin + TIE:
        verdict = "equivalent"
    elif low > 1 + margin + TIE:
        verdict = "slower"
    elif high < 1 / (1 + margin) - TIE:
        verdict = "faster"
    else:
        verdict = "undecided"
    return Equivalence(ratio, low, high, 100 * math.expm1(interval.detectable), verdict, len(log_ratios))
