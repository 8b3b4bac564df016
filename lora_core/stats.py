"""How sure a figure is: intervals over seeds, paired resampling of examples, equivalence of latencies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_SEEDS = 3  # below that no verdict across seeds: two say next to nothing of how seeds differ
RESAMPLES = 2000
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
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return None
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(n)
    quantile = float(t.ppf((1 + level) / 2, n - 1))
    reach = quantile * error
    return Interval(mean, mean - reach, mean + reach, (quantile + float(t.ppf(POWER, n - 1))) * error)


# --- resampling validation examples ----------------------------------------------------------------------------------
# Each score is a function of sums over examples, so a thousand resamples are one product of matrices: the counts of
# the examples drawn (resamples, examples) times what each example adds to the sums (examples, sums).


def _accuracy(sums: np.ndarray) -> np.ndarray:
    correct, n = sums
    return correct / n


def _matthews(sums: np.ndarray) -> np.ndarray:
    tp, tn, fp, fn = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        return (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


def _pearson(sums: np.ndarray) -> np.ndarray:
    n, x, y, xx, yy, xy = sums
    spread_x, spread_y = n * xx - x * x, n * yy - y * y
    tiny = 1e-12 * n * n  # a constant side leaves only rounding
    with np.errstate(invalid="ignore", divide="ignore"):
        value = (n * xy - x * y) / np.sqrt(spread_x * spread_y)
    return np.where((spread_x > tiny) & (spread_y > tiny), value, np.nan)


def _adds(metric: str, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """What each example adds to the sums of a score, (examples, sums)."""
    ones = np.ones(len(labels))
    if metric == "pearson":
        x, y = (_standard(values.astype(float)) for values in (labels, logits[:, 0]))
        return np.stack([ones, x, y, x * x, y * y, x * y], axis=1)
    guess = logits.argmax(-1)
    if metric == "accuracy":
        return np.stack([guess == labels, ones], axis=1).astype(float)
    if metric == "matthews":
        return np.stack([(guess == g) & (labels == y) for g, y in ((1, 1), (0, 0), (1, 0), (0, 1))], axis=1).astype(
            float
        )
    raise ValueError(f"no resampling is known for the metric {metric!r}")


def _standard(values: np.ndarray) -> np.ndarray:
    """Around 0 and of spread 1, so that sums of squares lose no digits."""
    return (values - values.mean()) / (values.std() or 1.0)


SCORES = {"accuracy": _accuracy, "matthews": _matthews, "pearson": _pearson}


@dataclass(frozen=True)
class Resampled:
    """A difference of mean scores over seeds with its percentile interval over examples; `redrawn` resamples had no
    score (a constant guess) and were drawn again."""

    estimate: float
    low: float
    high: float
    redrawn: int


def paired_bootstrap(
    metric: str,
    labels: np.ndarray,
    ours: Sequence[np.ndarray],
    theirs: Sequence[np.ndarray],
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Resampled | None:
    """mean score of `ours` - mean score of `theirs`: logits (examples, outputs), one array a seed.

    Crossed and paired: the same drawn examples for every seed and both methods. None where a run's score is
    undefined on the whole set already (constant predictions), for then every resample's is.
    """
    score = SCORES[metric]
    adds = [[_adds(metric, labels, logits) for logits in side] for side in (ours, theirs)]
    whole = [np.mean([score(a.sum(0)) for a in side]) for side in adds]
    if not np.isfinite(whole).all():
        return None
    generator = np.random.default_rng(0)
    size = len(labels)
    kept: list[float] = []
    drawn = 0
    while len(kept) < resamples and drawn < 20 * resamples:
        counts = generator.multinomial(size, np.full(size, 1 / size), size=resamples).astype(float)
        means = [np.mean([score((counts @ a).T) for a in side], axis=0) for side in adds]
        difference = means[0] - means[1]
        take = difference[np.isfinite(difference)]
        room = resamples - len(kept)
        # Only what was looked at counts as drawn: up to the resample that filled the last place.
        looked = resamples if len(take) <= room else int(np.flatnonzero(np.isfinite(difference))[room - 1]) + 1
        drawn += looked
        kept += take[:room].tolist()
    if len(kept) < resamples:
        return None
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return Resampled(float(whole[0] - whole[1]), float(low), float(high), drawn - resamples)


# --- equivalence -----------------------------------------------------------------------------------------------------


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
