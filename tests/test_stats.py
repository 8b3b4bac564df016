"""Intervals against scipy and coverage by simulation; verdicts on both sides of the margin."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from lora_core import stats


def test_the_t_interval_is_scipys():
    values = [0.81, 0.84, 0.80, 0.86, 0.83]
    low, high = scipy_stats.t.interval(0.95, 4, loc=np.mean(values), scale=scipy_stats.sem(values))
    interval = stats.t_interval(values)
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))
    assert interval.estimate == pytest.approx(np.mean(values))
    assert stats.t_interval([0.8]) is None
    assert stats.t_interval([0.8, 0.8]).high == pytest.approx(0.8)


@pytest.mark.parametrize("n", [3, 5])
def test_the_t_interval_covers_what_it_says_with_few_seeds(n):
    draws = np.random.default_rng(0).normal(0.0, 1.0, (2000, n))
    covered = np.mean([(i := stats.t_interval(list(row))).low <= 0 <= i.high for row in draws])
    assert covered == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 2000))  # three standard errors


def test_the_smallest_detectable_effect_is_found_with_eighty_percent_power():
    values = np.array([-1.2, -0.5, 0.0, 0.5, 1.2])
    n = len(values)
    effect = stats.t_interval(list(values / values.std(ddof=1))).detectable
    quantile = scipy_stats.t.ppf(0.975, n - 1)
    tests = scipy_stats.nct(n - 1, effect * n**0.5)  # the t statistic of n values around `effect`, of deviation 1
    power = tests.sf(quantile) + tests.cdf(-quantile)
    # The effect is a sum of two t quantiles, which is exact for many values; of five it has a power of 0.791.
    assert power == pytest.approx(0.80, abs=0.01)


@pytest.mark.parametrize(
    ("ratio", "spread", "verdict"),
    [
        (1.00, 0.005, "equivalent"),
        (1.02, 0.005, "equivalent"),
        (1.03, 0.005, "undecided"),
        (1.04, 0.005, "slower"),
        (1.50, 0.01, "slower"),
        (0.96, 0.005, "faster"),
        (1.00, 0.20, "undecided"),
    ],
)
def test_equivalence_needs_the_whole_interval_on_one_side_of_the_margin(ratio, spread, verdict):
    wiggle = np.array([-1, 1, -1, 1, -1, 1, -1, 1]) * spread
    result = stats.equivalence(list(math.log(ratio) + wiggle), 0.03, 0.90)
    assert result.verdict == verdict
    assert result.low < ratio * 1.0001
    assert result.high > ratio * 0.9999
    assert result.detectable_percent > 0
    assert result.rounds == 8


def test_equivalence_is_the_two_one_sided_tests():
    log_ratios = np.random.default_rng(0).normal(0.012, 0.02, 12)
    margin = math.log(1.03)
    lower = scipy_stats.ttest_1samp(log_ratios, -margin, alternative="greater").pvalue
    upper = scipy_stats.ttest_1samp(log_ratios, margin, alternative="less").pvalue
    assert (stats.equivalence(list(log_ratios), 0.03, 0.90).verdict == "equivalent") == (max(lower, upper) < 0.05)
    assert stats.equivalence([0.0], 0.03, 0.90) is None


def test_the_median_of_runs_of_which_some_never_reach_the_threshold():
    assert stats.censored_median([3.0, 1.0, 2.0], 3).value == 2.0
    assert stats.censored_median([3.0, 1.0, 2.0], 3).interval == stats.t_interval([1.0, 2.0, 3.0])
    assert stats.censored_median([1.0, 2.0], 3) == stats.Median(2.0, None, None)  # the third is above both
    assert stats.censored_median([1.0, 2.0], 4) == stats.Median(None, 2.0, None)
    assert stats.censored_median([1.0], 4) == stats.Median(None, None, None)
    assert stats.censored_median([], 0) == stats.Median(None, None, None)
