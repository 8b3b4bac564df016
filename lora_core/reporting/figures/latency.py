"""How long passes over the validation set take: every round of every variant."""

from typing import Any

import pandas as pd

from lora_core.evaluation.frames import per_device, read_latency
from lora_core.reporting.figures.rows import name_rows
from lora_core.reporting.figures.style import Drawing, method_styles, set_title, tag, task_panels
from lora_core.reporting.inputs import DrawSettings, Inputs


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from each task's passes and the records about them."""
    frame = per_device(read_latency(inputs["latency"], inputs["latency_records"]))
    suspended = list(frame["suspended"].dropna().unique())
    frame = frame[frame["mode"] == "pass"]
    rounds = sorted(frame.groupby(["task", "seed", "method", "variant"]).size().unique())
    n = f"{rounds[0]} to {rounds[-1]}" if len(rounds) > 1 else f"{rounds[0]}"
    names = frame["method"].where(frame["variant"] == "plain", frame["method"] + ", " + frame["variant"])
    frame = frame.assign(name=names, milliseconds=1e3 * frame["seconds"])
    rows, styles = list(dict.fromkeys(names)), method_styles(frame["method"])
    figure, parts = task_panels(frame, height=0.5 + 0.2 * len(rows), sharey=True)
    for _, group, panel in parts:
        for y, name in enumerate(rows):
            passes = group[group["name"] == name]
            if len(passes):
                _box(panel, y, passes, styles[str(passes["method"].iloc[0])].color)
        name_rows(panel, rows)
        panel.set_xlabel("milliseconds per pass")
    set_title(
        figure,
        f"Inference: a pass over the validation set, n = {n} rounds. Box: quartiles and median; whiskers: 5th and 95th "
        "percentile." + (f" Suspended while timed: {', '.join(suspended)}." if suspended else ""),
    )
    return figure, frame[["task", "method", "variant", "round", "milliseconds"]]


def _box(panel: Any, y: float, passes: pd.DataFrame, color: str) -> None:
    """Draw the box of one variant."""
    times, line = passes["milliseconds"], {"color": color, "linewidth": 1}
    artists = panel.boxplot(
        [times], positions=[y], orientation="horizontal", widths=0.6, showfliers=True, whis=(5, 95),
        manage_ticks=False, boxprops=line, whiskerprops=line, capprops=line, medianprops=line | {"linewidth": 2},
        flierprops={"marker": ".", "markersize": 3, "markerfacecolor": color, "markeredgecolor": color},
    )  # fmt: skip
    tooltip = (
        f"{passes['name'].iloc[0]}: median {times.median():.1f} ms, 95th percentile {times.quantile(0.95):.1f}, "
        f"n = {len(times)}"
    )
    for artist in (artist for same_kind in artists.values() for artist in same_kind):
        tag(artist, str(passes["method"].iloc[0]), tooltip)
