"""Training loss of several methods at one seed, one over the other, and how far each is from the first."""

from typing import Any

import pandas as pd

from lora_core.evaluation.frames import read_losses
from lora_core.reporting.figures.style import (
    SMALL,
    Drawing,
    add_legend,
    method_styles,
    set_title,
    show_reason,
    tag,
    task_rows,
)
from lora_core.reporting.inputs import DrawSettings, Inputs

WINDOW = 25  # steps over which a loss curve is averaged for the eye
POINTS = 1000  # of a curve that are drawn; the CSV has all


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from the step losses of runs; a row of panels for each task.

    Methods that compute the same from the same seed differ by rounding alone: their relative difference starts near
    1e-7 and grows as two orders of summation drift apart.
    """
    losses = read_losses(inputs["loss_runs"], inputs["loss_predictions"])
    first, styles = losses["method"].iloc[0], method_styles(losses["method"])
    figure, parts = task_rows(losses, legend_rows=1)
    for _, group, (left, right) in parts:
        curves = group.pivot(index="step", columns="method", values="loss")[group["method"].unique()]
        for method in curves.columns:
            smooth = thinned(curves[method].dropna().rolling(WINDOW, min_periods=1).mean())
            (line,) = left.plot(smooth.index, smooth, label=method, **styles[method].line | {"marker": ""})
            tag(line, method, method)
            if method != first:
                _differences(right, curves[method], curves[first], styles[method].color)
        left.set_ylabel("training loss")
        right.set_ylabel(f"difference from {first}")
        for panel in (left, right):
            panel.set_xlabel("step")
        if len(curves.columns) == 1:
            show_reason(right, "no other method computes the same")
    add_legend(figure, [left for _, _, (left, _) in parts])
    set_title(
        figure,
        f"Training loss, seed {losses['seed'].iloc[0]}, mean of {WINDOW} steps; right: relative difference from "
        f"{first} at each step.",
    )
    return figure, losses


def thinned(values: pd.Series) -> pd.Series:
    """Return at most POINTS values of a long series, evenly spaced: a page need not draw a quarter of a million."""
    return values.iloc[:: -(-len(values) // POINTS) or 1]


def _differences(panel: Any, curve: pd.Series, first: pd.Series, color: str) -> None:
    """Draw the relative difference at the steps where there is one, and say how many those are."""
    relative = ((curve - first).abs() / first.abs()).dropna()
    differ = relative[relative > 0]
    if differ.empty:
        panel.set_yticks([])
        text = f"{curve.name} is bit-identical\nat all {len(relative):,} steps"
        panel.text(0.5, 0.5, text, ha="center", transform=panel.transAxes, fontsize=SMALL)
        return
    shown = thinned(differ)
    panel.plot(shown.index, shown, ".", markersize=2, color=color)
    panel.set_yscale("log")
    panel.set_title(f"{curve.name}: {len(differ):,} of {len(relative):,} steps differ", fontsize=SMALL, loc="left")
