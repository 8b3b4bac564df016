"""Score after each epoch against epochs, time or energy, mean over seeds, with the line of equal accuracy."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.evaluation.frames import read_costs, read_curves
from lora_core.reporting.figures.canvas import (
    add_legend,
    add_note,
    label_first_column,
    missing_note,
    set_title,
    task_panels,
    unmeasured,
)
from lora_core.reporting.figures.conclusions import ratio_title
from lora_core.reporting.figures.direct_labels import Named, label_points
from lora_core.reporting.figures.style import (
    GRAY,
    complete_means,
    disturbed_note,
    marker_face,
    methods_of,
    named,
    seed_count,
    tag,
)
from lora_core.reporting.figures.svg import Drawing
from lora_core.reporting.inputs import DrawSettings, Inputs

MARKS = 10  # of a curve, about: more would hide a long one


@dataclass(frozen=True)
class Axis:
    """What a curve is drawn against: a column of the curves, and the factor to the unit of the label.

    `cost` is the column of the costs that the title compares; `says` what the title says of it.
    """

    column: str
    factor: float
    label: str
    title: str
    cost: str
    says: str
    whole_numbers: bool = False


EPOCHS = Axis(
    "epoch", 1.0, "epoch", "Score over the epochs of training",
    "epochs_to_threshold", "reaches equal accuracy in {} epochs of", whole_numbers=True,
)  # fmt: skip
TIME = Axis(
    "cumulative_train_seconds", 1.0, "training, seconds", "Score over training time, seconds",
    "seconds_per_epoch", "needs {} time per epoch of",
)  # fmt: skip
ENERGY = Axis(
    "cumulative_train_energy_joules", 1e-3, "training, kJ", "Score over training energy, kJ",
    "train_energy_joules", "takes {} training energy of",
)  # fmt: skip


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
    frame, styles = named(frame, settings)
    reasons = {str(task): _reason(runs, costs, axis) for task, runs in frame.groupby("task", sort=False)}
    drawn = frame[[not reasons[task] for task in frame["task"]]]
    figure, parts = task_panels(drawn, height=190, narrow=settings.narrow)
    references = (settings.references.full, settings.references.adapter)
    ends, missing = [], {}
    for task, group, panel in parts:
        panel.set_xlabel(axis.label)
        lines = {}
        for name, runs in group.groupby("name", sort=False):
            mean = complete_means(runs.groupby("epoch")[[axis.column, "score"]]).dropna()
            if len(mean):
                lines[str(name)] = runs, mean
                style, method = styles[str(name)], str(runs["method"].iloc[0])
                face = style.color if axis.whole_numbers else marker_face(runs, style.color)
                look = {"markerfacecolor": face, "markevery": max(1, len(mean) // MARKS)} | (
                    {"linewidth": 2.8, "markersize": 7} if method in references else {"linewidth": 1.2}
                )
                _curve(panel, (method, str(name)), mean, axis, style.line | look)
        missing[task_title(task)] = [name for name in map(str, group["name"].unique()) if name not in lines]
        ends.append((panel, [point for line in lines.values() for point in _points(*line, axis)]))
        _finish(panel, costs.loc[costs["task"] == task, "threshold"].iloc[0], axis)
    panels = [panel for _, _, panel in parts]
    label_first_column(panels, "score, %")
    if parts and not label_points(figure, ends):
        add_legend(figure, panels, methods_of(frame))
    title = ratio_title(costs, axis.cost, settings, says=axis.says, otherwise=axis.title)
    set_title(figure, title, _note(drawn, axis, settings))
    for note in (unmeasured({t: r for t, r in reasons.items() if r}), missing_note(missing)):
        add_note(figure, note)
    if not axis.whole_numbers and parts:
        add_note(figure, disturbed_note(costs, settings))
    return figure, frame.drop(columns="name")


def _note(drawn: pd.DataFrame, axis: Axis, settings: DrawSettings) -> str:
    if drawn.empty:
        return ""
    names = settings.references.names(settings.labels)
    return (
        f"{axis.title}: after each epoch, mean of {seed_count(drawn)}. Gray line: equal accuracy, "
        f"min({names['full']}, {names['adapter']}) − 0.5 points."
    )


def _reason(runs: pd.DataFrame, costs: pd.DataFrame, axis: Axis) -> str:
    """Why there is nothing to draw of a task; empty if there is."""
    if runs[axis.column].notna().any():
        return ""
    reasons = costs.loc[costs["task"] == runs["task"].iloc[0], "meter_reason"].dropna()
    return str(reasons.iloc[0]) if len(reasons) else "not measured"


def _points(runs: pd.DataFrame, mean: pd.DataFrame, axis: Axis) -> list[Named]:
    """The points of a line; the last has its name."""
    name, method = str(runs["name"].iloc[0]), str(runs["method"].iloc[0])
    places = list(zip(axis.factor * mean[axis.column], 100 * mean["score"], strict=True))
    return [Named(x, y, name if i == len(places) else "", method) for i, (x, y) in enumerate(places, 1)]


def _finish(panel: Any, threshold: float, axis: Axis) -> None:
    """Draw the line of equal accuracy, and set the horizontal axis."""
    if not pd.isna(threshold):
        panel.axhline(100 * threshold, color=GRAY, linewidth=1)
    if axis.whole_numbers:
        panel.xaxis.get_major_locator().set_params(integer=True)
    else:
        panel.set_xlim(left=0)


def _curve(panel: Any, who: tuple[str, str], mean: pd.DataFrame, axis: Axis, style: dict[str, object]) -> None:
    """Draw the mean over the seeds of one method, at the epochs that are known of every seed."""
    method, name = who
    (line,) = panel.plot(axis.factor * mean[axis.column], 100 * mean["score"], label=name, **style)
    tag(line, method, f"{name}: {100 * mean['score'].iloc[-1]:.1f} % after the last epoch")
