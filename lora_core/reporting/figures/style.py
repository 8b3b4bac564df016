"""How a study's methods look in every figure, and the names and tags of what shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import pandas as pd

from lora_core.evaluation.frames import run_names
from lora_core.reporting.inputs import DrawSettings

INK = "#1a1a1a"  # text and axes; in the SVG it becomes the color of the page's text
GRAY = "#808080"
# Each has a contrast of at least 3 to white and to a dark page, so a middle lightness. Blue, green and pink are those
# of Okabe and Ito; orange and ochre are theirs, darkened.
BLUE, ORANGE, GREEN, VIOLET, OCHRE, PINK = COLORS = "#0072B2", "#B64F00", "#009E73", "#6446F9", "#C28600", "#CC79A7"
# The colors of the methods 7 to 12: two methods with the same marker differ in hue also for color-blind readers, and in
# lightness when printed in gray.
PARTNERS = {BLUE: OCHRE, ORANGE: GREEN, GREEN: ORANGE, VIOLET: PINK, OCHRE: BLUE, PINK: VIOLET}
MARKERS, MORE_MARKERS = "osD^vP", "X<>*ph"
SOLID, DASHED, DOTTED, DASH_DOTTED = DASHES = ("-", (0, (4, 2)), (0, (1, 1)), (0, (6, 1, 1, 1)))


@dataclass(frozen=True)
class MethodStyle:
    """Color, marker and dashes of one method."""

    color: str
    marker: str
    dashes: Any

    @property
    def line(self) -> dict[str, object]:
        """Matplotlib's arguments for a line with markers."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.dashes}


_FIRST = [MethodStyle(color, marker, SOLID) for color, marker in zip(COLORS, MARKERS, strict=True)]
_SECOND = [replace(style, color=PARTNERS[style.color], dashes=DASHED) for style in _FIRST]
_MORE = [
    replace(style, marker=marker, dashes=dashes)
    for styles, dashes in ((_FIRST, DOTTED), (_SECOND, DASH_DOTTED))
    for style, marker in zip(styles, MORE_MARKERS, strict=True)
]
STYLES = (*_FIRST, *_SECOND, *_MORE)


def method_styles(labels: Iterable[str]) -> dict[str, MethodStyle]:
    """Return the style of each method, by its position in the study: twelve pairs of color and marker, then others."""
    return {method: STYLES[i % len(STYLES)] for i, method in enumerate(dict.fromkeys(labels))}


def named(frame: pd.DataFrame, settings: DrawSettings) -> tuple[pd.DataFrame, dict[str, MethodStyle]]:
    """Add `name`, what a figure calls the method of each row, and return the style of each name.

    The name is the method's label, followed by the device if there are several: measurements are never averaged over
    two devices.
    """
    styles = method_styles([*settings.labels, *frame["method"]])
    names = frame["method"].map(settings.label)
    devices = list(frame["device"].dropna().unique()) if "device" in frame else []
    if len(devices) > 1:
        names = names + " on " + frame["device"]
    frame = frame.assign(name=names)
    looks = {}
    for row in frame.drop_duplicates("name").itertuples():
        look = styles[str(row.method)]
        if len(devices) > 1:
            look = replace(look, dashes=DASHES[devices.index(row.device) % len(DASHES)])
        looks[str(row.name)] = look
    return frame, looks


def methods_of(frame: pd.DataFrame) -> dict[str, str]:
    """Return the method of each name of a frame that `named` returned, in the order of its rows."""
    return {str(name): str(method) for name, method in zip(frame["name"], frame["method"], strict=True)}


def marker_face(runs: pd.DataFrame, color: str) -> str:
    """Return the color inside of a marker: none, so that it is hollow, if one of the runs was disturbed."""
    return "none" if runs["disturbed"].any() else color


def disturbed_note(frame: pd.DataFrame, settings: DrawSettings) -> str:
    """Explain the hollow markers of a figure of times or energies, and name the runs; empty if there are none."""
    runs = frame[frame["disturbed"]]
    if runs.empty:
        return ""
    names = ", ".join(run_names(runs.assign(method=runs["method"].map(settings.label))))
    return f"Hollow: disturbed or suspended, so time and energy are not those of the method alone: {names}."


def seed_count(frame: pd.DataFrame) -> str:
    """Say how many seeds a figure shows."""
    return counted(frame["seed"].nunique(), "n = {} seed")


def counted(number: int, form: str) -> str:
    """Return a form such as "{} task" with its number, in the plural if it is not one."""
    return form.format(f"{number:,}") + "s" * (number != 1)


def listed(names: Sequence[str]) -> str:
    """Join names as a sentence does."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""


def tag(artist: Any, method: str, tooltip: str = "") -> None:
    """Name the method that an artist shows; the tooltip appears under the mouse."""
    artist.set_gid(f"method:{quote(method, safe='')}:{quote(tooltip, safe='')}")


def complete_means(groups: Any) -> pd.DataFrame:
    """Return the mean of each group's columns; none where a run has no value, so that it is never of fewer runs."""
    means: pd.DataFrame = groups.agg(lambda values: values.mean(skipna=False))
    return means
