"""The bootstrap against plain resampling with the libraries' scores."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import accuracy_score, matthews_corrcoef

from lora_core.data.metrics import METRICS
from lora_core.evaluation import bootstrap

PLAIN = 1000  # resamples, drawn and scored one by one


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
    resampling = METRICS[metric].resampling
    for seed in range(5):
        rows = np.random.default_rng(seed).integers(0, len(labels), len(labels))
        added = resampling.per_example(labels[rows], logits[rows])
        assert resampling.score(added.sum(0)) == pytest.approx(REFERENCES[metric](labels[rows], logits[rows]), abs=1e-9)


@pytest.mark.parametrize("metric", REFERENCES)
def test_the_bootstrap_is_that_of_plain_resampling(metric):
    outputs = 1 if metric == "pearson" else 2
    labels, ours = predictions(outputs=outputs, skill=1.0)
    theirs = predictions(outputs=outputs, seed=1, skill=0.5)[1] if outputs == 2 else ours * 0.5 + 1.0
    theirs = theirs + np.random.default_rng(2).normal(0, 1.5, theirs.shape)
    result = bootstrap.paired_bootstrap(metric, labels, [ours], [theirs])
    score = REFERENCES[metric]
    assert result.estimate == pytest.approx(score(labels, ours) - score(labels, theirs), abs=1e-9)
    generator = np.random.default_rng(3)
    plain = []
    for _ in range(PLAIN):
        rows = generator.integers(0, len(labels), len(labels))
        plain.append(score(labels[rows], ours[rows]) - score(labels[rows], theirs[rows]))
    # Both quantiles are estimates. A quantile q of n draws has the standard error sqrt(q (1 - q) / n) / density at the
    # quantile, and the differences are about normal.
    density = scipy_stats.norm.pdf(scipy_stats.norm.ppf(0.025)) / np.std(plain)
    error = math.sqrt(0.025 * 0.975 * (1 / PLAIN + 1 / bootstrap.RESAMPLES)) / density
    assert result.low == pytest.approx(np.quantile(plain, 0.025), abs=3 * error)
    assert result.high == pytest.approx(np.quantile(plain, 0.975), abs=3 * error)


def test_a_method_against_itself_differs_by_nothing_in_every_resample():
    labels, logits = predictions()
    result = bootstrap.paired_bootstrap("accuracy", labels, [logits, logits[::-1]], [logits, logits[::-1]])
    assert result.low == result.high == result.estimate == 0


def test_a_resample_without_a_score_is_drawn_again_and_counted():
    labels = np.array([0] * 14 + [1])
    logits = np.eye(2)[labels]
    result = bootstrap.paired_bootstrap("matthews", labels, [logits], [np.eye(2)[labels[::-1]]])
    # Both the only label and the only prediction of 1 must be drawn: 1 - 2 (14/15)^15 + (13/15)^15 of the resamples.
    scored = 1 - 2 * (14 / 15) ** 15 + (13 / 15) ** 15
    # Failures before a number of successes: negative binomial.
    redrawn = scipy_stats.nbinom(bootstrap.RESAMPLES, scored)
    assert result.redrawn == pytest.approx(redrawn.mean(), abs=3 * redrawn.std())
    assert math.isfinite(result.low)


@pytest.mark.parametrize(("metric", "outputs"), [("matthews", 2), ("pearson", 1)])
def test_constant_predictions_have_no_interval(metric, outputs):
    labels, logits = predictions(outputs=outputs)
    assert bootstrap.paired_bootstrap(metric, labels, [np.ones_like(logits)], [logits]) is None


def test_a_metric_that_is_no_function_of_sums_has_no_interval():
    labels, logits = predictions(outputs=1)
    assert bootstrap.paired_bootstrap("spearman", labels, [logits], [logits[::-1]]) is None
