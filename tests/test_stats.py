"""Intervals against scipy, scikit-learn and coverage by simulation; verdicts on both sides of every boundary."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import accuracy_score, matthews_corrcoef

from lora_core import stats


def test_the_t_interval_is_scipys():
    values = [0.81, 0.84, 0.80, 0.86, 0.83]
    low, high = scipy_stats.t.interval(0.95, 4, loc=np.mean(values), scale=scipy_stats.sem(values))
    found = stats.t_interval(values)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.estimate == pytest.approx(np.mean(values))
    assert stats.t_interval([0.8]) is None
    assert stats.t_interval([0.8, 0.8]).high == pytest.approx(0.8)


@pytest.mark.parametrize("n", [3, 5])
def test_the_t_interval_covers_what_it_says_with_few_seeds(n):
    draws = np.random.default_rng(0).normal(0.0, 1.0, (2000, n))
    covered = np.mean([(i := stats.t_interval(list(row))).low <= 0 <= i.high for row in draws])
    assert covered == pytest.approx(0.95, abs=0.02)


def test_the_smallest_detectable_effect_is_found_with_eighty_percent_power():
    n, spread = 5, 1.0
    effect = stats.t_interval(list(np.array([-1.2, -0.5, 0.0, 0.5, 1.2]) / np.std([-1.2, -0.5, 0, 0.5, 1.2], ddof=1)))
    draws = np.random.default_rng(1).normal(effect.detectable, spread, (3000, n))
    found = np.mean([scipy_stats.ttest_1samp(row, 0).pvalue < 0.05 for row in draws])
    assert found == pytest.approx(0.80, abs=0.06)


def predictions(n=300, outputs=2, seed=0, skill=1.0):
    generator = np.random.default_rng(seed)
    if outputs == 1:
        labels = generator.uniform(0, 5, n)
        return labels, (skill * labels + generator.normal(0, 1, n))[:, None]
    labels = generator.integers(0, 2, n)
    logits = generator.normal(0, 1, (n, 2))
    logits[np.arange(n), labels] += skill
    return labels, logits


REFERENCES = {
    "accuracy": lambda y, z: accuracy_score(y, z.argmax(-1)),
    "matthews": lambda y, z: matthews_corrcoef(y, z.argmax(-1)),
    "pearson": lambda y, z: scipy_stats.pearsonr(y, z[:, 0]).statistic,
}


@pytest.mark.parametrize("metric", REFERENCES)
def test_scores_from_sums_are_those_of_the_libraries_on_every_resample(metric):
    labels, logits = predictions(outputs=1 if metric == "pearson" else 2)
    for seed in range(5):
        rows = np.random.default_rng(seed).integers(0, len(labels), len(labels))
        ours = stats.SCORES[metric](stats._adds(metric, labels[rows], logits[rows]).sum(0))
        assert ours == pytest.approx(REFERENCES[metric](labels[rows], logits[rows]), abs=1e-9)


@pytest.mark.parametrize("metric", REFERENCES)
def test_the_bootstrap_is_that_of_plain_resampling(metric):
    outputs = 1 if metric == "pearson" else 2
    labels, ours = predictions(outputs=outputs, skill=1.0)
    theirs = predictions(outputs=outputs, seed=1, skill=0.5)[1] if outputs == 2 else ours * 0.5 + 1.0
    theirs = theirs + np.random.default_rng(2).normal(0, 1.5, theirs.shape)
    found = stats.paired_bootstrap(metric, labels, [ours], [theirs])
    score = REFERENCES[metric]
    assert found.estimate == pytest.approx(score(labels, ours) - score(labels, theirs), abs=1e-9)
    generator = np.random.default_rng(3)
    plain = []
    for _ in range(1000):
        rows = generator.integers(0, len(labels), len(labels))
        plain.append(score(labels[rows], ours[rows]) - score(labels[rows], theirs[rows]))
    reach = np.diff(np.quantile(plain, [0.025, 0.975]))[0]
    assert found.low == pytest.approx(np.quantile(plain, 0.025), abs=0.12 * reach)
    assert found.high == pytest.approx(np.quantile(plain, 0.975), abs=0.12 * reach)


def test_a_method_against_itself_differs_by_nothing_in_every_resample():
    labels, logits = predictions()
    found = stats.paired_bootstrap("accuracy", labels, [logits, logits[::-1]], [logits, logits[::-1]])
    assert found.low == found.high == found.estimate == 0


def test_a_resample_without_a_score_is_drawn_again_and_counted():
    labels = np.array([0] * 14 + [1])
    logits = np.eye(2)[labels]
    found = stats.paired_bootstrap("matthews", labels, [logits], [np.eye(2)[labels[::-1]]])
    # Both the only label and the only prediction of 1 must be drawn: 1 - 2 (14/15)^15 + (13/15)^15 of the resamples.
    scored = 1 - 2 * (14 / 15) ** 15 + (13 / 15) ** 15
    assert found.redrawn == pytest.approx(stats.RESAMPLES * (1 / scored - 1), rel=0.1)
    assert math.isfinite(found.low)


@pytest.mark.parametrize(("metric", "outputs"), [("matthews", 2), ("pearson", 1)])
def test_constant_predictions_have_no_interval(metric, outputs):
    labels, logits = predictions(outputs=outputs)
    assert stats.paired_bootstrap(metric, labels, [np.ones_like(logits)], [logits]) is None


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
    found = stats.equivalence(list(math.log(ratio) + wiggle), 0.03)
    assert found.verdict == verdict
    assert found.low < ratio * 1.0001
    assert found.high > ratio * 0.9999
    assert found.detectable_percent > 0
    assert found.rounds == 8


def test_equivalence_is_the_two_one_sided_tests():
    log_ratios = np.random.default_rng(0).normal(0.012, 0.02, 12)
    margin = math.log(1.03)
    lower = scipy_stats.ttest_1samp(log_ratios, -margin, alternative="greater").pvalue
    upper = scipy_stats.ttest_1samp(log_ratios, margin, alternative="less").pvalue
    assert (stats.equivalence(list(log_ratios), 0.03).verdict == "equivalent") == (max(lower, upper) < 0.05)
    assert stats.equivalence([0.0], 0.03) is None
