"""How every figure looks, and how it is kept: the same SVG for the same records, and what it shows as CSV beside it."""

import html
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.records import atomic_file
from lora_core.stats import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 4.8  # inches: a phone shrinks it by a quarter, and its text stays readable
SMALL = 8  # points
INK = "#1a1a1a"  # of text and axes: where an SVG stands in a page it takes the page's own
GREY = "#808080"
# Okabe and Ito's colours, apart for colour-blind readers; markers and dashes keep methods apart in grey.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^v<>XPph"
DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1)), (0, (6, 1, 1, 1)))
SETTINGS = {
    "svg.hashsalt": "lora",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "axes.edgecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.markersize": 4,
    "axes.formatter.useoffset": False,
}


def looks(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dashes of each method, by its place among them."""
    return {
        method: {
            "color": COLORS[i % len(COLORS)],
            "marker": MARKERS[i % len(MARKERS)],
            "linestyle": DASHES[i % len(DASHES)],
        }
        for i, method in enumerate(dict.fromkeys(methods))
    }


def panels(
    titles: Sequence[str], height: float = 2.0, columns: int = 2, legend_rows: int = 0, **shared: Any
) -> tuple["Figure", list[Any]]:
    """A figure of panels of `height` inches, in rows of at most `columns`, with room for a legend's rows below."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(SETTINGS)  # type: ignore[arg-type]
    columns = min(columns, len(titles))
    rows = math.ceil(len(titles) / columns)
    figure = Figure(figsize=(WIDTH, 0.8 + rows * height + 0.18 * legend_rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, **shared).flat)
    for panel in axes[len(titles) :]:
        panel.remove()
    for title, panel in zip(titles, axes, strict=False):
        panel.set_title(title, loc="left")
    return figure, axes[: len(titles)]


def task_panels(frame: pd.DataFrame, **how: Any) -> tuple["Figure", list[tuple[str, pd.DataFrame, Any]]]:
    """`panels`, one for each task of a frame; `(task, its rows, panel)` for each."""
    groups = [(str(task), group) for task, group in frame.groupby("task", sort=False)]
    figure, axes = panels([task_title(task) for task, _ in groups], **how)
    for (task, _), panel in zip(groups, axes, strict=True):
        panel.set_gid(f"task:{quote(task)}")
    return figure, [(task, group, panel) for (task, group), panel in zip(groups, axes, strict=True)]


def task_rows(frame: pd.DataFrame, **how: Any) -> tuple["Figure", list[tuple[str, pd.DataFrame, tuple[Any, Any]]]]:
    """`panels`, a row of two for each task of a frame; `(task, its rows, the two)` for each."""
    groups = [(str(task), group) for task, group in frame.groupby("task", sort=False)]
    figure, axes = panels([text for task, _ in groups for text in (task_title(task), "")], **how)
    pairs = list(zip(axes[::2], axes[1::2], strict=True))
    for (task, _), pair in zip(groups, pairs, strict=True):
        for panel in pair:
            panel.set_gid(f"task:{quote(task)}")
    return figure, [(task, group, pair) for (task, group), pair in zip(groups, pairs, strict=True)]


def title(figure: "Figure", text: str) -> None:
    """What the figure shows, with units and n."""
    figure.suptitle("\n".join(textwrap.wrap(text, 58)), x=0.01, ha="left", fontsize=10)


def legend(figure: "Figure", drawn: Sequence[Any], columns: int = 3) -> None:
    """The labels of these panels below the whole figure, each once."""
    found = {label: h for panel in drawn for h, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    if found:
        figure.legend(found.values(), found.keys(), loc="outside lower left", ncols=columns)


def legend_rows(frame: pd.DataFrame, columns: int = 3) -> int:
    """What a legend of the frame's methods takes."""
    return math.ceil(frame["method"].nunique() / columns)


def of_seeds(frame: pd.DataFrame) -> str:
    """How many seeds a figure shows."""
    n = frame["seed"].nunique()
    return f"n = {n} seed{'s' if n > 1 else ''}"


def gap(panel: Any, words: str) -> None:
    """Say in place of axes why nothing is drawn."""
    panel.set_axis_off()
    text = "\n".join(textwrap.wrap(f"n/a: {words}", 40))
    panel.text(0.02, 0.95, text, transform=panel.transAxes, va="top", style="italic")


def mark(artist: Any, method: str, words: str = "") -> None:
    """Name the method that an artist shows, and say in `words` what it shows: shown where the mouse rests."""
    artist.set_gid(f"method:{quote(method, safe='')}:{quote(words, safe='')}")


def missing(panel: Any, names: Iterable[str]) -> None:
    """Name the methods of which there is no figure to draw."""
    names = list(names)
    if names:
        panel.text(0.01, 0.01, f"n/a: {', '.join(names)}", fontsize=SMALL, transform=panel.transAxes, style="italic")


def in_row(panel: Any, y: float, words: str) -> None:
    """Words at the end of a row."""
    panel.text(0.99, y, words, fontsize=SMALL, ha="right", va="center", transform=panel.get_yaxis_transform())


def dots(
    panel: Any, y: float, values: Sequence[float], found: Interval | float | None, method: str, words: str, look: dict
) -> None:
    """Values of seeds on a line, each a stroke, and what stands for them all: a figure, with its interval where it has
    one."""
    if isinstance(found, Interval):
        (bar,) = panel.plot([found.low, found.high], [y, y], color=look["color"], linewidth=1.5, solid_capstyle="butt")
        mark(bar, method, words)
    if len(values) > 1:
        (strokes,) = panel.plot(values, [y] * len(values), "|", color=look["color"], markersize=7, markeredgewidth=1)
        mark(strokes, method, words)
    if found is not None:
        middle = found.estimate if isinstance(found, Interval) else found
        (point,) = panel.plot([middle], [y], look["marker"], color=look["color"], markersize=6)
        mark(point, method, words)


def said(method: str, value: float, interval: Interval | None, show: str, n: int) -> str:
    """A figure in words, with its interval."""
    between = f" [{show.format(interval.low)}, {show.format(interval.high)}]" if interval else ""
    return f"{method}: {show.format(value)}{between}, n = {n}"


def name_rows(panel: Any, names: Sequence[str]) -> None:
    """Rows of a panel from the top down, each with its name."""
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)


def save(figure: "Figure", frame: pd.DataFrame, svg: Path) -> None:
    """Write an SVG that is the same for the same figure (no date, no random identifiers), and what it shows as CSV."""
    figure.patch.set_gid("background")
    if not any(panel.axison for panel in figure.axes):  # gaps alone
        figure.set_figheight(0.8 + 0.5 * figure.axes[0].get_gridspec().nrows)  # type: ignore[union-attr]
    with atomic_file(svg) as temp_path:
        figure.savefig(temp_path, format="svg", metadata={"Date": None})
        temp_path.write_text(_plain(temp_path.read_text(encoding="utf-8")), encoding="utf-8")
    with atomic_file(svg.with_suffix(".csv")) as temp_path:
        frame.to_csv(temp_path, index=False)


def _plain(svg: str) -> str:
    """Marks as attributes and titles, ink as the colour of the text around, no identifier but what is referred to."""

    def marked(found: re.Match) -> str:
        kind, name, words = (unquote(part or "") for part in found.groups())
        text = f"<title>{html.escape(words)}</title>" if words else ""
        return f'<g data-{kind}="{html.escape(name)}">{text}'

    svg = re.sub(r'<g id="(method|task):([^":]*)(?::([^"]*))?">', marked, svg)
    svg = svg.replace('<g id="background">', '<g class="background">')
    svg = re.sub(r'<g id="[\w.]+_\d+"', "<g", svg)
    return svg.replace(INK, "currentColor")
