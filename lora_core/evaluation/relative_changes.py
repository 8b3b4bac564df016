"""A measured figure of LoRA relative to that of full fine-tuning, seed by seed and task by task."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.references import References

AFTER_THRESHOLD = (
    "epochs_to_threshold",
    "seconds_to_threshold",
    "energy",
    "power",
)  # columns that are measured up to the threshold of equal accuracy


@dataclass(frozen=True)
class RelativeChanges:
    """LoRA / FFT: a row for each seed that has both on every measured task, and a column for each of those tasks.

    Attributes:
        by_seed: The ratios.
        means: The means over tasks and those seeds of LoRA and of full fine-tuning; None without a complete seed.
        measured: Whether a task has a figure on both sides.
        reasons: Why the figures decide nothing; empty if they may.
    """

    by_seed: pd.DataFrame = field(default_factory=pd.DataFrame)
    means: tuple[float, float] | None = None
    measured: bool = False
    reasons: tuple[str, ...] = ()

    @property
    def ratio_of_sums(self) -> float | None:
        """The ratio of the sums over tasks; None without a complete seed."""
        return None if self.means is None else self.means[0] / self.means[1]

    @property
    def over_tasks(self) -> list[float]:
        """The logarithm of the geometric mean over tasks, for each seed."""
        return list(np.log(self.by_seed).mean(axis=1))

    @property
    def by_task(self) -> dict[str, float]:
        """The geometric mean over seeds, for each task."""
        return {str(task): float(ratio) for task, ratio in np.exp(np.log(self.by_seed).mean()).items()}


def relative_changes(
    frame: pd.DataFrame,
    column: str,
    references: References,
    tasks: Sequence[str],
    labels: Mapping[str, str] | None = None,
) -> RelativeChanges:
    """Return LoRA / FFT of a column.

    `frame` has one row per run. No run is left out without a word: one that was disturbed or shared its device counts,
    and one that has no figure leaves a gap; all are named in `reasons`. A task whose threshold is not meaningful is
    left out and named. Runs are named by the `labels` of their methods.
    """
    full, adapter = references.full, references.adapter
    if full is None or adapter is None:
        return RelativeChanges()
    frame = frame[frame["method"].isin([adapter, full]) & frame["task"].isin(tasks)]
    vague = _vague_tasks(frame) if column in AFTER_THRESHOLD else []
    frame = frame[~frame["task"].isin(vague)]
    reasons = [*_open_runs(frame, column, labels or {})]
    values = frame.pivot(index="seed", columns=["task", "method"], values=column).astype(float)
    known = set(values.columns[values.notna().any()])
    measured = [task for task in frame["task"].unique() if {(task, adapter), (task, full)} <= known]
    if frame.loc[frame[column].notna(), "device"].nunique() > 1:
        reasons.append("measured on several devices")
    if missing := [task for task in tasks if task not in measured]:
        reasons.append(f"without {', '.join(map(task_title, missing))}")
    if vague:
        reasons.append(f"threshold not meaningful on {', '.join(map(task_title, vague))}")
    both = values[[(t, m) for t in measured for m in (adapter, full)]].dropna()
    by_seed = pd.DataFrame({t: both[t, adapter] / both[t, full] for t in measured})
    if by_seed.empty:
        return RelativeChanges(by_seed, None, bool(measured), tuple(reasons))
    adapter_mean, full_mean = (fmean(float(both[t, method].mean()) for t in measured) for method in (adapter, full))
    return RelativeChanges(by_seed, (adapter_mean, full_mean), True, tuple(reasons))


def _vague_tasks(frame: pd.DataFrame) -> list[str]:
    """The tasks whose threshold is not meaningful."""
    vague = frame["threshold_meaningful"].astype(str) == "False"
    return [str(task) for task in frame.loc[vague, "task"].unique()]


SINGULAR = {"were": "was", "have": "has", "are": "is"}


def _open_runs(frame: pd.DataFrame, column: str, labels: Mapping[str, str]) -> Iterator[str]:
    """Say which runs leave the figures open, one sentence for each reason."""
    complete = pd.MultiIndex.from_product([frame[key].unique() for key in ("task", "method", "seed")])
    runs = frame.set_index(["task", "method", "seed"]).reindex(complete)
    named: dict[str, dict[str, list[str]]] = {}
    for (task, method, seed), run in zip(runs.index, runs.to_dict("records"), strict=True):
        for reason in _reasons(run, column):
            name = f"{labels.get(method, method)} {task_title(task)}"
            named.setdefault(reason, {}).setdefault(name, []).append(str(seed))
    for reason, groups in named.items():
        count = sum(map(len, groups.values()))
        listed = ", ".join(f"{name} seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}" for name, seeds in groups.items())
        if count == 1:
            verb, _, rest = reason.partition(" ")
            reason = f"{SINGULAR.get(verb, verb)} {rest}"
        yield f"{count} of {len(runs)} runs {reason}: {listed}" if count < len(runs) else f"all {count} runs {reason}"


def _reasons(run: Mapping[Hashable, Any], column: str) -> Iterator[str]:
    """Why one run leaves the figures open; a run that the study lacks has no device."""
    if str(run.get("shared")) == "True":
        yield "shared the device with another process"
    if run.get("disturbed") is True:
        yield "were disturbed"
    if pd.isna(run[column]):
        yield _why_absent(run, column)


def _why_absent(run: Mapping[Hashable, Any], column: str) -> str:
    """Why a run has no figure."""
    if pd.isna(run["device"]):
        return "are missing"
    if column in AFTER_THRESHOLD and str(run["reached"]) == "False":
        return "did not reach the threshold"
    if column in ("epochs_to_threshold", "seconds_to_threshold"):
        return "have no threshold"
    if run.get("simulated") is True:
        return "have a simulated power meter"
    if isinstance(reason := run.get("meter_reason"), str):
        return f"have no reading ({reason})"
    if column in AFTER_THRESHOLD and str(run.get("too_short_for_meter")) == "True":
        return "reached the threshold too early for the meter to tell their energy"
    if run.get("kind") == "resident":
        return "have the memory of a process on a CPU only"
    return "have no reading"
