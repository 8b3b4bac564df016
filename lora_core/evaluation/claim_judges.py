"""The judges of claims about counts and measurements: parameters, latency, changes in percent, the order of tasks.

A judge is called with the claim and the evidence. Its `roles` name the references that it needs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar, Literal, Protocol

import numpy as np
import pandas as pd

from lora_core.data.tasks import PAPER_TASKS, task_title
from lora_core.evaluation.claim_evidence import Evidence
from lora_core.evaluation.claim_rules import (
    ALL_TASKS,
    GPU,
    METER,
    MORE_SEEDS,
    QUIET_TIMING,
    REFUTED,
    REPRODUCED,
    UNDECIDED,
    UNDISTURBED,
    UNMEASURED,
    Claim,
    Rule,
    Verdict,
    by_task,
    every,
    judge_seeds,
    over_seeds,
    with_missing,
)
from lora_core.evaluation.comparison import points, short_reasons
from lora_core.evaluation.merged_latency import merged_latency
from lora_core.evaluation.relative_changes import RelativeChanges, relative_changes
from lora_core.stats import MIN_SEEDS, TIE, Interval

SIMULATED = "the power meter is simulated"


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
        return Verdict(claim, verdict, f"{percent:.2f} % ({with_head:.2f} % with the head)", "exact", "exact")


@dataclass(frozen=True)
class NoLatency:
    """Judges whether the merged adapter is as fast as full fine-tuning on the paper's tasks, for every timed seed."""

    roles: ClassVar[tuple[str, ...]] = ("full", "adapter")

    def __call__(self, claim: Claim, evidence: Evidence) -> Verdict:
        """Judge by the equivalence test over rounds; a slower one refutes at a level for the number of comparisons."""
        latency = merged_latency(evidence.latency, evidence.references, evidence.latency_margin, PAPER_TASKS)
        several_seeds = len({seed for _, seed in latency.compared}) > 1
        shown = {
            f"{task_title(task)} seed {seed}" if several_seeds else task: result
            for (task, seed), result in latency.compared.items()
        }
        verdicts = latency.by_task
        ours = with_missing(by_task(shown, lambda result: f"{result.ratio:.3f}"), verdicts, PAPER_TASKS)
        return Verdict(
            claim,
            every({task: every(seeds, list(seeds)) for task, seeds in verdicts.items()}, PAPER_TASKS),
            " ".join(filter(None, [ours, *(f"({reason})" for reason in latency.reasons)])) or None,
            by_task(shown, lambda result: f"[{result.low:.3f}, {result.high:.3f}]"),
            by_task(shown, lambda result: f"{result.detectable_percent:.1f} %"),
            needs=needed(evidence, PAPER_TASKS, latency.reasons, QUIET_TIMING if verdicts else ""),
        )


@dataclass(frozen=True)
class MeanChange:
    """Judges the geometric mean over tasks of LoRA / FFT, as a change in percent; `sign` -1 makes it a reduction."""

    source: Literal["memory", "costs"]
    column: str
    sign: int
    rule: Rule
    tasks: Sequence[str] = PAPER_TASKS
    roles: ClassVar[tuple[str, ...]] = ("full", "adapter")

    def __call__(self, claim: Claim, evidence: Evidence) -> Verdict:
        """Judge the interval over seeds."""
        frame = evidence.memory if self.source == "memory" else evidence.costs
        changes = relative_changes(frame, self.column, evidence.references, self.tasks, evidence.labels)
        if changes.ratio_of_sums is None:
            source = GPU if self.source == "memory" else METER
            unread = source if frame[self.column].isna().all() else ""
            return without_figure(claim, evidence, changes, self.tasks, unread)
        interval = self._interval(over_seeds(changes.over_tasks))
        details = [by_task(changes.by_task, lambda ratio: f"{points(self._percent(ratio))} %") or ""]
        if len(changes.by_task) > 1:
            details.append(f"ratio of the sums: {points(self._percent(changes.ratio_of_sums))} %")
        mean = self._percent(math.exp(np.mean(changes.over_tasks)))
        return Verdict(
            claim,
            UNDECIDED if changes.reasons else judge_seeds(self.rule, interval),
            f"{points(mean)} % ({'; '.join([*details, *changes.reasons])})",
            None if interval is None else f"[{points(interval.low)}, {points(interval.high)}] %",
            None if interval is None else f"{interval.detectable:.1f} %",
            needs=needed(evidence, self.tasks, changes.reasons, more_seeds(evidence)),
        )

    def _percent(self, ratio: float) -> float:
        return self.sign * 100 * (ratio - 1)

    def _interval(self, logs: Interval | None) -> Interval | None:
        """The interval of a logarithm of a ratio as that of a change in percent."""
        if logs is None:
            return None
        low, high = sorted(self._percent(math.exp(bound)) for bound in (logs.low, logs.high))
        return Interval(self._percent(math.exp(logs.estimate)), low, high, 100 * math.expm1(logs.detectable))


