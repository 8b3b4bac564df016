"""What training up to equal accuracy takes, in time and in energy, by method and task."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.frames import per_device, read_costs
from lora_core.reporting.figures.rows import RowValues, draw_row, name_rows, row_text
from lora_core.reporting.figures.style import (
    Drawing,
    MethodStyle,
    marker_face,
    method_styles,
    note_disturbed,
    seed_count,
    set_title,
    show_reason,
    task_panels,
)
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.stats import censored_median


@dataclass(frozen=True)
class Quantity:
    """A cost: its column in the records, its name, its unit, and how its numbers are formatted."""

    column: str
    title: str
    unit: str
    format: str


TIME = Quantity("seconds_to_threshold", "Time of training", "seconds", "{:.1f}")
ENERGY = Quantity("energy", "Energy of training", "kJ", "{:.3g}")


def draw_time(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw training time to equal accuracy."""
    return _draw(inputs, TIME)


def draw_energy(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw training energy to equal accuracy."""
    return _draw(inputs, ENERGY)


def _draw(inputs: Inputs, quantity: Quantity) -> Drawing:
    frame = per_device(read_costs(inputs["costs"]))
    methods, styles = list(dict.fromkeys(frame["method"])), method_styles(frame["method"])
    figure, parts = task_panels(frame, height=0.5 + 0.22 * len(methods), sharey=True)
    for task, group, panel in parts:
        if reason := _reason(group, quantity):
            show_reason(panel, reason)
            continue
        for y, method in enumerate(methods):
            _method(panel, y, group[group["method"] == method], quantity, styles[method])
        if not group["threshold_meaningful"].all():
            panel.set_title(f"{task_title(task)} (threshold not meaningful)", loc="left")
        name_rows(panel, methods)
        panel.set_xlim(left=0)
        panel.set_xlabel(quantity.unit)
    note_disturbed(figure, frame)
    set_title(
        figure,
        f"{quantity.title} to equal accuracy, min(FFT, LoRA) - 0.5 points: median of {seed_count(frame)}; one "
        "stroke per seed. A run that never reached it ranks above all that did.",
    )
    return figure, frame[["method", "task", "seed", "threshold", "epochs_to_threshold", quantity.column, "disturbed"]]


def _reason(runs: pd.DataFrame, quantity: Quantity) -> str | None:
    """Why there is nothing to draw of a task; None if there is."""
    if runs["threshold"].isna().all():
        return f"no threshold: {'; '.join(sorted(set(runs['threshold_reason'].dropna())))}"
    if runs.loc[runs["epochs_to_threshold"].notna(), quantity.column].isna().all():
        reasons = runs["meter_reason"].dropna()
        return reasons.iloc[0] if len(reasons) else "no run reached the threshold, or its energy is unknown"
    return None


def _method(panel: Any, y: float, runs: pd.DataFrame, quantity: Quantity, style: MethodStyle) -> None:
    """Draw the row of one method."""
    known = runs.loc[runs["epochs_to_threshold"].notna(), quantity.column]
    if known.isna().any() or runs.empty:
        row_text(panel, y, "n/a")
        return
    median = censored_median(list(known), len(runs))
    if median.value is not None:
        method = str(runs["method"].iloc[0])
        row = RowValues(method, list(known), median.value, median.interval, quantity.format)
        draw_row(panel, y, row, style, show_interval=False, face=marker_face(runs, style.color))
    if len(known) < len(runs):
        row_text(panel, y, f"{len(runs) - len(known)} of {len(runs)} did not reach it")
