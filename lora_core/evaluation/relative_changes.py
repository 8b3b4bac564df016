"""A measured figure of LoRA relative to that of full fine-tuning, in percent, seed by seed and task by task."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.frames import run_names
from lora_core.evaluation.references import References

AFTER_THRESHOLD = ("energy", "power")  # columns that are measured up to the threshold of equal accuracy


@dataclass(frozen=True)
class RelativeChanges:
    """Changes in percent: one row per seed, one column per task, and of the sums over tasks.

    `ratio_of_sums` is the change of the sum over tasks. `open_reason` says why these figures decide nothing; empty if
    they may.
    """

    by_seed: pd.DataFrame = field(default_factory=pd.DataFrame)
    ratio_of_sums: float | None = None
    open_reason: str = ""


def relative_changes(
    frame: pd.DataFrame, column: str, references: References, sign: int, tasks: Sequence[str]
) -> RelativeChanges:
    """Return 100 * (LoRA / FFT - 1) times `sign` (-1: a reduction), for the seeds that have both on every task.

    `frame` has one row per run. Runs that shared their device are left out, and so are tasks whose threshold is not
    meaningful. If the two methods were measured on several devices, a task is missing, or a run was disturbed or did
    not reach the threshold, the figures are returned with the reason why they decide nothing.
    """
    full, adapter = references.full, references.adapter
    if full is None or adapter is None:
        return RelativeChanges()
    frame = frame[frame["method"].isin([adapter, full]) & frame["task"].isin(tasks)]
    frame = frame[frame["shared"].astype(str) != "True"]
    reasons = []
    if column in AFTER_THRESHOLD:
        frame = _with_meaningful_threshold(frame)
        if censored := int((frame["reached"].astype(str) == "False").sum()):
            reasons.append(f"{censored} of {len(frame)} runs did not reach the threshold")
    frame = frame.dropna(subset=[column])
    if frame.empty:
        return RelativeChanges()
    values = frame.pivot_table(index="seed", columns=["task", "method"], values=column, sort=False)
    measured = [t for t in frame["task"].unique() if (t, adapter) in values and (t, full) in values]
    if not measured:
        return RelativeChanges()
    if "disturbed" in frame and frame["disturbed"].any():
        reasons.append(f"disturbed: {', '.join(run_names(frame[frame['disturbed']]))}")
    if frame["device"].nunique() > 1:
        reasons.append("measured on several devices")
    if missing := [task_title(task) for task in tasks if task not in measured]:
        reasons.append(f"without {', '.join(missing)}")
    both = values[[(t, m) for t in measured for m in (adapter, full)]].dropna()
    by_seed = pd.DataFrame({t: sign * 100 * (both[t, adapter] / both[t, full] - 1) for t in measured})
    if both.empty:
        return RelativeChanges(by_seed, None, "; ".join(reasons))
    adapter_sum, full_sum = (sum(float(both[t, method].mean()) for t in measured) for method in (adapter, full))
    return RelativeChanges(by_seed, sign * 100 * (adapter_sum / full_sum - 1), "; ".join(reasons))


def _with_meaningful_threshold(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep the tasks whose threshold is meaningful for every run."""
    vague = [task for task, group in frame.groupby("task", sort=False) if not group["threshold_meaningful"].all()]
    return frame[~frame["task"].isin(vague)]
