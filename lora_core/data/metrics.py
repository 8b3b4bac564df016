"""Scores of a task from logits, by scikit-learn and scipy. Fractions in 0..1, correlations in -1..1."""

import warnings
from collections.abc import Callable

import numpy as np


def accuracy(labels: np.ndarray, logits: np.ndarray) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels, logits.argmax(-1)))


def f1(labels: np.ndarray, logits: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, logits.argmax(-1), zero_division=0.0))


def matthews(labels: np.ndarray, logits: np.ndarray) -> float:
    """Matthews correlation; 0 for constant predictions, as scikit-learn defines it."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, logits.argmax(-1)))


def pearson(labels: np.ndarray, logits: np.ndarray) -> float:
    from scipy.stats import pearsonr

    return _correlation(pearsonr, labels, logits)


def spearman(labels: np.ndarray, logits: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return _correlation(spearmanr, labels, logits)


def _correlation(function: Callable, labels: np.ndarray, logits: np.ndarray) -> float:
    """0 where one side is constant, or alone: the correlation is undefined and the model has learnt nothing."""
    if len(labels) < 2:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(function(labels, logits[:, 0]).statistic)
    return 0.0 if np.isnan(value) else value


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}


def constant_guess(metric: str, labels: np.ndarray) -> float:
    """The score of always answering the same: the majority class's share, F1 of always 1, 0 for a correlation."""
    if metric == "accuracy":
        return float(np.bincount(labels.astype(int)).max() / len(labels))
    if metric == "f1":
        return f1(labels, np.tile([0.0, 1.0], (len(labels), 1)))
    return 0.0
