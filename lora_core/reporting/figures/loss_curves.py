"""Training loss of several methods at one seed, one over the other, and how far each is from the first."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lora_core.decimals import plain
from lora_core.evaluation.frames import read_losses
from lora_core.reporting.figures.canvas import (
    SMALL,
    add_legend,
    add_note,
    label_first_column,
    make_logarithmic,
    set_title,
    task_pairs,
)
from lora_core.reporting.figures.style import MethodStyle, counted, listed, methods_of, named, tag
from lora_core.reporting.figures.svg import Drawing
from lora_core.reporting.inputs import DrawSettings, Inputs

WINDOW = 25  # steps over which a loss curve is averaged for the eye
POINTS = 1000  # of a curve that are drawn; the CSV has all


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from the step losses of runs: of each task the losses, and below them the differences.

    Methods that compute the same from the same seed differ by rounding alone: their relative difference starts near
    1e-7 and grows as two orders of summation drift apart.
    """
    losses, styles = named(read_losses(inputs["loss_runs"], inputs["loss_predictions"]), settings)
    methods, first = methods_of(losses), str(losses["name"].iloc[0])
    figure, parts = task_pairs(losses, height=150, narrow=settings.narrow)
    largest: dict[str, float] = {}
    for _, group, (upper, lower) in parts:
        curves = group.pivot(index="step", columns="name", values="loss")[group["name"].unique()]
        for name in map(str, curves.columns):
            smooth = thinned(curves[name].dropna().rolling(WINDOW, min_periods=1).mean())
            look = {"marker": "", "linewidth": 3.0 if name == first else 1.2}  # equal lines stay visible
            (line,) = upper.plot(smooth.index, smooth, label=name, **styles[name].line | look)
            tag(line, methods[name], name)
        others = [str(name) for name in curves.columns if name != first]
        for name in others:
            relative = ((curves[name] - curves[first]).abs() / curves[first].abs()).dropna()
            largest[name] = max(largest.get(name, 0.0), relative.max())
            _differences(lower, relative, (methods[name], name), styles[name])
        if not others:
            lower.set_axis_off()
        upper.set_xlabel("step")
        lower.set_xlabel("step")
    label_first_column([upper for _, _, (upper, _) in parts], "training loss")
    label_first_column([lower for _, _, (_, lower) in parts if lower.axison], "difference")
    add_legend(figure, [upper for _, _, (upper, _) in parts], methods)
    set_title(
        figure,
        _title(first, largest),
        f"Training loss, seed {losses['seed'].iloc[0]}, mean of {WINDOW} steps; below: relative difference from "
        f"{first} at each step.",
    )
    if not largest:
        add_note(figure, "n/a: no other method computes the same.")
    return figure, losses.drop(columns="name")


def _title(first: str, largest: Mapping[str, float]) -> str:
    """What the differences show, all tasks and steps together."""
    same = [name for name, difference in largest.items() if difference == 0]
    most = {name: plain(difference, 1) for name, difference in largest.items() if difference > 0}
    parts = [f"{name} differs from {first} by at most {difference} of the loss" for name, difference in most.items()]
    if same:
        parts.insert(0, f"{listed(same)} trains bit for bit as {first}")
    return f"{'; '.join(parts)}." if parts else f"Training loss of {first}, step by step."


def thinned(values: pd.Series) -> pd.Series:
    """Return at most POINTS values of a long series, evenly spaced: a page need not draw a quarter of a million."""
    return values.iloc[:: -(-len(values) // POINTS) or 1]


def _differences(panel: Any, relative: pd.Series, who: tuple[str, str], style: MethodStyle) -> None:
    """Draw the relative difference at the steps where there is one, and say how many those are."""
    method, name = who
    differ = relative[relative > 0]
    if len(differ):
        shown = thinned(differ)
        (points,) = panel.plot(shown.index, shown, ".", markersize=3, color=style.color)
        tag(points, method, name)
        make_logarithmic(panel.yaxis)
        text = f"{len(differ):,} of {counted(len(relative), '{} step')} differ"
    else:
        text = f"bit-identical at {counted(len(relative), '{} step')}"
        if not panel.lines:
            panel.set_yticks([])
    if panel.get_title(loc="left"):
        text = f"{panel.get_title(loc='left')}\n{text}"
    panel.set_title(text, fontsize=SMALL, loc="left")
