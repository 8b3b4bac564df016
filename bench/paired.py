"""Interleaved timings, and the rows of the table: a ratio with its interval, compared with a goal."""

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from lora_core.reporting.digits import FIGURES
from lora_core.stats import t_interval


@dataclass(frozen=True)
class Goal:
    """What a ratio should be: at most or at least `bound`, or within `bound` of 1 ("+-")."""

    sign: Literal["<=", ">=", "+-"]
    bound: float

    def is_met(self, value: float) -> bool:
        """Return whether a ratio meets the goal."""
        return {
            "<=": value <= self.bound,
            ">=": value >= self.bound,
            "+-": abs(value - 1) <= self.bound,
        }[self.sign]

    def __str__(self) -> str:
        return {"<=": "≤ ", ">=": "≥ ", "+-": "1.00 ± "}[self.sign] + f"{self.bound:.3g}"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: What was measured.
        compared_with: What the ratio refers to.
        value: The ratio; None if it was not measured, and `details` gives the reason.
        goal: None if the ratio is reported without being judged.
        low: The lower end of the 95% interval; None without an interval.
        high: Its upper end.
        details: The figures that the ratio comes from.
    """

    what: str
    compared_with: str
    value: float | None
    goal: Goal | None = None
    low: float | None = None
    high: float | None = None
    details: str = ""

    @property
    def result(self) -> str:
        """Whether the goal is met; empty without a goal."""
        if self.value is None:
            return "n/a"
        if self.goal is None:
            return ""
        return "met" if self.goal.is_met(self.value) else "missed"

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Row":
        """Return the row that bench.json holds as its fields and `result`."""
        fields = {name: value for name, value in content.items() if name != "result"}
        return cls(**fields | {"goal": Goal(**fields["goal"]) if fields["goal"] else None})


def interleaved(variants: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Return the seconds of each variant in each round.

    Every round runs all variants, in a random order. The rounds of the warm-up are not counted. A variant that returns
    a float has measured its own time.
    """
    shuffle = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(warm_up + rounds):
        for name in shuffle.sample(list(variants), len(variants)):
            started = time.perf_counter()
            result = variants[name]()
            elapsed = time.perf_counter() - started
            if number >= warm_up:
                seconds[name].append(result if isinstance(result, float) else elapsed)
    return seconds


def ratio(
    what: str,
    compared_with: str,
    numerator: Sequence[float],
    denominator: Sequence[float],
    goal: Goal | None = None,
    details: str = "",
) -> Row:
    """Return the geometric mean of numerator / denominator, paired by round, with its 95% interval."""
    logs = [math.log(a / b) for a, b in zip(numerator, denominator, strict=True)]
    interval = t_interval(logs)
    details = details or f"{FIGURES.one(1e3 * median(numerator))} / {FIGURES.one(1e3 * median(denominator))} ms"
    if interval is None:
        return Row(what, compared_with, math.exp(logs[0]), goal, details=details)
    value, low, high = (math.exp(v) for v in (interval.estimate, interval.low, interval.high))
    return Row(what, compared_with, value, goal, low, high, details)


def fastest(seconds: Mapping[str, Sequence[float]], *names: str) -> str:
    """Return the name with the lowest median."""
    return min(names, key=lambda name: median(seconds[name]))


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| what | compared with | ratio | goal | result | details |", "| --- | --- | ---: | ---: | --- | --- |"]
    for row in rows:
        value = "n/a" if row.value is None else f"{row.value:.3g}"
        if row.low is not None and row.high is not None:
            value += f" [{row.low:.3g}, {row.high:.3g}]"
        goal = "" if row.goal is None else str(row.goal)
        lines.append(f"| {row.what} | {row.compared_with} | {value} | {goal} | {row.result} | {row.details} |")
    return "\n".join(lines) + "\n"
