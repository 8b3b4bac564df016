"""What training keeps in memory by its parts, the peak of tensors, and what the meter measured, on one axis."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lora_core.decimals import plain
from lora_core.evaluation.frames import PARTS, read_memory
from lora_core.reporting.figures.canvas import add_legend, set_title, task_panels
from lora_core.reporting.figures.conclusions import ratio_title
from lora_core.reporting.figures.rows import name_rows, rows_height
from lora_core.reporting.figures.style import INK, complete_means, methods_of, named, seed_count, tag
from lora_core.reporting.figures.svg import Drawing
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
    ("nvml_mb", "held by the device, mean (NVML)", "D"),
    ("resident_mb", "process, mean minus baseline", "D"),
)


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from the record of every run."""
    frame, _ = named(read_memory(inputs["runs"]), settings)
    on_device = frame["kind"] == "device"
    frame = frame.assign(
        tensors_mb=frame["peak_allocated_mb"],
        nvml_mb=frame["mean_mb"].where(on_device),
        resident_mb=frame["added_mb"].where(~on_device),
    )
    columns = [*PARTS, *(column for column, _, _ in POINTS)]
    methods = methods_of(frame)
    figure, parts = task_panels(frame, height=rows_height(len(methods)), narrow=settings.narrow, sharey=True)
    for _, group, panel in parts:
        means = complete_means(group.groupby("name", sort=False)[columns]).reindex(list(methods)) / 1e3
        _bars(panel, means, methods)
        _points(panel, means, methods)
        name_rows(panel, list(methods), methods)
        panel.set_xlim(left=0)
        panel.set_xlabel("memory, GB")
    add_legend(figure, [panel for _, _, panel in parts])
    set_title(
        figure,
        _title(frame, settings),
        f"Training memory, mean of {seed_count(frame)} (GB = 10⁹ bytes). Parts are counted, independent of the "
        "allocator.",
    )
    return figure, frame[["method", "task", "seed", *columns]]


def held_by_device(frame: pd.DataFrame) -> bool:
    """Whether a real device's memory was measured of every run."""
    measured = (frame["kind"] == "device") & ~frame["simulated"].astype(bool) & frame["mean_mb"].notna()
    return bool(measured.all())


def _title(frame: pd.DataFrame, settings: DrawSettings) -> str:
    """What LoRA needs: of the device's memory, where that was measured of every run; else of the parts."""
    column, what = ("mean_mb", "device") if held_by_device(frame) else ("accounted_mb", "counted training")
    return ratio_title(
        frame, column, settings, says=f"takes {{}} {what} memory of", otherwise="Training memory by its parts, GB"
    )


def _points(panel: Any, means: pd.DataFrame, methods: Mapping[str, str]) -> None:
    """Draw what was measured over the bar of each method."""
    for column, label, marker in POINTS:
        for y, (name, value) in enumerate(means[column].astype(float).items()):
            if pd.isna(value):
                continue
            first = label not in panel.get_legend_handles_labels()[1]
            (point,) = panel.plot(
                [value], [y], marker, color=INK, markerfacecolor="white", markersize=14 if marker == "|" else 5,
                markeredgewidth=2 if marker == "|" else 1, label=label if first else None, linestyle="none",
            )  # fmt: skip
            tag(point, methods[str(name)], f"{name}: {label} {plain(value, 3)} GB")


def _bars(panel: Any, means: pd.DataFrame, methods: Mapping[str, str]) -> None:
    """Draw the parts of each method side by side in one bar."""
    left = pd.Series(0.0, index=means.index)
    for part, color in zip(PARTS, COLORS, strict=True):
        bars = panel.barh(range(len(means)), means[part], left=left, height=0.55, color=color, label=LABELS[part],
                          edgecolor=INK, linewidth=0.6)  # fmt: skip
        for bar, (name, size) in zip(bars, means[part].items(), strict=True):
            if not pd.isna(size):
                tag(bar, methods[str(name)], f"{name}: {LABELS[part]} {plain(size, 3)} GB")
        left = left + means[part]
