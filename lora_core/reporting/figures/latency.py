"""How long passes over the validation set take: every round of every variant, and the median with its interval."""

from typing import Any

import numpy as np
import pandas as pd

from lora_core.evaluation.frames import read_latency, read_latency_runs
from lora_core.reporting.figures.canvas import add_note, set_title, task_panels
from lora_core.reporting.figures.conclusions import latency_title
from lora_core.reporting.figures.rows import name_rows, row_text, rows_height
from lora_core.reporting.figures.style import MethodStyle, methods_of, named, tag
from lora_core.reporting.figures.svg import Drawing
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.stats import median_bounds

FENCES = 1.5  # times the distance between the quartiles, beyond which a pass is an outlier (Tukey)
CUT = 1.3  # an axis ends at the fences if the longest pass is this much further out


def draw(inputs: Inputs, settings: DrawSettings) -> Drawing:
    """Draw the figure from each task's passes and the records about them."""
    files = inputs["latency"], inputs["latency_records"]
    frame = read_latency(*files)
    suspended = list(frame["suspended"].dropna().unique())
    frame = frame[frame["mode"] == "pass"]
    frame, looks = named(frame.assign(milliseconds=1e3 * frame["seconds"]), settings)
    names = frame["name"].where(frame["variant"] == "plain", frame["name"] + ", " + frame["variant"])
    styles = {row: looks[name] for row, name in zip(names, frame["name"], strict=True)}
    frame = frame.assign(name=names)
    methods = methods_of(frame)
    figure, parts = task_panels(frame, height=rows_height(len(methods)), narrow=settings.narrow, sharey=True)
    cut = False
    for _, group, panel in parts:
        passes = {name: group.loc[group["name"] == name, "milliseconds"] for name in methods}
        end = _end([times for times in passes.values() if len(times)])
        cut |= bool(group["milliseconds"].max() > end)
        for y, (name, times) in enumerate(passes.items()):
            if len(times):
                _row(panel, y, (methods[name], name), times, (styles[name], end))
        name_rows(panel, list(methods), methods)
        panel.set_xlabel("ms per pass")
    title = latency_title(read_latency_runs(*files), settings, otherwise="Time of a pass over the validation set")
    beyond = " Arrows: passes beyond the end of the axis." if cut else ""
    set_title(
        figure,
        title,
        f"Inference, milliseconds per pass over the validation set, n = {_rounds(frame)} rounds: every pass as a "
        f"stroke; the median as a point, with its 95 % interval as a line (from six rounds on).{beyond}",
    )
    add_note(figure, f"Suspended while timed: {', '.join(suspended)}." if suspended else "")
    return figure, frame[["task", "method", "variant", "round", "milliseconds"]]


def _rounds(frame: pd.DataFrame) -> str:
    counts = sorted(frame.groupby(["task", "seed", "method", "variant"]).size().unique())
    return f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"


def _end(rows: list[pd.Series]) -> float:
    """Where an axis ends: at the longest pass, unless that is so far out that it would squash all others."""
    longest = max(times.max() for times in rows)
    fences = []
    for times in rows:
        low, high = np.quantile(times, [0.25, 0.75])
        fences.append(float(times[times <= high + FENCES * (high - low)].max()))
    return max(fences) if longest > CUT * max(fences) else float(longest)


def _row(panel: Any, y: float, who: tuple[str, str], times: pd.Series, look: tuple[MethodStyle, float]) -> None:
    """Draw the passes of one variant, and say which are beyond the end of the axis."""
    (method, name), (style, end) = who, look
    median, bounds, inside = times.median(), median_bounds(list(times)), times[times <= end]
    strokes = {"color": style.color, "markersize": 10, "markeredgewidth": 1}
    artists = panel.plot(inside, [y] * len(inside), "|", **strokes)
    if bounds:
        artists += panel.plot(np.minimum(bounds, end), [y, y], color=style.color, linewidth=3, solid_capstyle="butt")
    artists += panel.plot([median], [y], style.marker, color=style.color, markersize=7)
    if len(inside) < len(times):
        artists += panel.plot([end], [y], ">", color=style.color, markersize=5, clip_on=False)
        row_text(panel, y, f"{len(times) - len(inside)} of {len(times)} up to {times.max():,.0f} ms", method)
    tooltip = f"{name}: median {median:.1f} ms, 95th percentile {times.quantile(0.95):.1f}, n = {len(times)}"
    for artist in artists:
        tag(artist, method, tooltip)
