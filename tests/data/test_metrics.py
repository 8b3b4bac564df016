"""Metrics: scores, baselines and sums for resampling agree with the libraries."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from lora_core.data.metrics import METRICS, default_metrics

LIBRARIES = {
    "accuracy": lambda labels, logits: sklearn_metrics.accuracy_score(labels, logits.argmax(-1)),
    "f1": lambda labels, logits: sklearn_metrics.f1_score(labels, logits.argmax(-1), zero_division=0.0),
    "matthews": lambda labels, logits: sklearn_metrics.matthews_corrcoef(labels, logits.argmax(-1)),
    "pearson": lambda labels, logits: stats.pearsonr(labels, logits[:, 0]).statistic,
    "spearman": lambda labels, logits: stats.spearmanr(labels, logits[:, 0]).statistic,
}


def predictions(classes, seed):
    generator = np.random.default_rng(seed)
    if classes == 0:
        labels = generator.uniform(0, 5, 200)
        return labels, (labels + generator.normal(0, 2, 200))[:, None]
    labels = generator.integers(0, classes, 200)
    logits = generator.normal(0, 1, (200, classes))
    logits[np.arange(200), labels] += 1
    return labels, logits


@pytest.mark.parametrize(
    ("name", "classes"),
    [(name, classes) for name in LIBRARIES for classes in (0, 2, 3) if METRICS[name].suits(classes)],
)
def test_scores_and_scores_from_sums_are_those_of_the_libraries(name, classes):
    metric = METRICS[name]
    for seed in range(5):
        labels, logits = predictions(classes, seed)
        expected = LIBRARIES[name](labels, logits)
        assert metric.function(labels, logits) == pytest.approx(expected, abs=1e-12)
        if metric.resampling:
            sums = metric.resampling.per_example(labels, logits).sum(0)
            assert metric.resampling.score(sums) == pytest.approx(expected, abs=1e-9)


def test_every_metric_is_compared_with_a_library():
    assert METRICS.keys() == LIBRARIES.keys()
    assert all(metric.name == name for name, metric in METRICS.items())


def test_scores_of_many_resamples_at_once_are_those_of_each():
    labels, logits = predictions(3, 0)
    sums = METRICS["matthews"].resampling
    counts = np.random.default_rng(1).multinomial(len(labels), np.full(len(labels), 1 / len(labels)), size=4)
    per_example = sums.per_example(labels, logits)
    together = sums.score((counts.astype(float) @ per_example).T)
    for drawn, score in zip(counts, together, strict=True):
        rows = np.repeat(np.arange(len(labels)), drawn)
        assert score == pytest.approx(LIBRARIES["matthews"](labels[rows], logits[rows]), abs=1e-9)


def test_the_baseline_is_the_score_of_the_best_constant_answer_for_accuracy_and_of_class_1_for_f1():
    labels = np.array([1, 1, 0, 0, 0])
    assert METRICS["accuracy"].baseline_score(labels) == 3 / 5
    assert METRICS["f1"].baseline_score(np.array([1, 1, 0, 0])) == pytest.approx(2 / 3)
    assert METRICS["matthews"].baseline_score(labels) == METRICS["pearson"].baseline_score(labels) == 0


def test_constant_predictions_score_zero_and_have_no_resampled_score():
    labels, logits = predictions(2, 0)
    constant = np.ones_like(logits)
    matthews = METRICS["matthews"]
    assert matthews.function(labels, constant) == 0
    assert np.isnan(matthews.resampling.score(matthews.resampling.per_example(labels, constant).sum(0)))
    labels, logits = predictions(0, 0)
    assert METRICS["pearson"].function(labels, np.ones_like(logits)) == 0


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_default_metrics_suit_their_task(classes):
    assert all(METRICS[name].suits(classes) for name in default_metrics(classes))
