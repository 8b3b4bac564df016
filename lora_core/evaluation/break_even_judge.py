"""The judge of claims about break-even: an adapter costs less exactly where its epochs stay below the predicted one."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lora_core.data.tasks import PAPER_TASKS, task_title
from lora_core.evaluation.break_even import TO_THRESHOLD, Quantity
from lora_core.evaluation.claim_evidence import Evidence
from lora_core.evaluation.claim_judges import more_seeds, needed, without_figure
from lora_core.evaluation.claim_rules import (
    METER,
    REFUTED,
    REPRODUCED,
    SINGLE_STEPS,
    UNDECIDED,
    UNMEASURED,
    Claim,
    Verdict,
    by_task,
    every,
    over_seeds,
)
from lora_core.evaluation.comparison import points
from lora_core.evaluation.relative_changes import RelativeChanges, relative_changes
from lora_core.stats import TIE, Interval, corrected

EPOCHS = "epochs_to_threshold"


@dataclass(frozen=True)
class CheaperBelowBreakEven:
    """Judges on which side of break-even the adapter's epochs are, and of full fine-tuning's cost its cost.

    The break-even comes from single steps, so that it is a prediction: computed from the runs that it is compared with,
    it would be algebra.
    """

    quantity: Quantity
    roles: ClassVar[tuple[str, ...]] = ("full", "adapter")

    def __call__(self, claim: Claim, evidence: Evidence) -> Verdict:
        """Judge the intervals over seeds, task by task; one refutes the claim at a level for the number of tasks."""
        costs, column = evidence.costs, TO_THRESHOLD[self.quantity]
        cost = _changes(evidence, column, PAPER_TASKS)
        if cost.ratio_of_sums is None:
            unread = self.quantity == "energy" and costs[column].isna().all()
            return without_figure(claim, evidence, cost, PAPER_TASKS, METER if unread else "")
        allowed = evidence.regimes.break_evens(self.quantity) if evidence.regimes else {}
        epochs = _changes(evidence, EPOCHS, list(map(str, cost.by_seed)))
        tasks = [_Task.of(str(task), cost, epochs, allowed[str(task)]) for task in cost.by_seed if task in allowed]
        if not tasks:
            return self._without_break_even(claim, evidence)
        reasons = list(dict.fromkeys([*cost.reasons, *epochs.reasons, *_without_comparison(evidence, cost, allowed)]))
        shown = by_task({one.task: one for one in tasks}, _Task.figures)
        changes = {one.task: one.cost for one in tasks}
        known = any(changes.values())
        return Verdict(
            claim,
            UNDECIDED if reasons else every({one.task: one.verdict(len(tasks)) for one in tasks}, PAPER_TASKS),
            f"{shown} ({'; '.join(reasons)})" if reasons else shown,
            by_task(changes, _percent_interval) if known else None,
            by_task(changes, lambda one: f"{100 * math.expm1(one.detectable):.1f} %") if known else None,
            needs=needed(evidence, PAPER_TASKS, reasons, more_seeds(evidence)),
        )

    def _without_break_even(self, claim: Claim, evidence: Evidence) -> Verdict:
        if evidence.regimes is None:
            return Verdict(claim, UNMEASURED, reason="single steps were not measured", needs=SINGLE_STEPS)
        needs = METER if self.quantity == "energy" else SINGLE_STEPS
        reason = f"the measurement of single steps has no {self.quantity} of a task"
        return Verdict(claim, UNMEASURED, reason=reason, needs=needs)


def _changes(evidence: Evidence, column: str, tasks: Sequence[str]) -> RelativeChanges:
    return relative_changes(evidence.costs, column, evidence.references, tasks, evidence.labels)


def _without_comparison(evidence: Evidence, cost: RelativeChanges, allowed: Mapping[str, float]) -> Iterator[str]:
    """Say what keeps the break-even from being compared: a task without one, or another device."""
    if missing := [task_title(str(task)) for task in cost.by_seed if task not in allowed]:
        yield f"no break-even of {', '.join(missing)}"
    steps, runs = evidence.regimes and evidence.regimes.measured_on, set(evidence.costs["device"])
    if steps and runs != {steps}:
        yield f"steps were measured on {steps}, runs on {' and '.join(sorted(runs))}"


@dataclass(frozen=True)
class _Task:
    """A task: intervals over seeds of the logarithms of cost (adapter / full) and of epochs / break-even."""

    task: str
    took: float
    allowed: float
    change: float
    cost: Interval | None
    epochs: Interval | None
    seeds: int

    @classmethod
    def of(cls, task: str, cost: RelativeChanges, epochs: RelativeChanges, allowed: float) -> "_Task":
        """Compare what a task's runs cost and took with the break-even."""
        seeds = cost.by_seed.index
        costs, taken = (np.log(changes.by_seed.loc[seeds, task].astype(float)) for changes in (cost, epochs))
        return cls(
            task, math.exp(taken.mean()), allowed, math.exp(costs.mean()), over_seeds(list(costs)),
            over_seeds(list(taken - math.log(allowed))), len(costs),
        )  # fmt: skip

    def verdict(self, comparisons: int) -> str:
        """Judge whether cost and epochs are on the same side; that they are not takes the corrected intervals."""
        if self.cost is None or self.epochs is None or not self.cost.has_spread:
            return UNDECIDED
        sides = _side(self.cost), _side(self.epochs)
        if 0 not in sides and sides[0] == sides[1]:
            return REPRODUCED
        strict = [_side(corrected(one, self.seeds, comparisons)) for one in (self.cost, self.epochs)]
        return UNDECIDED if 0 in strict or strict[0] == strict[1] else REFUTED

    def figures(self) -> str:
        """The epochs that the adapter took, the break-even, and what followed for the cost."""
        return f"{self.took:.2f} (break-even {self.allowed:.2f}), {points(100 * (self.change - 1))} %"


def _side(interval: Interval) -> int:
    """Whether an interval is below 0 (-1), above (1), or contains it (0)."""
    return -1 if interval.high < -TIE else 1 if interval.low > TIE else 0


def _percent_interval(logs: Interval | None) -> str:
    if logs is None:
        return "n/a"
    low, high = (100 * math.expm1(bound) for bound in (logs.low, logs.high))
    return f"[{points(low)}, {points(high)}] %"
