"""Score against trained parameters, memory, time and energy; the methods that no other beats in both are joined."""

from typing import Any

import pandas as pd

from lora_core.evaluation.counts import read_counts
from lora_core.evaluation.frames import per_device, read_costs, read_memory, read_scores
from lora_core.reporting.figures.style import (
    GRAY,
    Drawing,
    MethodStyle,
    add_legend,
    complete_means,
    legend_rows,
    method_styles,
    name_missing,
    note_disturbed,
    panels,
    seed_count,
    set_title,
    show_reason,
    tag,
)
from lora_core.reporting.inputs import DrawSettings, Inputs

KEYS = ["method", "task", "seed"]
QUANTITIES = {
    "parameters": "trained parameters",
    "accounted_mb": "training memory, MB",
    "train_seconds": "seconds of training",
    "train_energy_joules": "joules of training",
}
MEASURED_OVER_TIME = ("train_seconds", "train_energy_joules")  # what a disturbance changes


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from counts.json, scores, costs, and the record of every run; means over tasks and seeds."""
    counts = read_counts(inputs["counts"][0]).methods
    costs = read_costs(inputs["costs"])
    frame = (
        read_scores(inputs["scores"])[[*KEYS, "best"]]
        .merge(read_memory(inputs["runs"])[[*KEYS, "accounted_mb"]], on=KEYS)
        .merge(costs[[*KEYS, "device", "disturbed", "train_seconds", "train_energy_joules"]], on=KEYS)
    )
    frame = per_device(frame.assign(parameters=[counts[method].trainable for method in frame["method"]]))
    by_task = complete_means(frame.groupby(["method", "task"], sort=False)[["best", *QUANTITIES]])
    points = complete_means(by_task.groupby("method", sort=False)).reset_index()
    points["disturbed"] = points["method"].map(frame.groupby("method")["disturbed"].any())
    styles = method_styles(points["method"])
    figure, axes = panels([""] * len(QUANTITIES), height=2.0, legend_rows=legend_rows(frame))
    for column, panel in zip(QUANTITIES, axes, strict=True):
        _panel(panel, points, column, styles)
    add_legend(figure, axes)
    note_disturbed(figure, costs)
    set_title(
        figure,
        f"Score against cost, means over tasks ({frame['task'].nunique()}) and {seed_count(frame)}. On the gray line "
        "no other method is both better and cheaper.",
    )
    return figure, points


def _panel(panel: Any, points: pd.DataFrame, column: str, styles: dict[str, MethodStyle]) -> None:
    """Draw score against one quantity."""
    label = QUANTITIES[column]
    known = points.dropna(subset=[column]).sort_values([column, "best"], ascending=[True, False])
    if known.empty:
        show_reason(panel, f"{label} were not measured")
        return
    name_missing(panel, [m for m in points["method"] if m not in set(known["method"])])
    front = known[known["best"] >= known["best"].cummax()]
    panel.plot(front[column], 100 * front["best"], color=GRAY, linewidth=1, drawstyle="steps-post", zorder=1)
    for _, point in known.iterrows():
        method, style = point["method"], styles[point["method"]]
        is_hollow = point["disturbed"] and column in MEASURED_OVER_TIME
        (dot,) = panel.plot(
            point[column], 100 * point["best"], style.marker, color=style.color, markersize=6, label=method,
            markerfacecolor="none" if is_hollow else style.color,
        )  # fmt: skip
        tag(dot, method, f"{method}: {100 * point['best']:.1f} %, {point[column]:,.4g} {label}")
    if column == "parameters":
        panel.set_xscale("log")
    else:
        panel.set_xlim(0, 1.08 * known[column].max())
    panel.set_xlabel(label)
    panel.set_ylabel("mean score, %")
