"""What training up to equal accuracy takes, in time and in energy, by method and task."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.decimals import plain
from lora_core.evaluation.frames import read_costs
from lora_core.reporting.figures.canvas import add_note, set_title, task_panels, unmeasured
from lora_core.reporting.figures.conclusions import ratio_title
from lora_core.reporting.figures.rows import RowValues, draw_row, name_rows, row_text, rows_height
from lora_core.reporting.figures.style import (
    MethodStyle,
    disturbed_note,
    marker_face,
    methods_of,
    named,
    seed_count,
    tag,
)
from lora_core.reporting.figures.svg import Drawing
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.stats import censored_median


@dataclass(frozen=True)
class Quantity:
    """A cost: its column in the records, its name, its unit, and how its numbers are formatted."""

    column: str
    name: str
    unit: str
    format: Callable[[float], str]


TIME = Quantity("seconds_to_threshold", "time", "seconds", "{:.1f}".format)
ENERGY = Quantity("energy", "energy", "kJ", partial(plain, significant=3))


def draw_time(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw training time to equal accuracy."""
    return _draw(inputs, settings, TIME)


def draw_energy(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw training energy to equal accuracy."""
    return _draw(inputs, settings, ENERGY)


def _draw(inputs: Inputs, settings: DrawSettings, quantity: Quantity) -> Drawing:
    frame, styles = named(read_costs(inputs["costs"]), settings)
    methods = methods_of(frame)
    reasons = {str(task): _reason(runs, quantity) for task, runs in frame.groupby("task", sort=False)}
    drawn = frame[[not reasons[task] for task in frame["task"]]]
    figure, parts = task_panels(drawn, height=rows_height(len(methods)), narrow=settings.narrow, sharey=True)
    for task, group, panel in parts:
        for y, name in enumerate(methods):
            _method(panel, y, group[group["name"] == name], quantity, styles[name])
        if not group["threshold_meaningful"].all():
            panel.set_title(f"{task_title(task)} (vague threshold)", loc="left")
        name_rows(panel, list(methods), methods)
        panel.set_xlim(0, 1.06 * (panel.dataLim.xmax if panel.lines else 1))
        panel.set_xlabel(f"{quantity.name}, {quantity.unit}")
    title = ratio_title(
        frame, quantity.column, settings,
        says=f"reaches equal accuracy in {{}} {quantity.name} of",
        otherwise=f"Training {quantity.name} to equal accuracy",
    )  # fmt: skip
    set_title(figure, title, _note(drawn, quantity, settings))
    add_note(figure, unmeasured({task: reason for task, reason in reasons.items() if reason}))
    add_note(figure, disturbed_note(drawn, settings))
    return figure, frame[["method", "task", "seed", "threshold", "epochs_to_threshold", quantity.column, "disturbed"]]


def _note(drawn: pd.DataFrame, quantity: Quantity, settings: DrawSettings) -> str:
    if drawn.empty:
        return ""
    names = settings.references.names(settings.labels)
    vague = "" if drawn["threshold_meaningful"].all() else " Vague: near the majority-class baseline."
    return (
        f"Training {quantity.name} to equal accuracy, min({names['full']}, {names['adapter']}) − 0.5 points: median of "
        f"{seed_count(drawn)}; one stroke per seed. A run that never reached it ranks above all that did; "
        f"arrow: the median is at least that.{vague}"
    )


def _reason(runs: pd.DataFrame, quantity: Quantity) -> str:
    """Why there is nothing to draw of a task; empty if there is."""
    if runs["threshold"].isna().all():
        return f"no threshold: {'; '.join(sorted(set(runs['threshold_reason'].dropna())))}"
    if runs.loc[runs["epochs_to_threshold"].notna(), quantity.column].isna().all():
        reasons = runs["meter_reason"].dropna()
        return reasons.iloc[0] if len(reasons) else "no run reached the threshold, or its energy is unknown"
    return ""


def _method(panel: Any, y: float, runs: pd.DataFrame, quantity: Quantity, style: MethodStyle) -> None:
    """Draw the row of one method."""
    known = runs.loc[runs["epochs_to_threshold"].notna(), quantity.column]
    if known.isna().any() or runs.empty:
        row_text(panel, y, "n/a")
        return
    method, name = str(runs["method"].iloc[0]), str(runs["name"].iloc[0])
    median = censored_median(list(known), len(runs))
    if median.value is not None:
        row = RowValues(method, name, list(known), median.value, median.interval, quantity.format)
        draw_row(panel, y, row, style, show_interval=False, face=marker_face(runs, style.color))
    if len(known) < len(runs):
        row_text(panel, y, f"{len(known)} of {len(runs)} reached", method)
    if median.at_least is not None:
        (arrow,) = panel.plot([median.at_least], [y], ">", color=style.color, markersize=8, markerfacecolor="none")
        tag(arrow, method, f"{name}: at least {quantity.format(median.at_least)}, {len(known)} of {len(runs)}")
