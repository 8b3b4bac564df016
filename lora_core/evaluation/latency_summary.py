"""What the raw passes of a latency file say: medians, tails, and whether a method is as fast as full fine-tuning."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lora_core.records import FULL, LatencyRow
from lora_core.stats import Equivalence, equivalence

VARIANTS = ("plain", "merged", "unmerged")


@dataclass(frozen=True)
class Timing:
    """One variant of one method in one mode (a pass over the validation set, or single examples)."""

    method: str
    variant: str
    mode: str
    rounds: int
    p50_seconds: float
    p95_seconds: float
    examples_per_second: float
    against: Equivalence | None  # to the reference, round by round; None for the reference and without one


def summarize(
    rows: Sequence[LatencyRow], mode: str, margin: float, against: tuple[str, str] = (FULL, "plain")
) -> list[Timing]:
    """One Timing per method and variant, in the order of the rows, each held against one of them.

    Rounds are compared pairwise, so that what slows a whole round slows both sides of a ratio.
    """
    groups: dict[tuple[str, str], dict[int, LatencyRow]] = {}
    for row in rows:
        if row.mode == mode:
            groups.setdefault((row.method, row.variant), {})[row.round] = row
    reference = groups.get(against, {})
    found = []
    for (method, variant), group in groups.items():
        times = np.array([row.seconds for row in group.values()])
        median = float(np.median(times))
        found.append(
            Timing(
                method,
                variant,
                mode,
                rounds=len(times),
                p50_seconds=median,
                p95_seconds=float(np.quantile(times, 0.95)),
                examples_per_second=next(iter(group.values())).examples / median,
                against=None if group is reference else equivalence(_log_ratios(group, reference), margin),
            )
        )
    return found


def _log_ratios(group: dict[int, LatencyRow], reference: dict[int, LatencyRow]) -> list[float]:
    return [math.log(row.seconds / reference[n].seconds) for n, row in group.items() if n in reference]


def decided(timings: Iterable[Timing]) -> bool:
    """Whether every merged variant's comparison has an answer."""
    merged = [timing.against for timing in timings if timing.variant == "merged" and timing.against]
    return all(against.verdict != "undecided" for against in merged)
