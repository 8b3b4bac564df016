"""Score after each epoch against epochs, time or energy, mean over seeds, with the line of equal accuracy."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from lora_core.evaluation.frames import per_device, read_costs, read_curves
from lora_core.reporting.figures.style import (
    GRAY,
    Drawing,
    add_legend,
    complete_means,
    legend_rows,
    marker_face,
    method_styles,
    name_missing,
    note_disturbed,
    seed_count,
    set_title,
    show_reason,
    tag,
    task_panels,
)
from lora_core.reporting.inputs import DrawSettings, Inputs


@dataclass(frozen=True)
class Axis:
    """What a curve is drawn against: a column of the curves, and the factor to the unit of the label."""

    column: str
    factor: float
    label: str
    whole_numbers: bool = False


EPOCHS = Axis("epoch", 1.0, "epoch", whole_numbers=True)
TIME = Axis("cumulative_train_seconds", 1.0, "seconds of training")
ENERGY = Axis("cumulative_train_energy_joules", 1e-3, "energy of training, kJ")


def draw_over_epochs(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw score against epochs."""
    return _draw(inputs, settings, EPOCHS)


def draw_over_time(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw score against training time."""
    return _draw(inputs, settings, TIME)


def draw_over_energy(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw score against training energy."""
    return _draw(inputs, settings, ENERGY)


def _draw(inputs: Inputs, settings: DrawSettings, axis: Axis) -> Drawing:
    costs = read_costs(inputs["costs"])
    frame = read_curves(inputs["curves"]).merge(costs[["method", "task", "seed", "device", "disturbed"]])
    frame = per_device(frame.assign(entry=frame["method"]))
    references = {settings.references.full, settings.references.adapter}
    styles = method_styles(frame["method"])
    figure, parts = task_panels(frame, height=1.9, legend_rows=legend_rows(frame))
    for task, group, panel in parts:
        panel.set_xlabel(axis.label)
        of_task = costs[costs["task"] == task]
        if group[axis.column].isna().all():
            reasons = of_task["meter_reason"].dropna()
            show_reason(panel, f"{axis.label}: {reasons.iloc[0] if len(reasons) else 'not measured'}")
            continue
        missing = []
        for method, runs in group.groupby("method", sort=False):
            mean = complete_means(runs.groupby("epoch")[[axis.column, "score"]]).dropna()
            if mean.empty:
                missing.append(str(method))
                continue
            width = 2.0 if runs["entry"].iloc[0] in references else 1.0
            style = styles[str(method)]
            face = style.color if axis.whole_numbers else marker_face(runs, style.color)
            _curve(panel, str(method), mean, axis, style.line | {"linewidth": width, "markerfacecolor": face})
        name_missing(panel, missing)
        threshold = of_task["threshold"].iloc[0]
        if not pd.isna(threshold):
            panel.axhline(100 * threshold, color=GRAY, linewidth=0.8)
        if axis.whole_numbers:
            panel.xaxis.get_major_locator().set_params(integer=True)
        else:
            panel.set_xlim(left=0)
        panel.set_ylabel("score, %")
    add_legend(figure, [panel for _, _, panel in parts])
    if not axis.whole_numbers:
        note_disturbed(figure, costs)
    set_title(
        figure,
        f"Score after each epoch, mean of {seed_count(frame)}. Gray line: equal accuracy, min(FFT, LoRA) - 0.5 points.",
    )
    return figure, frame.drop(columns="entry")


def _curve(panel: Any, method: str, mean: pd.DataFrame, axis: Axis, style: dict[str, object]) -> None:
    """Draw the mean over the seeds of one method, at the epochs that are known of every seed."""
    (line,) = panel.plot(axis.factor * mean[axis.column], 100 * mean["score"], label=method, **style)
    tag(line, method, f"{method}: {100 * mean['score'].iloc[-1]:.1f} % after the last epoch")
