"""Panels whose rows are methods: the value of each seed, the center with its interval, and a text below."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lora_core.reporting.figures.canvas import SMALL
from lora_core.reporting.figures.style import MethodStyle, tag
from lora_core.stats import Interval

ROW, FRAME = 28, 70  # pixels: the height of a row, and of what is around the rows of a panel


def rows_height(count: int) -> int:
    """Return the height of a panel with so many rows."""
    return FRAME + ROW * count


def row_text(panel: Any, y: float, text: str, method: str = "") -> None:
    """Write below a row, where no mark of it is."""
    placed = panel.text(0.01, y + 0.45, text, fontsize=SMALL, va="center", transform=panel.get_yaxis_transform())
    placed.set_in_layout(False)
    if method:
        tag(placed, method)


@dataclass(frozen=True)
class RowValues:
    """What a row of a panel shows of one method: the value of each seed, and their mean or median with its interval."""

    method: str
    name: str
    values: Sequence[float]
    center: float
    interval: Interval | None
    format: Callable[[float], str]

    @property
    def tooltip(self) -> str:
        """The value as text, with its interval."""
        show, interval = self.format, self.interval
        bounds = f" [{show(interval.low)}, {show(interval.high)}]" if interval else ""
        return f"{self.name}: {show(self.center)}{bounds}, n = {len(self.values)}"


def draw_row(
    panel: Any, y: float, row: RowValues, style: MethodStyle, *, show_interval: bool, face: str | None = None
) -> None:
    """Draw a row: a point at the center, filled with `face`, a stroke for each seed, and a line for the interval."""
    artists = []
    if show_interval and row.interval:
        bounds = [row.interval.low, row.interval.high]
        artists += panel.plot(bounds, [y, y], color=style.color, linewidth=2, solid_capstyle="butt")
    if len(row.values) > 1:
        strokes = {"color": style.color, "markersize": 9, "markeredgewidth": 1}
        artists += panel.plot(row.values, [y] * len(row.values), "|", **strokes)
    filled = {"markerfacecolor": face or style.color}
    artists += panel.plot([row.center], [y], style.marker, color=style.color, markersize=7, **filled)
    for artist in artists:
        tag(artist, row.method, row.tooltip)


def name_rows(panel: Any, names: Sequence[str], methods: Mapping[str, str] | None = None) -> None:
    """Name the rows of a panel, from the top down; `methods` are those of the names."""
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.2, -0.6)
    panel.tick_params(axis="y", length=0)
    for name, tick in zip(names, panel.yaxis.get_major_ticks(), strict=True):
        if methods and name in methods:
            tag(tick.label1, methods[name])
