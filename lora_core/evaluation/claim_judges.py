"""The judges of each kind of claim: counts, differences of scores, latency, changes in percent, order of tasks.

A judge is called with the claim and the evidence. Its `roles` name the references that it needs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar, Literal, Protocol

import numpy as np
import pandas as pd

from lora_core.data.tasks import PAPER_TASKS, task_title
from lora_core.evaluation.claim_evidence import Evidence
from lora_core.evaluation.claim_rules import (
    REFUTED,
    REPRODUCED,
    UNDECIDED,
    UNMEASURED,
    Claim,
    Verdict,
    every,
    over_seeds,
)
from lora_core.evaluation.latency_summary import summarize
from lora_core.evaluation.relative_changes import relative_changes
from lora_core.stats import Equivalence, Interval

Rule = Callable[[Interval | None], str]

NOT_AVAILABLE = "n/a"
SIMULATED = "the power meter is simulated"
_LATENCY_VERDICTS = {"equivalent": REPRODUCED, "faster": REPRODUCED, "slower": REFUTED, "undecided": UNDECIDED}


class Judge(Protocol):
    """Turns evidence into the verdict on a claim."""

    @property
    def roles(self) -> tuple[str, ...]:
        """The references that the claim is about."""

    def __call__(self, claim: Claim, evidence: Evidence) -> Verdict:
        """Return the verdict."""


@dataclass(frozen=True)
class FewerParameters:
    """Judges the share of parameters that need no training, which is a count and has no interval."""

    least_percent: float
    roles: ClassVar[tuple[str, ...]] = ("adapter",)

    def __call__(self, claim: Claim, evidence: Evidence) -> Verdict:
        """Judge the share after rounding to one decimal, without the head."""
        full, count = evidence.counts.full, evidence.counts.methods.get(evidence.references.adapter or "")
        if count is None:
            return Verdict(claim, UNMEASURED)
        percent = 100 * (1 - count.trainable / full)
        with_head = 100 * (1 - (count.trainable + count.head) / full)
        verdict = REPRODUCED if round(percent, 1) >= self.least_percent else REFUTED
        return Verdict(claim, verdict, f"{percent:.2f}% ({with_head:.2f}% with the head)", "exact", "exact")


@dataclass(frozen=True)
class ScoreDifference:
    """Judges the difference of best scores between two references on every one of some tasks."""

    method: str
    baseline: str
    tasks: Sequence[str]
    rule: Rule

    @property
    def roles(self) -> tuple[str, ...]:
        """Both sides of the difference."""
        return self.method, self.baseline

    def __call__(self, claim: Claim, evidence: Evidence) -> Verdict:
        """Judge the interval over seeds, task by task."""
        differences = evidence.differences
        selected = differences[
            (differences["method"] == getattr(evidence.references, self.method))
            & (differences["against"] == getattr(evidence.references, self.baseline))
            & (differences["quantity"] == "best")
            & differences["task"].isin(self.tasks)
        ]
        rows = {str(row["task"]): row for _, row in selected.iterrows()}
        intervals = {task: _interval(row) for task, row in rows.items()}
        return Verdict(
            claim,
            every({task: self.rule(interval) for task, interval in intervals.items()}, self.tasks),
            _with_missing(_by_task(rows, lambda row: f"{100 * row['difference']:+.1f}"), rows, self.tasks),
            _by_task(intervals, _points),
            _by_task(intervals, lambda i: NOT_AVAILABLE if i is None else f"{100 * i.detectable:.1f}"),
        )


def _interval(row: pd.Series) -> Interval | None:
    return None if pd.isna(row["low"]) else Interval(row["difference"], row["low"], row["high"], row["detectable"])


def _points(interval: Interval | None) -> str:
    return NOT_AVAILABLE if interval is None else f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def _by_task(values: Mapping[str, object], show: Callable) -> str | None:
    """List values by task, such as "CoLA +0.5; RTE +1.0"; None if there are none."""
    return "; ".join(f"{task_title(task)} {show(value)}" for task, value in values.items()) or None


def _with_missing(text: str | None, present: Iterable[str], tasks: Sequence[str]) -> str | None:
    """Add the tasks that a claim is about and the study has no figure for."""
    missing = [task_title(task) for task in tasks if task not in set(present)]
    return f"{text} (without {', '.join(missing)})" if text and missing else text


@dataclass(frozen=True)
class NoLatency:
    """Judges whether the merged adapter is as fast as full fine-tuning on the paper's tasks, for every timed seed."""

    roles: ClassVar[tuple[str, ...]] = ("full", "adapter")

    def __call__(self, claim: Claim, evidence: Evidence) -> Verdict:
        """Judge by the equivalence test over rounds."""
        compared = _merged_against_full(evidence)
        several_seeds = len({seed for _, seed in compared}) > 1
        shown = {
            f"{task_title(task)} seed {seed}" if several_seeds else task: result
            for (task, seed), result in compared.items()
        }
        by_task: dict[str, dict[str, str]] = {}
        for (task, seed), result in compared.items():
            by_task.setdefault(task, {})[str(seed)] = _LATENCY_VERDICTS[result.verdict]
        return Verdict(
            claim,
            every({task: every(verdicts, list(verdicts)) for task, verdicts in by_task.items()}, PAPER_TASKS),
            _with_missing(_by_task(shown, lambda result: f"{result.ratio:.3f}"), by_task, PAPER_TASKS),
            _by_task(shown, lambda result: f"[{result.low:.3f}, {result.high:.3f}]"),
            _by_task(shown, lambda result: f"{result.detectable_percent:.1f}%"),
        )


