"""What training keeps in memory, by its parts, and what was measured above the baseline."""

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


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from the record of every run."""
    frame = per_device(read_memory(inputs["runs"]))
    methods = list(dict.fromkeys(frame["method"]))
    figure, parts = task_panels(frame, height=0.5 + 0.2 * len(methods), legend_rows=3, sharey=True)
    for _, group, panel in parts:
        means = complete_means(group.groupby("method", sort=False)[[*PARTS, "added_mb"]]).reindex(methods)
        _bars(panel, means)
        if means["added_mb"].notna().any():
            panel.plot(means["added_mb"], range(len(methods)), "D", color=INK, markerfacecolor="white", markersize=4,
                       label="measured, mean minus baseline")  # fmt: skip
        name_rows(panel, methods)
        panel.set_xlabel("MB")
    add_legend(figure, [panel for _, _, panel in parts], columns=2)
    set_title(
        figure,
        f"Training memory by its parts, mean of {seed_count(frame)} (MB = 10⁶ bytes). Parts are counted, independent "
        "of the allocator.",
    )
    return figure, frame[["method", "task", "seed", *PARTS, "added_mb"]]


def _bars(panel: Any, means: pd.DataFrame) -> None:
    """Draw the parts of each method side by side in one bar."""
    left = pd.Series(0.0, index=means.index)
    for part, color in zip(PARTS, COLORS, strict=True):
        bars = panel.barh(range(len(means)), means[part], left=left, height=0.7, color=color, label=LABELS[part],
                          edgecolor=INK, linewidth=0.3)  # fmt: skip
        for bar, (method, size) in zip(bars, means[part].items(), strict=True):
            if not pd.isna(size):
                tag(bar, str(method), f"{method}: {LABELS[part]} {size:,.1f} MB")
        left = left + means[part]
