"""How sure a difference of scores is over the validation examples: a crossed, paired bootstrap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000

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
