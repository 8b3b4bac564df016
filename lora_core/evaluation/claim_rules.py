"""The rules that turn an interval into a verdict on a claim.

A claim is reproduced if the whole interval is on its side, not reproduced if the whole interval is on the other side,
and undecided otherwise. Below three seeds there is no interval over seeds. Figures are in the unit of the claim
(points, percent or a ratio), and one tolerance decides ties at every bound.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lora_core.data.tasks import task_title
from lora_core.stats import MIN_SEEDS, TIE, Interval, t_interval

NOT_AVAILABLE = "n/a"

Rule = Callable[[Interval | None], str]

REPRODUCED, REFUTED, UNDECIDED, UNMEASURED = "reproduced", "not reproduced", "undecided", "not measured"

# What would decide an open claim; empty if the verdict's reason says it.
MORE_SEEDS, GPU, METER = "more seeds", "a GPU", "a power meter"
QUIET_TIMING = "timings that spread less"
UNDISTURBED = "complete runs that nothing disturbed"
ALL_TASKS = "all five tasks of the paper"
OTHER_METHODS = "a method that this study does not have"
SINGLE_STEPS = "a measurement of single steps (make regimes)"
FROM_MNLI = "runs on RTE that start from MNLI"


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        title: The claim in one clause.
        published: The paper's figure.
        rule: How this study judges it.
    """

    title: str
    published: str
    rule: str


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim, with this study's figure as text.

    Attributes:
        verdict: One of REPRODUCED, REFUTED, UNDECIDED, UNMEASURED.
        ours: This study's figure; None if there is none.
        interval: The figure's interval; None if there is none.
        detectable: The smallest effect that this study would find; None if that is unknown.
        reason: Why the claim could not be judged, if the records say why.
        needs: What would decide it: one of the constants above, or empty.
    """

    claim: Claim
    verdict: str
    ours: str | None = None
    interval: str | None = None
    detectable: str | None = None
    reason: str | None = None
    needs: str = ""


def above(interval: Interval | None, bound: float) -> str:
    """Judge whether a figure is above a bound; at the bound it is not."""
    if interval is None:
        return UNDECIDED
    return REPRODUCED if interval.low > bound + TIE else REFUTED if interval.high <= bound + TIE else UNDECIDED


def within(interval: Interval | None, low: float, high: float) -> str:
    """Judge whether a figure is between two bounds, which are included."""
    if interval is None:
        return UNDECIDED
    if interval.low >= low - TIE and interval.high <= high + TIE:
        return REPRODUCED
    return REFUTED if interval.high < low - TIE or interval.low > high + TIE else UNDECIDED


def judge_seeds(rule: Rule, interval: Interval | None, *, identical: bool = False) -> str:
    """Apply a rule to an interval over seeds.

    A spread of zero between seeds decides nothing, unless the two sides are known to be `identical` for every seed.
    """
    return UNDECIDED if interval is not None and not (interval.has_spread or identical) else rule(interval)


def every(verdicts: Mapping[str, str], required: Sequence[str]) -> str:
    """Judge a claim about every one of the `required` tasks (or seeds) from the verdicts by task.

    One refutation refutes the claim; one that is undecided, or missing in the study, leaves it undecided.
    """
    if not verdicts:
        return UNMEASURED
    answers = [verdicts.get(name, UNDECIDED) for name in required]
    return next((answer for answer in (REFUTED, UNDECIDED) if answer in answers), REPRODUCED)


def over_seeds(values: Sequence[float]) -> Interval | None:
    """Return the t-interval of independent seeds; None below three."""
    return t_interval(values) if len(values) >= MIN_SEEDS else None


def by_task(values: Mapping[str, object], show: Callable) -> str | None:
    """List values by task, such as "CoLA +0.5; RTE +1.0"; None if there are none."""
    return "; ".join(f"{task_title(task)} {show(value)}" for task, value in values.items()) or None


def with_missing(text: str | None, present: Iterable[str], tasks: Sequence[str]) -> str | None:
    """Add the tasks that a claim is about and the study has no figure for."""
    missing = [task_title(task) for task in tasks if task not in set(present)]
    return f"{text} (without {', '.join(missing)})" if text and missing else text
