"""Cells from the values of several runs, and the notes that tables share.

A function here takes an empty cell, which says where it is and what it holds, and fills it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.frames import per_device, run_names, suspended_names
from lora_core.reporting.table import Cell
from lora_core.stats import MIN_SEEDS, censored_median

Show = Callable[[float], str]
DISTURBED = "*"  # follows a figure of runs of which one was disturbed


@dataclass(frozen=True)
class Group:
    """The runs of one method on one task and device. `label` is what rows of a table call it."""

    label: str
    method: str
    device: str  # empty if all runs were measured on the same one
    task: str
    runs: pd.DataFrame

    def cell(self, suffix: str, quantity: str, unit: str = "", variant: str = "") -> Cell:
        """Return an empty cell in the row of the label and this suffix, and in the column of the task."""
        variant = ", ".join(filter(None, [variant, self.device]))
        return Cell(
            f"{self.label}{suffix}", task_title(self.task), method=self.method, variant=variant, task=self.task,
            quantity=quantity, unit=unit,
        )  # fmt: skip


def groups(frame: pd.DataFrame) -> list[Group]:
    """Split runs by method and task, and by device if there are several, in the order of the records."""
    if "device" in frame:
        several = frame["device"].nunique() > 1
        labeled = per_device(frame.assign(entry=frame["method"]))
    else:
        several, labeled = False, frame.assign(entry=frame["method"])
    return [
        Group(str(label), str(runs["entry"].iloc[0]), str(runs["device"].iloc[0]) if several else "", str(task), runs)
        for (label, task), runs in labeled.groupby(["method", "task"], sort=False)
    ]


def mean_cell(cell: Cell, values: Sequence[float | None], show: Show) -> Cell:
    """Fill a cell with the mean over runs, with the standard deviation if there are several.

    It is not available if one of the values is not.
    """
    known = [value for value in values if value is not None and not pd.isna(value)]
    if not known or len(known) < len(values):
        return replace(cell, n=len(values))
    mean = sum(known) / len(known)
    if len(known) == 1:
        return replace(cell, value=mean, text=show(mean), n=1)
    sd = float(pd.Series(known).std(ddof=1))
    return replace(cell, value=mean, text=f"{show(mean)} ± {show(sd)}", sd=sd, n=len(known))


def score_cell(cell: Cell, values: Sequence[float | None]) -> Cell:
    """`mean_cell` in percent; with at least three runs, the median in brackets (of two runs, it is the mean)."""
    filled = mean_cell(cell, values, percent)
    if filled.sd is None or len(values) < MIN_SEEDS:
        return filled
    median = float(pd.Series(list(values), dtype=float).median())
    return replace(filled, text=f"{filled.text} ({percent(median)})")


def same_cell(cell: Cell, values: pd.Series, show: Show) -> Cell:
    """Fill a cell with what is the same for every run, and was not measured."""
    if values.empty or values.isna().any():
        return cell
    return replace(cell, value=float(values.iloc[0]), text=show(values.iloc[0]))


def median_cell(cell: Cell, values: pd.Series, reached: pd.Series, show: Show) -> Cell:
    """Fill a cell with the median over runs; a run that never reached the threshold counts as above all others.

    If the median falls among those, it is known from below alone. With at least three runs, all of which reached the
    threshold, the t-interval of the mean is added. Not available if a run that reached it has no value.
    """
    known = values[reached.astype(bool)]
    if known.isna().any() or values.empty:
        return replace(cell, n=len(values))
    median = censored_median(list(known), len(values))
    if median.value is None:
        text = "not reached" if median.at_least is None else f"≥ {show(median.at_least)}"
        return replace(cell, text=text, n=len(values), low=median.at_least)
    interval = median.interval
    if interval is None:
        return replace(cell, value=median.value, text=show(median.value), n=len(values))
    text = f"{show(median.value)} [{show(interval.low)}, {show(interval.high)}]"
    return replace(cell, value=median.value, text=text, n=len(values), low=interval.low, high=interval.high)


def percent(value: float) -> str:
    """Format a fraction in percent, without the sign."""
    return f"{100 * value:.1f}"


def shared_device_note(frame: pd.DataFrame) -> list[str]:
    """Name the runs during which another process used the device; no note if there are none."""
    if "shared" not in frame:
        return []
    names = list(run_names(frame[frame["shared"].astype(str) == "True"]))
    if not names:
        return []
    return [
        f"Shared device: another process used it during {', '.join(names)}; their measurements include that process."
    ]


def marked_if_disturbed(cell: Cell, runs: pd.DataFrame) -> Cell:
    """Mark a cell of times or energies if one of its runs was disturbed, unless it has no value."""
    return (
        replace(cell, text=f"{cell.text} {DISTURBED}") if runs["disturbed"].any() and cell.text != Cell.text else cell
    )


def disturbed_note(frame: pd.DataFrame) -> list[str]:
    """Name the runs that were disturbed, which explains the mark; no note if there are none."""
    suspended = list(suspended_names(frame))
    names = list(run_names(frame[frame["disturbed"] & (frame["suspended_seconds"] == 0)]))
    causes = []
    if names:
        causes.append(
            f"{DISTURBED} Disturbed: other processes took time from {', '.join(names)} (an epoch stands out, or the "
            "processors worked for less of it than they should)."
        )
    if suspended:
        causes.append(f"{DISTURBED} Suspended while training: {', '.join(suspended)}.")
    meaning = "Their time, power and energy are not those of the method alone, and decide no claim."
    notes = [f"{cause} {meaning}" for cause in causes]
    if evaluating := list(suspended_names(frame, "eval_suspended_seconds")):
        notes.append(f"Suspended while evaluating, which no time or energy here includes: {', '.join(evaluating)}.")
    return notes


def devices_note(frame: pd.DataFrame) -> str:
    """Name the devices of a frame's runs."""
    return f"Device: {'; '.join(frame['device'].unique())}."
