"""What training keeps in memory by its parts, the peak of tensors, and what the meter measured, on one axis."""

from typing import Any

import pandas as pd

from lora_core.evaluation.frames import PARTS, per_device, read_memory
from lora_core.reporting.figures.rows import name_rows
from lora_core.reporting.figures.style import (
    INK,
    Drawing,
    add_legend,
    complete_means,
    seed_count,
    set_title,
    tag,
    task_panels,
)
from lora_core.reporting.inputs import DrawSettings, Inputs

LABELS = {
    "weights_mb": "weights",
    "gradients_mb": "gradients",
    "optimizer_mb": "optimizer state",
    "saved_for_backward_mb": "saved for backward",
}
COLORS = ("#08306b", "#2171b5", "#6baed6", "#bdd7ec")  # distinct in gray too
# What is drawn as points: the column, its label and its marker. A device's memory is drawn as NVML reports it.
POINTS = (
    ("tensors_mb", "tensors, peak", "|"),
    ("nvml_mb", "NVML, mean", "D"),
    ("resident_mb", "process, mean minus baseline", "D"),
)


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from the record of every run."""
    frame = per_device(read_memory(inputs["runs"]))
    on_device = frame["kind"] == "device"
    frame = frame.assign(
        tensors_mb=frame["peak_allocated_mb"],
        nvml_mb=frame["mean_mb"].where(on_device),
        resident_mb=frame["added_mb"].where(~on_device),
    )
    columns = [*PARTS, *(column for column, _, _ in POINTS)]
    methods = list(dict.fromkeys(frame["method"]))
    figure, parts = task_panels(frame, height=0.5 + 0.2 * len(methods), legend_rows=3, sharey=True)
    for _, group, panel in parts:
        means = complete_means(group.groupby("method", sort=False)[columns]).reindex(methods) / 1e3
        _bars(panel, means)
        _points(panel, means)
        name_rows(panel, methods)
        panel.set_xlim(left=0)
        panel.set_xlabel("GB")
    add_legend(figure, [panel for _, _, panel in parts], columns=2)
    set_title(
        figure,
        f"Training memory by its parts, mean of {seed_count(frame)} (GB = 10⁹ bytes). Parts are counted, independent "
        "of the allocator.",
    )
    return figure, frame[["method", "task", "seed", *columns]]


def _points(panel: Any, means: pd.DataFrame) -> None:
    """Draw what was measured over the bar of each method."""
    for column, label, marker in POINTS:
        values = means[column].astype(float)
        if not values.notna().any():
            continue
        size = 11 if marker == "|" else 4
        panel.plot(values, range(len(means)), marker, color=INK, markerfacecolor="white", markersize=size,
                             markeredgewidth=1.5 if marker == "|" else 1, label=label)  # fmt: skip


def _bars(panel: Any, means: pd.DataFrame) -> None:
    """Draw the parts of each method side by side in one bar."""
    left = pd.Series(0.0, index=means.index)
    for part, color in zip(PARTS, COLORS, strict=True):
        bars = panel.barh(range(len(means)), means[part], left=left, height=0.7, color=color, label=LABELS[part],
                          edgecolor=INK, linewidth=0.3)  # fmt: skip
        for bar, (method, size) in zip(bars, means[part].items(), strict=True):
            if not pd.isna(size):
                tag(bar, str(method), f"{method}: {LABELS[part]} {size:,.3g} GB")
        left = left + means[part]
