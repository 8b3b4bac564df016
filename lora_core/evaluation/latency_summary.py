"""What the timed passes of a latency file show: medians, tails, and whether a method is as fast as another."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lora_core.records import LatencyRow
from lora_core.stats import Equivalence, equivalence

VARIANTS = ("plain", "merged", "unmerged")

# Ratios are examined while rounds are added, so the error of 5% of each one-sided test is divided among the looks:
# after `latency_passes` rounds, and whenever their number has doubled. With intervals of 98% (1% on each side), six
# looks err in under 5% of the comparisons whose true ratio lies at the margin (test_latency_looks.py simulates them).
LOOKS = 6
LEVEL = 0.98

Variant = tuple[str, str]  # method, and one of VARIANTS


@dataclass(frozen=True)
class Timing:
    """One variant of one method in one mode ("pass": over the validation set; "single": one example).

    `comparison` compares it with the reference round by round; None for the reference itself, and without a reference.
    """

    method: str
    variant: str
    mode: str
    rounds: int
    p50_seconds: float
    p95_seconds: float
    examples_per_second: float
    comparison: Equivalence | None


def look_after(rounds: int, passes: int) -> bool:
    """Return whether ratios are examined after this many rounds: `passes`, twice, four times as many, and so on."""
    return rounds in [passes << look for look in range(LOOKS)]


def summarize(
    rows: Sequence[LatencyRow], mode: str, margin: float, against: Variant | None, level: float = LEVEL
) -> list[Timing]:
    """Return one Timing per method and variant in the order of the rows, each compared with the variant `against`.

    Rounds are compared in pairs, so that whatever slows down a whole round slows down both sides of a ratio. Nothing
    is compared if `against` is None or was not timed. `level` is that of the ratios' intervals.
    """
    groups: dict[Variant, dict[int, LatencyRow]] = {}
    for row in rows:
        if row.mode == mode:
            groups.setdefault((row.method, row.variant), {})[row.round] = row
    reference = groups.get(against, {}) if against else {}
    timings = []
    for (method, variant), group in groups.items():
        seconds = np.array([row.seconds for row in group.values()])
        median = float(np.median(seconds))
        timings.append(
            Timing(
                method,
                variant,
                mode,
                rounds=len(seconds),
                p50_seconds=median,
                p95_seconds=float(np.quantile(seconds, 0.95)),
                examples_per_second=next(iter(group.values())).examples / median,
                comparison=None if group is reference else equivalence(_log_ratios(group, reference), margin, level),
            )
        )
    return timings


def _log_ratios(group: dict[int, LatencyRow], reference: dict[int, LatencyRow]) -> list[float]:
    return [math.log(row.seconds / reference[n].seconds) for n, row in group.items() if n in reference]


def decided(timings: Iterable[Timing]) -> bool:
    """Return whether the comparison of every merged variant has a verdict."""
    compared = [timing.comparison for timing in timings if timing.variant == "merged" and timing.comparison]
    return all(comparison.verdict != "undecided" for comparison in compared)