def _merged_against_full(evidence: Evidence) -> dict[tuple[str, int], Equivalence]:
    """Return the comparison of the merged adapter with full fine-tuning by task and seed."""
    references = evidence.references
    against = None if references.full is None else (references.full, "plain")
    return {
        (run.task, run.seed): timing.comparison
        for run in evidence.latency
        for timing in summarize(run.rows, "pass", evidence.latency_margin, against)
        if (timing.method, timing.variant) == (references.adapter, "merged") and timing.comparison
    }


@dataclass(frozen=True)
class MeanChange:
    """Judges the mean over tasks of LoRA's change relative to full fine-tuning; `sign` -1 makes it a reduction."""

    source: Literal["memory", "costs"]
    column: str
    sign: int
    rule: Rule
    tasks: Sequence[str] = PAPER_TASKS
    roles: ClassVar[tuple[str, ...]] = ("full", "adapter")

    def __call__(self, claim: Claim, evidence: Evidence) -> Verdict:
        """Judge the interval over seeds."""
        frame = evidence.memory if self.source == "memory" else evidence.costs
        changes = relative_changes(frame, self.column, evidence.references, self.sign, self.tasks)
        if changes.by_seed.empty:
            return Verdict(claim, UNMEASURED, reason=changes.open_reason or (SIMULATED if evidence.simulated else None))
        per_seed = changes.by_seed.mean(axis=1)
        interval = over_seeds(list(per_seed))
        details = [_by_task(dict(changes.by_seed.mean()), lambda value: f"{value:+.1f}%") or ""]
        if len(changes.by_seed.columns) > 1:
            details.append(f"ratio of the sums: {changes.ratio_of_sums:+.1f}%")
        if changes.open_reason:
            details.append(changes.open_reason)
        return Verdict(
            claim,
            UNDECIDED if changes.open_reason else self.rule(interval),
            f"{per_seed.mean():+.1f}% ({'; '.join(details)})",
            None if interval is None else f"[{interval.low:+.1f}, {interval.high:+.1f}]%",
            None if interval is None else f"{interval.detectable:.1f}%",
        )


@dataclass(frozen=True)
class MemoryFallsWithLength:
    """Judges whether LoRA saves less memory on tasks with longer sequences.

    The claim is about tasks, so several seeds add no evidence: the Spearman correlation over tasks is compared with
    that of every other order of the tasks (a permutation test).
    """

    level: float = 0.05
    roles: ClassVar[tuple[str, ...]] = ("full", "adapter")

    def __call__(self, claim: Claim, evidence: Evidence) -> Verdict:
        """Judge the correlation of tokens per example with the saved share of memory."""
        changes = relative_changes(evidence.memory, "mean_mb", evidence.references, -1, PAPER_TASKS)
        if changes.by_seed.empty:
            return Verdict(claim, UNMEASURED, reason=changes.open_reason or (SIMULATED if evidence.simulated else None))
        saved = changes.by_seed.mean().round(1)  # differences below a tenth of a percent are ties
        if saved.nunique() == 1:
            return Verdict(claim, UNDECIDED, "the same on every task")
        lengths = pd.Series({task: evidence.tokens_per_example[task] for task in saved.index}).rank()
        correlations = [float(np.corrcoef(lengths, ranks)[0, 1]) for ranks in permutations(saved.rank())]
        observed = correlations[0]  # the first permutation is the order as it is
        lower, upper = (float(np.mean([s * c <= s * observed + 1e-9 for c in correlations])) for s in (1, -1))
        least = 1 / len(correlations)
        verdict = REPRODUCED if lower < self.level else REFUTED if upper < self.level else UNDECIDED
        return Verdict(
            claim,
            UNDECIDED if changes.open_reason or least >= self.level else verdict,
            f"correlation {observed:+.2f}" + (f" ({changes.open_reason})" if changes.open_reason else ""),
            f"p = {min(lower, upper):.3f}",
            f"p = {least:.3f} at best",
        )


@dataclass(frozen=True)
class NotJudged:
    """A claim that no record of a study can judge."""

    roles: ClassVar[tuple[str, ...]] = ()

    def __call__(self, claim: Claim, evidence: Evidence) -> Verdict:
        """Leave the claim unmeasured."""
        return Verdict(claim, UNMEASURED)
