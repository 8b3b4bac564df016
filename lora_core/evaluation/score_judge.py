"""The judge of claims about scores: the difference between two references, task by task."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.claim_evidence import Evidence
from lora_core.evaluation.claim_judges import more_seeds, needed
from lora_core.evaluation.claim_rules import (
    NOT_AVAILABLE,
    REFUTED,
    UNDECIDED,
    Claim,
    Rule,
    Verdict,
    by_task,
    every,
    judge_seeds,
    with_missing,
)
from lora_core.evaluation.comparison import points
from lora_core.stats import Interval, corrected


@dataclass(frozen=True)
class ScoreDifference:
    """Judges the difference of best scores, in points, between two references on every one of some tasks.

    They are the scores on the test split where a task has one.
    """

    method: str
    baseline: str
    tasks: Sequence[str]
    rule: Rule

    @property
    def roles(self) -> tuple[str, ...]:
        """Both sides of the difference."""
        return self.method, self.baseline

    def __call__(self, claim: Claim, evidence: Evidence) -> Verdict:
        """Judge the interval over seeds, task by task; one refutes the claim at a level for the number of tasks."""
        differences = evidence.judged_differences
        selected = differences[
            (differences["method"] == getattr(evidence.references, self.method))
            & (differences["against"] == getattr(evidence.references, self.baseline))
            & differences["task"].isin(self.tasks)
        ]
        compared = {str(row["task"]): _Compared.of(row, evidence) for _, row in selected.iterrows()}
        intervals = {task: one.interval for task, one in compared.items()}
        ours = with_missing(by_task(compared, lambda one: points(one.points)), compared, self.tasks)
        tasks_of: dict[str, list[str]] = {}
        for task, one in compared.items():
            for remark in one.remarks:
                tasks_of.setdefault(remark, []).append(task_title(task))
        remarks = [f"{', '.join(tasks)}: {remark}" for remark, tasks in tasks_of.items()]
        return Verdict(
            claim,
            every({task: one.verdict(self.rule, len(compared)) for task, one in compared.items()}, self.tasks),
            f"{ours} ({'; '.join(remarks)})" if remarks else ours,
            by_task(intervals, _points) if any(intervals.values()) else None,
            by_task(intervals, _detectable) if any(intervals.values()) else None,
            needs=needed(evidence, self.tasks, (), more_seeds(evidence) if compared else ""),
        )


@dataclass(frozen=True)
class _Compared:
    """The scores of two methods on one task: their difference in points, and what the predictions show.

    `at_baseline` are the methods that are no better than the majority-class baseline, or predict a single class for
    most seeds. `identical` counts the seeds, of `seeds`, for which both make the same predictions; `missing` those of
    the study that one of the methods lacks.
    """

    points: float
    interval: Interval | None
    seeds: int
    identical: int
    missing: int
    at_baseline: tuple[str, ...]

    @classmethod
    def of(cls, row: pd.Series, evidence: Evidence) -> "_Compared":
        """Read a row of the differences of a study."""
        figures = (100 * row["difference"], 100 * row["low"], 100 * row["high"], 100 * row["detectable"])
        return cls(
            points=figures[0],
            interval=None if pd.isna(row["low"]) else Interval(*figures),
            seeds=int(row["seeds"]),
            identical=int(row["identical_predictions"]),
            missing=evidence.seeds - int(row["seeds"]),
            at_baseline=tuple(
                evidence.label(row[side]) for side in ("method", "against") if row[f"{side}_at_baseline"]
            ),
        )

    def verdict(self, rule: Rule, comparisons: int) -> str:
        """Judge the difference: two methods that both learned nothing, or a missing run, decide nothing.

        It is one of some comparisons of which a single one refutes the claim, so that takes the corrected interval.
        """
        if len(self.at_baseline) > 1 or self.missing:
            return UNDECIDED
        identical = self.identical == self.seeds
        verdict = judge_seeds(rule, self.interval, identical=identical)
        if verdict == REFUTED and self.interval is not None:
            strict = judge_seeds(rule, corrected(self.interval, self.seeds, comparisons), identical=identical)
            return REFUTED if strict == REFUTED else UNDECIDED
        return verdict

    @property
    def remarks(self) -> Iterator[str]:
        """What stands next to the difference."""
        if self.missing:
            yield f"{self.missing} of the study's seeds missing"
        if self.at_baseline:
            yield f"{' and '.join(self.at_baseline)} at the majority-class baseline"
        if self.identical and len(self.at_baseline) < 2:
            yield f"identical predictions for {self.identical} of {self.seeds} seeds"


def _points(interval: Interval | None) -> str:
    return NOT_AVAILABLE if interval is None else f"[{points(interval.low)}, {points(interval.high)}]"


def _detectable(interval: Interval | None) -> str:
    return NOT_AVAILABLE if interval is None else f"{interval.detectable:.1f}"
