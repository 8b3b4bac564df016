"""How regular the samples of a run were; a long gap between two of them shows that the run was suspended."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lora_core.records import PowerRow

LATE = 1.1  # a sample is late if it comes after this multiple of the interval
# A sample that comes later than this was not taken because the process did not run: it was stopped, or the machine was
# asleep. A driver that does not answer delays a sample by less (`nvml.ANSWER_SECONDS`), as do busy processors.
SUSPENDED_SECONDS = 2.5


@dataclass(frozen=True)
class Sampling:
    """How regular the samples of windows were.

    Attributes:
        samples: How many there are.
        late: Samples that came late.
        missed: Intervals in which no sample came.
        longest_gap_seconds: The longest time between two samples.
        suspended_seconds: The time in which the process did not run.
    """

    samples: int
    late: int
    missed: int
    longest_gap_seconds: float
    suspended_seconds: float


def sampling(pooled: Sequence[Sequence[PowerRow]], interval: float) -> Sampling:
    """Return how regular the samples of several windows were, for the interval between them that was asked for."""
    gaps = [after.seconds - before.seconds for window in pooled for before, after in pairwise(window)]
    return Sampling(
        samples=sum(map(len, pooled)),
        late=sum(gap > LATE * interval for gap in gaps),
        missed=sum(max(0, round(gap / interval) - 1) for gap in gaps),
        longest_gap_seconds=max(gaps, default=0.0),
        suspended_seconds=sum((gap - interval for gap in gaps if gap > interval + SUSPENDED_SECONDS), 0.0),
    )