def needed(evidence: Evidence, tasks: Sequence[str], reasons: Sequence[str], otherwise: str = "") -> str:
    """Return what would decide a claim about these tasks; `reasons` say what leaves its figures open."""
    if evidence.lacks(tasks):
        return ALL_TASKS
    return UNDISTURBED if reasons else otherwise


def more_seeds(evidence: Evidence) -> str:
    """Return MORE_SEEDS if the study has too few for an interval; empty otherwise."""
    return MORE_SEEDS if evidence.seeds < MIN_SEEDS else ""


def without_figure(
    claim: Claim, evidence: Evidence, changes: RelativeChanges, tasks: Sequence[str], source: str
) -> Verdict:
    """Leave a claim open: undecided if some runs have a figure, else not measured.

    `source` is what would measure it; empty if runs on other tasks were measured.
    """
    needs = needed(evidence, tasks, changes.reasons)
    if changes.measured:
        return Verdict(claim, UNDECIDED, reason="; ".join(changes.reasons), needs=needs)
    reason = SIMULATED if evidence.simulated else "; ".join(short_reasons(changes.reasons))
    return Verdict(claim, UNMEASURED, reason=reason, needs=source or needs)


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
        changes = relative_changes(evidence.memory, "mean_mb", evidence.references, PAPER_TASKS, evidence.labels)
        if changes.ratio_of_sums is None:
            return without_figure(claim, evidence, changes, PAPER_TASKS, GPU)
        if len(changes.by_task) == 1:
            return Verdict(claim, UNDECIDED, reason="; ".join(changes.reasons), needs=ALL_TASKS)
        percent = {task: 100 * (1 - ratio) for task, ratio in changes.by_task.items()}
        saved = pd.Series(percent).round(1)  # differences below a tenth of a percent are ties
        if saved.nunique() == 1:
            return Verdict(claim, UNDECIDED, "the same on every task")
        lengths = pd.Series({task: evidence.tokens_per_example[task] for task in saved.index}).rank()
        correlations = [float(np.corrcoef(lengths, ranks)[0, 1]) for ranks in permutations(saved.rank())]
        observed = correlations[0]  # the first permutation is the order as it is
        lower, upper = (float(np.mean([s * c <= s * observed + TIE for c in correlations])) for s in (1, -1))
        least = 1 / len(correlations)
        shown = f"correlation {observed:+.2f}".replace("-", "−")
        shown += f" ({'; '.join(changes.reasons)})" if changes.reasons else ""
        verdict = REPRODUCED if lower < self.level else REFUTED if upper < self.level else UNDECIDED
        return Verdict(
            claim,
            UNDECIDED if changes.reasons or least >= self.level else verdict,
            shown,
            f"p = {min(lower, upper):.3f}",
            f"p = {least:.3f} at best",
            needs=needed(evidence, PAPER_TASKS, changes.reasons),
        )


@dataclass(frozen=True)
class NotJudged:
    """A claim that no record of a study can judge, and what could."""

    needs: str
    roles: ClassVar[tuple[str, ...]] = ()

    def __call__(self, claim: Claim, evidence: Evidence) -> Verdict:
        """Leave the claim unmeasured."""
        return Verdict(claim, UNMEASURED, needs=self.needs)
