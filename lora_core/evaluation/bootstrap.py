"""The uncertainty of a score difference over the validation examples: a crossed, paired bootstrap.

A metric's `resampling` (`lora_core.data.metrics`) expresses it as a function of sums over examples, so a thousand
resamples are one matrix product: how often each example was drawn, (resamples, examples), times what each example adds
to the sums, (examples, sums).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lora_core.data.metrics import METRICS

RESAMPLES = 2000
MAX_DRAWS = 20  # give up after this many times as many draws as resamples are wanted


@dataclass(frozen=True)
class Resampled:
    """A difference of mean scores over seeds with its percentile interval over examples.

    `redrawn` resamples had an undefined score (constant predictions or labels) and were drawn again.
    """

    estimate: float
    low: float
    high: float
    redrawn: int


def paired_bootstrap(
    metric: str,
    labels: np.ndarray,
    method: Sequence[np.ndarray],
    against: Sequence[np.ndarray],
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Resampled | None:
    """Return mean score of `method` minus mean score of `against`, each a list of logits (examples, outputs) by seed.

    Crossed and paired: the same drawn examples for every seed and both methods. None if a run's score is undefined on
    the whole set (constant predictions), because then it is undefined on every resample; if too few resamples have a
    score; and for a metric that is not a function of sums.
    """
    resampling = METRICS[metric].resampling
    if resampling is None:
        return None
    added = [[resampling.per_example(labels, logits) for logits in side] for side in (method, against)]
    estimates = [np.mean([resampling.score(sums.sum(0)) for sums in side]) for side in added]
    if not np.isfinite(estimates).all():
        return None
    differences, redrawn = _resample(resampling.score, added, resamples)
    if len(differences) < resamples:
        return None
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    return Resampled(float(estimates[0] - estimates[1]), float(low), float(high), redrawn)


def _resample(
    score: Callable[[np.ndarray], np.ndarray], added: Sequence[Sequence[np.ndarray]], resamples: int
) -> tuple[list[float], int]:
    """Return the differences of the resamples that have a score, and how many had none and were drawn again.

    `added` holds the two sides, each with one array (examples, sums) per seed.
    """
    generator = np.random.default_rng(0)
    size = len(added[0][0])
    differences: list[float] = []
    drawn = 0
    while len(differences) < resamples and drawn < MAX_DRAWS * resamples:
        counts = generator.multinomial(size, np.full(size, 1 / size), size=resamples).astype(float)
        means = [np.mean([score((counts @ sums).T) for sums in side], axis=0) for side in added]
        difference = means[0] - means[1]
        defined = np.flatnonzero(np.isfinite(difference))
        needed = resamples - len(differences)
        # Only resamples up to the one that filled the last place count as drawn.
        drawn += resamples if len(defined) <= needed else int(defined[needed - 1]) + 1
        differences += difference[defined[:needed]].tolist()
    return differences, drawn - resamples
