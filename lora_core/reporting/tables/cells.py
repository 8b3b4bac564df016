"""Cells from the values of several runs, and the notes that tables share.

A function here takes an empty cell, which says where it is and what it holds, and fills it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation import frames
from lora_core.reporting.digits import RATIO, Numbers
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.table import Cell
from lora_core.stats import MIN_SEEDS, censored_median, t_interval

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


def groups(frame: pd.DataFrame, settings: DrawSettings) -> list[Group]:
    """Split runs by method and task, and by device if there are several, in the order of the records."""
    several = "device" in frame and frame["device"].nunique() > 1
    keys = ["method", "task", *(["device"] if several else [])]
    parts = []
    for key, runs in frame.groupby(keys, sort=False):
        method, task, device = (*map(str, key), "")[:3]
        label = settings.label(method) + (f" on {device}" if device else "")
        parts.append(Group(label, method, device, task, runs))
    return parts


def mean_cell(cell: Cell, values: Sequence[float | None], numbers: Numbers) -> Cell:
    """Fill a cell with the mean over runs: from three on with its t-interval, of two with their standard deviation.

    It is not available if one of the values is not.
    """
    known = [float(value) for value in values if value is not None and not pd.isna(value)]
    if not known or len(known) < len(values):
        return replace(cell, n=len(values))
    mean = sum(known) / len(known)
    if len(known) == 1:
        return replace(cell, value=mean, text=numbers.one(mean), n=1)
    filled = replace(cell, value=mean, sd=float(pd.Series(known).std(ddof=1)), n=len(known))
    interval = t_interval(known) if len(known) >= MIN_SEEDS else None
    if interval is None:
        return replace(filled, text=numbers.with_sd(mean, filled.sd or 0.0))
    text = numbers.with_bounds(mean, interval.low, interval.high)
    return replace(filled, text=text, low=interval.low, high=interval.high)


def same_cell(cell: Cell, values: pd.Series, numbers: Numbers) -> Cell:
    """Fill a cell with what is the same for every run, and was not measured."""
    if values.empty or values.isna().any():
        return cell
    return replace(cell, value=float(values.iloc[0]), text=numbers.one(values.iloc[0]))


def median_cell(cell: Cell, values: pd.Series, reached: pd.Series, numbers: Numbers) -> Cell:
    """Fill a cell with the median over runs; a run that never reached the threshold counts as above all others.

    If the median falls among those, it is known from below alone. With at least three runs, all of which reached the
    threshold, the t-interval of the mean is added. Not available if a run that reached it has no value.
    """
    known = values[reached.astype(bool)]
    if known.isna().any() or values.empty:
        return replace(cell, n=len(values))
    median = censored_median(list(known), len(values))
    if median.value is None:
        at_least = median.at_least
        text = "not reached" if at_least is None else f"≥ {numbers.one(at_least)}"
        note = "not reached" if at_least is None else "known from below alone"
        return replace(cell, text=text, n=len(values), low=at_least, note=note)
    interval = median.interval
    if interval is None:
        return replace(cell, value=median.value, text=numbers.one(median.value), n=len(values))
    text = numbers.with_bounds(median.value, interval.low, interval.high)
    return replace(cell, value=median.value, text=text, n=len(values), low=interval.low, high=interval.high)


def ratio_cell(cell: Cell, logs: Sequence[float]) -> Cell:
    """Fill a cell with the geometric mean of ratios, one for each seed and given by their logarithms.

    With at least three seeds it has the t-interval. It is not available without a ratio for every seed.
    """
    if not len(logs) or any(pd.isna(value) for value in logs):
        return replace(cell, n=sum(not pd.isna(value) for value in logs))
    ratio = math.exp(sum(logs) / len(logs))
    interval = t_interval(logs) if len(logs) >= MIN_SEEDS else None
    if interval is None:
        return replace(cell, value=ratio, text=RATIO.one(ratio), n=len(logs))
    low, high = math.exp(interval.low), math.exp(interval.high)
    return replace(cell, value=ratio, text=RATIO.with_bounds(ratio, low, high), n=len(logs), low=low, high=high)


def available(cells: Iterable[Cell]) -> list[Cell]:
    """Leave out the rows that hold no figure at all."""
    cells = list(cells)
    rows = {cell.row for cell in cells if cell.text != Cell.text}
    return [cell for cell in cells if cell.row in rows]


def same_for_all_note(cells: Iterable[Cell]) -> list[str]:
    """Explain figures of several runs that are printed without a spread; no note if there are none."""
    for cell in cells:
        spread = cell.sd is not None or (cell.low is not None and cell.high is not None)
        if spread and cell.value is not None and not {"±", "["} & set(cell.text) and cell.text != "identical":
            return ["A figure without ± or an interval is the same for all seeds, in the digits shown."]
    return []


def run_names(frame: pd.DataFrame, settings: DrawSettings) -> str:
    """Name each run of a frame by the label of its method."""
    return ", ".join(frames.run_names(_labeled(frame, settings)))


def _labeled(frame: pd.DataFrame, settings: DrawSettings) -> pd.DataFrame:
    return frame.assign(method=frame["method"].map(settings.label))


def shared_device_note(frame: pd.DataFrame, settings: DrawSettings) -> list[str]:
    """Name the runs during which another process used the device; no note if there are none."""
    if "shared" not in frame:
        return []
    names = run_names(frame[frame["shared"].astype(str) == "True"], settings)
    if not names:
        return []
    return [f"Shared device: another process used it during {names}; their measurements include that process."]


def marked_if_disturbed(cell: Cell, runs: pd.DataFrame) -> Cell:
    """Mark a cell of times or energies if one of its runs was disturbed, unless it has no value."""
    return disturbed_cell(cell) if runs["disturbed"].any() and cell.text != Cell.text else cell


def disturbed_cell(cell: Cell) -> Cell:
    """Mark a cell."""
    return replace(cell, text=f"{cell.text} {DISTURBED}", note="; ".join(filter(None, [cell.note, "disturbed"])))


def disturbed_note(frame: pd.DataFrame, settings: DrawSettings) -> list[str]:
    """Name the runs that were disturbed, which explains the mark; no note if there are none."""
    named = _labeled(frame, settings)
    suspended = list(frames.suspended_names(named))
    names = run_names(frame[frame["disturbed"] & (frame["suspended_seconds"] == 0)], settings)
    causes = []
    if names:
        causes.append(
            f"{DISTURBED} Disturbed: other processes took time from {names} (an epoch stands out, or the "
            "processors worked for less of it than they should)."
        )
    if suspended:
        causes.append(f"{DISTURBED} Suspended while training: {', '.join(suspended)}.")
    meaning = "Their time, power and energy are not those of the method alone, and decide no claim."
    notes = [f"{cause} {meaning}" for cause in causes]
    if evaluating := list(frames.suspended_names(named, "eval_suspended_seconds")):
        notes.append(f"Suspended while evaluating, which no time or energy here includes: {', '.join(evaluating)}.")
    return notes


def devices_note(frame: pd.DataFrame) -> str:
    """Name the devices of a frame's runs."""
    return f"Device: {'; '.join(frame['device'].unique())}."
