"""The metrics of tasks, one entry each: an entry holds everything about one metric.

Accuracy and F1 are fractions in 0..1, correlations are in -1..1. The scores come from scikit-learn and scipy.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

# labels (examples,) and logits (examples, outputs) to a score
Score = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class ResamplingSums:
    """A metric as a function of sums over examples, which makes a bootstrap a product of matrices.

    Attributes:
        per_example: What each example adds to the sums, from labels (examples,) and logits (examples, outputs):
            (examples, sums).
        score: The metric from the sums, (sums, ...) to (...); NaN if it is undefined.
    """

    per_example: Callable[[np.ndarray, np.ndarray], np.ndarray]
    score: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: Its name in the configuration and in records.
        title: What tables, figures and pages call it.
        function: The score from labels (examples,) and logits (examples, outputs).
        hub_name: What the Hugging Face hub calls it in a model card.
        baseline_score: The score on labels (examples,) of a constant prediction: the
            majority class for accuracy, always class 1 for F1, 0 for a correlation.
        labels: The labels that the metric is for: the names of classes, exactly two of them, or numbers.
        resampling: How it is computed on many bootstrap samples at once; None if it is not a function of sums.
    """

    name: str
    title: str
    function: Score
    hub_name: str
    baseline_score: Callable[[np.ndarray], float]
    labels: Literal["classes", "two classes", "numbers"]
    resampling: ResamplingSums | None = None

    def suits(self, classes: int) -> bool:
        """Return whether the metric is for a task with this number of classes; 0 is a regression."""
        return {"numbers": classes == 0, "two classes": classes == 2, "classes": classes > 0}[self.labels]


def _accuracy(labels: np.ndarray, logits: np.ndarray) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels, logits.argmax(-1)))


def _f1(labels: np.ndarray, logits: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, logits.argmax(-1), zero_division=0.0))


def _matthews(labels: np.ndarray, logits: np.ndarray) -> float:
    """Return 0 for constant predictions, as scikit-learn defines it."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, logits.argmax(-1)))


def _pearson(labels: np.ndarray, logits: np.ndarray) -> float:
    from scipy.stats import pearsonr

    return _correlation(pearsonr, labels, logits)


def _spearman(labels: np.ndarray, logits: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return _correlation(spearmanr, labels, logits)


def _correlation(function: Callable, labels: np.ndarray, logits: np.ndarray) -> float:
    """Return 0 if one side is constant or there is one example, for which a correlation is undefined."""
    if len(labels) < 2:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(function(labels, logits[:, 0]).statistic)
    return 0.0 if np.isnan(value) else value


def _majority_share(labels: np.ndarray) -> float:
    return float(np.bincount(labels.astype(int)).max() / len(labels))


def _f1_of_always_one(labels: np.ndarray) -> float:
    return _f1(labels, np.tile([0.0, 1.0], (len(labels), 1)))


def _zero(labels: np.ndarray) -> float:
    return 0.0


def _hits(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return np.stack([logits.argmax(-1) == labels, np.ones(len(labels))], axis=1).astype(float)


def _accuracy_of_sums(sums: np.ndarray) -> np.ndarray:
    correct, n = sums
    return correct / n


def _confusion(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return one column per cell of the confusion matrix: tp, tn, fp, fn for two classes, else (truth, prediction)."""
    prediction, classes = logits.argmax(-1), range(logits.shape[1])
    cells = ((1, 1), (0, 0), (0, 1), (1, 0)) if len(classes) == 2 else [(t, p) for t in classes for p in classes]
    return np.stack([(labels == truth) & (prediction == p) for truth, p in cells], axis=1).astype(float)


def _f1_of_sums(sums: np.ndarray) -> np.ndarray:
    tp, _, fp, fn = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(tp > 0, 2 * tp / (2 * tp + fp + fn), 0.0)


def _matthews_of_sums(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        if len(sums) == 4:
            tp, tn, fp, fn = sums
            return (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        classes = round(len(sums) ** 0.5)
        cells = sums.reshape(classes, classes, *sums.shape[1:])  # (truth, prediction, ...)
        n, correct = sums.sum(0), np.trace(cells)
        true, predicted = cells.sum(1), cells.sum(0)  # (classes, ...)
        covariance = correct * n - (true * predicted).sum(0)
        return covariance / np.sqrt((n * n - (true**2).sum(0)) * (n * n - (predicted**2).sum(0)))


def _moments(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    x, y = (_standardized(values.astype(float)) for values in (labels, logits[:, 0]))
    return np.stack([np.ones(len(labels)), x, y, x * x, y * y, x * y], axis=1)


def _standardized(values: np.ndarray) -> np.ndarray:
    """Shift to mean 0 and scale to spread 1, so that sums of squares lose no digits."""
    return (values - values.mean()) / (values.std() or 1.0)


def _pearson_of_sums(sums: np.ndarray) -> np.ndarray:
    n, x, y, xx, yy, xy = sums
    spread_x, spread_y = n * xx - x * x, n * yy - y * y
    tiny = 1e-12 * n * n  # a constant side leaves only rounding
    with np.errstate(invalid="ignore", divide="ignore"):
        value = (n * xy - x * y) / np.sqrt(spread_x * spread_y)
    return np.where((spread_x > tiny) & (spread_y > tiny), value, np.nan)


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="accuracy",
            title="accuracy",
            function=_accuracy,
            hub_name="accuracy",
            baseline_score=_majority_share,
            labels="classes",
            resampling=ResamplingSums(_hits, _accuracy_of_sums),
        ),
        Metric(
            name="f1",
            title="F1",
            function=_f1,
            hub_name="f1",
            baseline_score=_f1_of_always_one,
            labels="two classes",
            resampling=ResamplingSums(_confusion, _f1_of_sums),
        ),
        Metric(
            name="matthews",
            title="Matthews correlation",
            function=_matthews,
            hub_name="matthews_correlation",
            baseline_score=_zero,
            labels="classes",
            resampling=ResamplingSums(_confusion, _matthews_of_sums),
        ),
        Metric(
            name="pearson",
            title="Pearson correlation",
            function=_pearson,
            hub_name="pearsonr",
            baseline_score=_zero,
            labels="numbers",
            resampling=ResamplingSums(_moments, _pearson_of_sums),
        ),
        Metric(
            name="spearman",
            title="Spearman correlation",
            function=_spearman,
            hub_name="spearmanr",
            baseline_score=_zero,
            labels="numbers",
        ),
    )
}


def default_metrics(classes: int) -> tuple[str, ...]:
    """Return the metrics of a task that names none; 0 classes is a regression."""
    return ("accuracy",) if classes else ("pearson", "spearman")
