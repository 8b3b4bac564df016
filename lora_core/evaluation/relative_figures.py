"""The figures of LoRA relative to full fine-tuning, over all tasks of a study.

Each is defined as the claims judge it: geometric means of ratios over tasks and seeds, seed by seed and task by task.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.claim_evidence import Evidence
from lora_core.evaluation.claim_rules import (
    GPU,
    METER,
    MORE_SEEDS,
    QUIET_TIMING,
    REFUTED,
    REPRODUCED,
    every,
    over_seeds,
)
from lora_core.evaluation.comparison import DECIDED, UNDECIDED, UNMEASURED, Comparison, direction
from lora_core.evaluation.latency_summary import summarize
from lora_core.evaluation.merged_latency import merged_latency
from lora_core.evaluation.relative_changes import relative_changes
from lora_core.stats import MIN_SEEDS, Interval


def study_tasks(evidence: Evidence) -> list[str]:
    """Return the tasks of a study, in its order."""
    return [str(task) for task in evidence.scores["task"].unique()]


def relative_figures(evidence: Evidence) -> list[Comparison]:
    """Return every comparison, measured or not, of a study that has runs of both methods."""
    costs = evidence.costs
    epoch = Comparison("epoch_time", "time per epoch", unit="s")
    time = Comparison("time", "time to equal accuracy", unit="s")
    energy = Comparison("energy", "energy to equal accuracy", unit="kJ", needs=METER)
    return [
        _score(evidence),
        _parameters(evidence),
        _memory(evidence),
        _ratio(epoch, evidence, costs, "seconds_per_epoch"),
        _ratio(time, evidence, costs, "seconds_to_threshold"),
        _ratio(energy, evidence, costs, "energy"),
        _latency(evidence),
    ]


def _parameters(evidence: Evidence) -> Comparison:
    counts = evidence.counts
    trained = counts.methods[str(evidence.references.adapter)].trainable
    return Comparison(
        "parameters", "trained parameters", trained / counts.full, adapter=trained, full=counts.full,
        state=DECIDED, outcome="counted",
    )  # fmt: skip


def _score(evidence: Evidence) -> Comparison:
    """The difference of best scores in points: the mean over tasks, for each seed that has both on all of them.

    On the test split where a task has one.
    """
    full, adapter, tasks = evidence.references.full, evidence.references.adapter, study_tasks(evidence)
    values = 100 * evidence.scores.pivot(index="seed", columns=["task", "method"], values="best").astype(float)
    both = values.reindex(columns=pd.MultiIndex.from_product([tasks, [adapter, full]])).dropna()
    tested = ", ".join(map(task_title, evidence.tested_tasks))
    comparison = Comparison("score", f"score (test split of {tested})" if tested else "score", unit="%")
    if both.empty:
        return replace(comparison, reasons=("no seed has both on every task",))
    means = {method: both[[(task, method) for task in tasks]].mean(axis=1) for method in (adapter, full)}
    by_seed = [float(value) for value in means[adapter] - means[full]]
    at_baseline, one_at_baseline = _at_baseline(evidence)
    missing = "runs are missing" if len(both) < evidence.seeds else ""
    comparison = replace(
        comparison, value=fmean(by_seed), by_seed=tuple(by_seed), n=len(by_seed),
        adapter=float(means[adapter].mean()), full=float(means[full].mean()), note=one_at_baseline,
    )  # fmt: skip
    reasons = list(filter(None, [at_baseline, missing]))
    return _with_interval(comparison, over_seeds(by_seed), reasons, evidence, 0.0)


def _at_baseline(evidence: Evidence) -> tuple[str, str]:
    """Name the tasks on which neither method learned anything, and those on which one did not; empty if there are none.

    The first decide nothing, the second are judged like all others.
    """
    rows, references = evidence.judged_differences, evidence.references
    rows = rows[(rows["method"] == references.adapter) & (rows["against"] == references.full)]
    if "method_at_baseline" not in rows:  # older records
        return "", ""
    names = references.names(evidence.labels)
    adapter, full = (rows[f"{side}_at_baseline"] == True for side in ("method", "against"))  # noqa: E712 (may be nan)
    sides = {
        "both are": adapter & full,
        f"{names['adapter']} is": adapter & ~full,
        f"{names['full']} is": full & ~adapter,
    }
    both, *one = [
        f"{side} at the majority-class baseline on {', '.join(map(task_title, rows.loc[there, 'task']))}"
        if there.any() else ""
        for side, there in sides.items()
    ]  # fmt: skip
    return both, " and ".join(filter(None, one))


def _ratio(comparison: Comparison, evidence: Evidence, frame: pd.DataFrame, column: str) -> Comparison:
    """Fill a comparison with a ratio as the claims judge it; what it `needs` is kept only if it was not measured."""
    tasks = study_tasks(evidence)
    changes = relative_changes(frame, column, evidence.references, tasks, evidence.labels)
    comparison = replace(comparison, reasons=changes.reasons)
    if changes.means is None:
        return comparison if frame[column].isna().all() else replace(comparison, state=UNDECIDED, needs="")
    interval = over_seeds(changes.over_tasks)
    by_seed = [math.exp(log) for log in changes.over_tasks]
    comparison = replace(
        comparison, value=math.exp(fmean(changes.over_tasks)), by_seed=tuple(by_seed), n=len(by_seed),
        adapter=changes.means[0], full=changes.means[1],
    )  # fmt: skip
    ratios = interval and replace(interval, low=math.exp(interval.low), high=math.exp(interval.high))
    return _with_interval(comparison, ratios, changes.reasons, evidence, 1.0)


def _with_interval(
    comparison: Comparison, interval: Interval | None, reasons: Sequence[str], evidence: Evidence, no_effect: float
) -> Comparison:
    """Add the interval, and what it decides."""
    words = ("lower", "higher") if no_effect == 0 else ("less", "more")
    outcome = "" if reasons else direction(interval, no_effect, words)
    return replace(
        comparison,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        state=DECIDED if outcome else UNDECIDED,
        outcome=outcome,
        reasons=tuple(reasons),
        needs=MORE_SEEDS if not reasons and evidence.seeds < MIN_SEEDS else "",
    )


def _memory(evidence: Evidence) -> Comparison:
    """The mean memory of the GPU, as in table 4; where it was not measured, a note on the tensors that were counted."""
    empty = Comparison("memory", "training memory", unit="MB", needs=GPU)
    comparison = _ratio(empty, evidence, evidence.memory, "mean_mb")
    if comparison.state != UNMEASURED:
        return comparison
    tensors = _ratio(empty, evidence, evidence.memory, "accounted_mb")
    note = f"tensors, counted: {tensors.text} ({tensors.figures_text})" if tensors.text else ""
    return replace(comparison, note=note)


def _latency(evidence: Evidence) -> Comparison:
    """The geometric mean over tasks; its interval reaches from the lowest to the highest bound of a task's interval."""
    comparison, tasks = Comparison("latency", "merged latency", unit="s"), study_tasks(evidence)
    latency = merged_latency(evidence.latency, evidence.references, evidence.latency_margin, tasks)
    results = list(latency.compared.values())
    if not results:
        return replace(comparison, reasons=("no merged model was timed",))
    verdict = every({task: every(seeds, list(seeds)) for task, seeds in latency.by_task.items()}, tasks)
    margin = f"{100 * evidence.latency_margin:g} %"
    outcome = {REPRODUCED: f"not slower, within {margin}", REFUTED: f"slower by more than {margin}"}.get(verdict, "")
    medians = _medians(evidence)
    return replace(
        comparison,
        value=math.exp(np.mean([math.log(result.ratio) for result in results])),
        low=min(result.low for result in results),
        high=max(result.high for result in results),
        bounds=f"bounds over {len(results)} timings" if len(results) > 1 else "",
        n=min(result.rounds for result in results),
        adapter=medians.get((str(evidence.references.adapter), "merged")),
        full=medians.get((str(evidence.references.full), "plain")),
        state=DECIDED if outcome else UNDECIDED,
        outcome=outcome,
        reasons=latency.reasons,
        needs="" if outcome or latency.reasons else QUIET_TIMING,
    )


def _medians(evidence: Evidence) -> Mapping[tuple[str, str], float]:
    """The median seconds of a pass by method and variant, the mean over tasks and timed seeds."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for run in evidence.latency:
        for timing in summarize(run.rows, "pass", evidence.latency_margin, None):
            seconds.setdefault((timing.method, timing.variant), []).append(timing.p50_seconds)
    return {key: fmean(values) for key, values in seconds.items()}
