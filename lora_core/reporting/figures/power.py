"""Power over time of one run per method, as the meter reported it, with evaluation marked."""

from pathlib import Path
from typing import Any

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.run_record import RunRecord
from lora_core.layout import POWER
from lora_core.measuring.limits import DeviceLimits
from lora_core.measuring.power_trace import power_is_zero, windows
from lora_core.records import PowerRow, read_rows
from lora_core.reporting.figures.style import GRAY, Drawing, method_styles, panels, set_title, show_reason, tag
from lora_core.reporting.inputs import DrawSettings, Inputs


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from the records and the power samples of the traced runs."""
    pairs = list(zip(inputs["traced_runs"], inputs["traced_power"], strict=True))
    records = [RunRecord.read(path, {POWER: power}) for path, power in pairs]
    samples = [_samples(record, power) for record, (_, power) in zip(records, pairs, strict=True)]
    methods = [record.method for record in records]
    styles, run = method_styles(methods), records[0]
    figure, axes = panels(methods, height=1.6, columns=1, sharex=True)
    traces = []
    for method, record, rows, panel in zip(methods, records, samples, axes, strict=True):
        trace = pd.DataFrame(map(vars, rows), columns=["seconds", "phase", "power_watts"]).assign(method=method)
        traces.append(trace)
        if trace["power_watts"].isna().all() or power_is_zero(windows(rows, "train")):
            show_reason(panel, record.energy.reason or "no power was sampled")
            continue
        _trace(panel, trace, rows, styles[method].color)
    set_title(
        figure,
        f"Power while training on {task_title(run.task)}, seed {run.seed}, n = 1 run per method; gray: evaluation.",
    )
    return figure, pd.concat(traces, ignore_index=True)


def _samples(record: RunRecord, path: Path) -> list[PowerRow]:
    """The samples of a run, without what its device cannot report."""
    limits = DeviceLimits.of(record.energy.power_limit_watts)
    return [limits.without_impossible(row) for row in read_rows(path, PowerRow)]


def _trace(panel: Any, trace: pd.DataFrame, rows: list[PowerRow], color: str) -> None:
    """Draw the samples of one run."""
    method = trace["method"].iloc[0]
    (line,) = panel.plot(trace["seconds"], trace["power_watts"], color=color, linewidth=1)
    tag(line, method, f"{method}: mean {trace['power_watts'].mean():.0f} W")
    for window in windows(rows, "eval"):
        panel.axvspan(window[0].seconds, window[-1].seconds, color=GRAY, alpha=0.25, linewidth=0)
    panel.set_ylim(bottom=0)
    panel.set_ylabel("power, W")
    panel.set_xlabel("seconds from the run's start")
