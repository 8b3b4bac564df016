"""Power over time of one run per method, as the meter reported it, with evaluation marked."""

import math
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.run_record import RunRecord
from lora_core.layout import POWER
from lora_core.measuring.counter_ticks import with_power_at_both_edges
from lora_core.measuring.limits import DeviceLimits
from lora_core.measuring.power_trace import all_windows, power_is_zero, seconds, trapezoid_joules, windows
from lora_core.records import PowerRow, read_rows
from lora_core.reporting.figures.canvas import add_note, label_first_column, panels, set_title
from lora_core.reporting.figures.style import GRAY, listed, method_styles, tag
from lora_core.reporting.figures.svg import Drawing
from lora_core.reporting.inputs import DrawSettings, Inputs


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from the records and the power samples of the traced runs."""
    pairs = list(zip(inputs["traced_runs"], inputs["traced_power"], strict=True))
    records = [RunRecord.read(path, {POWER: power}) for path, power in pairs]
    samples = [_samples(record, power) for record, (_, power) in zip(records, pairs, strict=True)]
    methods = [record.method for record in records]
    styles, run = method_styles([*settings.labels, *methods]), records[0]
    traces = [
        pd.DataFrame(map(vars, rows), columns=["seconds", "phase", "power_watts"]).assign(method=record.method)
        for record, rows in zip(records, samples, strict=True)
    ]
    reasons = {r.method: _reason(r, rows) for r, rows in zip(records, samples, strict=True)}
    drawn = [method for method in methods if not reasons[method]]
    figure, axes = panels(
        [settings.label(method) for method in drawn], height=170, narrow=settings.narrow, sharex=True, sharey=True
    )
    panel_of, watts = dict(zip(drawn, axes, strict=True)), {}
    for method, rows in zip(methods, samples, strict=True):
        if method in panel_of:
            watts[method] = _mean_watts(rows)
            line = _draw_samples(panel_of[method], rows, styles[method].color)
            tag(line, method, f"{settings.label(method)}: mean {watts[method]:.0f} W while training")
    label_first_column(axes, "power, W")
    place = f"{task_title(run.task)}, seed {run.seed}, n = 1 run per method"
    means = listed([f"{settings.label(method)} {mean:.0f} W" for method, mean in watts.items()])
    set_title(
        figure,
        f"Mean power while training: {means} ({place})." if watts else f"Power while training: not measured ({place}).",
        "Power that the meter reported over the seconds of a run; gray: evaluation." if watts else "",
    )
    for reason in dict.fromkeys(filter(None, reasons.values())):
        names = [settings.label(method) for method in methods if reasons[method] == reason]
        add_note(figure, f"n/a: {', '.join(names)} ({reason}).")
    return figure, pd.concat(traces, ignore_index=True)


def _reason(record: RunRecord, rows: list[PowerRow]) -> str:
    """Why a run's power is not drawn; empty if it is."""
    train = windows(rows, "train")
    if all(row.power_watts is None for window in train for row in window) or power_is_zero(train):
        return record.energy.reason or "no power was sampled"
    return ""


def _samples(record: RunRecord, path: Path) -> list[PowerRow]:
    """The samples of a run, without what its device cannot report."""
    limits = DeviceLimits.of(record.energy.power_limit_watts)
    return [limits.without_impossible(row) for row in read_rows(path, PowerRow)]


def _mean_watts(rows: list[PowerRow]) -> float:
    """The mean power of training, by the samples: over time, or of those that there are if one is missing."""
    train = windows(rows, "train")
    joules = [part for window in train if (part := trapezoid_joules(window)) is not None]
    if len(joules) == len(train) and (total := sum(map(seconds, train))):
        return sum(joules) / total
    return fmean(row.power_watts for window in train for row in window if row.power_watts is not None)


def _draw_samples(panel: Any, rows: list[PowerRow], color: str) -> Any:
    """Draw the samples of one run, and return their line."""
    drawn = [row for window in all_windows(rows) for row in with_power_at_both_edges(window)]
    watts = [math.nan if row.power_watts is None else row.power_watts for row in drawn]
    (line,) = panel.plot([row.seconds for row in drawn], watts, color=color, linewidth=1)
    for window in windows(rows, "eval"):
        panel.axvspan(window[0].seconds, window[-1].seconds, color=GRAY, alpha=0.25, linewidth=0)
    panel.set_ylim(bottom=0)
    panel.set_xlabel("seconds from the run's start")
    return line
