"""Times measured side by side, and what a benchmark says: a ratio with its interval against a goal."""

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from lora_core.stats import t_interval


@dataclass(frozen=True)
class Row:
    """One line of the table. `goal` None: told, not judged. `value` None: not measured, and `note` says why."""

    what: str
    against: str
    value: float | None
    goal: tuple[str, float] | None = None  # ("<=" or ">=", bound); ("+-", share) around 1
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """met, missed, or nothing where there is no goal."""
        if self.goal is None or self.value is None:
            return "" if self.value is not None else "n/a"
        sign, bound = self.goal
        good = {
            "<=": self.value <= bound,
            ">=": self.value >= bound,
            "+-": abs(self.value - 1) <= bound,
        }[sign]
        return "met" if good else "missed"


def interleaved(ways: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of each way in each round; every round runs all, in an order of its own, and the first are not kept.

    A way that returns a number has timed itself.
    """
    shuffle = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warm_up + rounds):
        for name in shuffle.sample(list(ways), len(ways)):
            begun = time.perf_counter()
            own = ways[name]()
            spent = time.perf_counter() - begun
            if number >= warm_up:
                seconds[name].append(own if isinstance(own, float) else spent)
    return seconds


def ratio(
    what: str,
    against: str,
    over: Sequence[float],
    under: Sequence[float],
    goal: tuple[str, float] | None = None,
    note: str = "",
) -> Row:
    """The geometric mean of over / under, paired by round, with its 95% interval."""
    logs = [math.log(a / b) for a, b in zip(over, under, strict=True)]
    interval = t_interval(logs)
    note = note or f"{1e3 * median(over):.3g} / {1e3 * median(under):.3g} ms"
    if interval is None:
        return Row(what, against, math.exp(logs[0]), goal, note=note)
    value, low, high = (math.exp(v) for v in (interval.estimate, interval.low, interval.high))
    return Row(what, against, value, goal, low, high, note)


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| what | against | ratio | goal | | |", "| --- | --- | ---: | ---: | --- | --- |"]
    signs = {"<=": "≤ ", ">=": "≥ ", "+-": "1.00 ± "}
    for row in rows:
        value = "n/a" if row.value is None else f"{row.value:.3g}"
        if row.low is not None and row.high is not None:
            value += f" [{row.low:.3g}, {row.high:.3g}]"
        goal = "" if row.goal is None else f"{signs[row.goal[0]]}{row.goal[1]:.3g}"
        lines.append(f"| {row.what} | {row.against} | {value} | {goal} | {row.verdict} | {row.note} |")
    return "\n".join(lines) + "\n"
