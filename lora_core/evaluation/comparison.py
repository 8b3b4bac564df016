"""One figure of LoRA relative to full fine-tuning, and whether the study decides it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lora_core.decimals import plain
from lora_core.evaluation.claim_rules import MORE_SEEDS
from lora_core.stats import Interval

DECIDED, UNDECIDED, UNMEASURED = "decided", "undecided", "not measured"


@dataclass(frozen=True)
class Comparison:
    """LoRA / full fine-tuning, or for the score the difference in points.

    Attributes:
        name: Of the quantity, as a key.
        title: Of the quantity, as text.
        value: The mean over tasks: of the difference, or the geometric mean of the ratio; None if not measured.
        low: The lower bound of its interval; None without an interval, as the upper bound.
        n: How many seeds, or rounds of timing, the figure is from; None for a count.
        adapter: LoRA's own figure in `unit`, the mean over tasks; None if not measured, as that of full fine-tuning.
        bounds: What the bounds are, unless they are those of an interval of the value.
        by_seed: The value for each seed.
        state: DECIDED if the interval tells the direction (for latency, by the claim's rule), UNDECIDED or UNMEASURED.
        outcome: What is decided, as a word; empty unless it is decided.
        reasons: Why the figure decides nothing, or is missing.
        needs: What would decide or measure it, as in `claim_rules`; empty if the reasons say so.
        note: What else is known.
    """

    name: str
    title: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    adapter: float | None = None
    full: float | None = None
    unit: str = ""
    bounds: str = ""
    by_seed: tuple[float, ...] = ()
    state: str = UNMEASURED
    outcome: str = ""
    reasons: tuple[str, ...] = ()
    needs: str = ""
    note: str = ""

    @property
    def is_difference(self) -> bool:
        """Whether the value is a difference in points; else it is a ratio."""
        return self.name == "score"

    @property
    def text(self) -> str:
        """The value as a person reads it; empty if it was not measured."""
        return "" if self.value is None else self._show(self.value)

    @property
    def interval_text(self) -> str:
        """The interval, else the range over seeds, else nothing."""
        if self.low is not None and self.high is not None:
            bounds = ", ".join(self._show(bound, unit=False) for bound in (self.low, self.high))
            return f"[{bounds}; {self.bounds}]" if self.bounds else f"[{bounds}]"
        if len(self.by_seed) > 1:
            shown = [self._show(bound, unit=False) for bound in (min(self.by_seed), max(self.by_seed))]
            return f"seeds: {shown[0]} to {shown[1]}" if shown[0] != shown[1] else f"seeds: all {shown[0]}"
        return ""

    @property
    def sample_text(self) -> str:
        """How many seeds or rounds the figure is from."""
        if self.n is None:
            return "a count, exact" if self.value is not None else ""
        of = "round" if self.name == "latency" else "seed"
        return f"n = {self.n} {of}{'' if self.n == 1 else 's'}"

    @property
    def figures_text(self) -> str:
        """Both figures with their unit, LoRA first; empty if they were not measured."""
        if self.adapter is None or self.full is None:
            return ""
        adapter, full = (f"{v:,.0f}" if self.name == "parameters" else _digits(v) for v in (self.adapter, self.full))
        return f"{adapter} / {full}{' ' if self.unit else ''}{self.unit}"

    @property
    def state_text(self) -> str:
        """The state in a few words: what is decided, or what would decide it."""
        if self.state == DECIDED:
            return f"{self.state}: {self.outcome}"
        if self.needs == MORE_SEEDS:
            return f"{self.state}: three seeds decide"
        if self.needs:
            return f"{self.state}: needs {self.needs}"
        reasons = "; ".join(short_reasons(self.reasons)[: 2 if self.value is None else 1])
        return f"{self.state}: {reasons}" if reasons else self.state

    def _show(self, value: float, unit: bool = True) -> str:
        if self.is_difference:
            return f"{points(value)} points" if unit else points(value)
        if self.name == "parameters":
            return f"{plain(100 * value, 2)} %"
        return f"{value:.2f}" if 0.095 <= value < 99.5 else plain(value, 2)


def short_reasons(reasons: Sequence[str]) -> list[str]:
    """Return the reasons of `relative_changes` without the runs, and without the tasks that follow from those."""
    about_runs = [reason for reason in reasons if not reason.startswith("without ")]
    return list(map(_without_names, about_runs or reasons))


def _without_names(reason: str) -> str:
    """Return a reason without the list that follows a colon outside of brackets."""
    heads = (reason[: match.start()] for match in re.finditer(": ", reason))
    return next((head for head in heads if head.count("(") == head.count(")")), reason)


def points(value: float) -> str:
    """Return a signed difference with one decimal; a difference that rounds to zero has no sign."""
    text = f"{value:+.1f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def points_between(low: float, high: float) -> str:
    """Return the bounds of a difference in words, such as "2.9 lower to 1.7 higher"."""
    bounds = [points(bound) for bound in (low, high)]
    words = ["" if text == "0.0" else "higher" if text.startswith("+") else "lower" for text in bounds]
    if words[0] == words[1]:
        words[0] = ""
    return " to ".join(f"{text.lstrip('+−')} {word}".rstrip() for text, word in zip(bounds, words, strict=True))


def direction(interval: Interval | None, no_effect: float, words: tuple[str, str]) -> str:
    """Return the word for below or above the bound of no effect; empty if the interval leaves it open.

    A spread of zero between seeds decides nothing.
    """
    if interval is None or not interval.has_spread:
        return ""
    return words[0] if interval.high < no_effect else words[1] if interval.low > no_effect else ""


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else plain(value, 3)
