"""The style that all figures share, and how they are saved: the same SVG for the same records, and its data as CSV."""

import html
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pandas as pd

from lora_core.atomic_files import atomic_file
from lora_core.csv_cells import write_frame
from lora_core.data.tasks import task_title
from lora_core.evaluation.frames import run_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 4.8  # inches: a phone shrinks it by a quarter, and its text stays readable
SMALL = 8  # points
INK = "#1a1a1a"  # text and axes; in the SVG it becomes the color of the page's text
GRAY = "#808080"
# The colors of Okabe and Ito differ for color-blind readers; markers and dashes tell methods apart in gray.
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

# A figure, and the frame that it shows.
Drawing = tuple["Figure", pd.DataFrame]


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


def method_styles(methods: Iterable[str]) -> dict[str, MethodStyle]:
    """Return the style of each method, by its position among them."""
    return {
        method: MethodStyle(COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)])
        for i, method in enumerate(dict.fromkeys(methods))
    }


def panels(
    titles: Sequence[str], height: float = 2.0, columns: int = 2, legend_rows: int = 0, **shared: Any
) -> tuple["Figure", list[Any]]:
    """Return a figure with one panel of `height` inches per title, and its panels.

    They are in rows of at most `columns`, with room for the rows of a legend below. `shared` goes to `subplots`.
    """
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


def task_panels(frame: pd.DataFrame, **options: Any) -> tuple["Figure", list[tuple[str, pd.DataFrame, Any]]]:
    """Return `panels`, one for each task of a frame, with the task and its rows."""
    groups = [(str(task), group) for task, group in frame.groupby("task", sort=False)]
    figure, axes = panels([task_title(task) for task, _ in groups], **options)
    for (task, _), panel in zip(groups, axes, strict=True):
        panel.set_gid(f"task:{quote(task)}")
    return figure, [(task, group, panel) for (task, group), panel in zip(groups, axes, strict=True)]


def task_rows(frame: pd.DataFrame, **options: Any) -> tuple["Figure", list[tuple[str, pd.DataFrame, tuple[Any, Any]]]]:
    """Return `panels`, a row of two for each task of a frame, with the task and its rows."""
    groups = [(str(task), group) for task, group in frame.groupby("task", sort=False)]
    figure, axes = panels([text for task, _ in groups for text in (task_title(task), "")], **options)
    pairs = list(zip(axes[::2], axes[1::2], strict=True))
    for (task, _), pair in zip(groups, pairs, strict=True):
        for panel in pair:
            panel.set_gid(f"task:{quote(task)}")
    return figure, [(task, group, pair) for (task, group), pair in zip(groups, pairs, strict=True)]


def set_title(figure: "Figure", text: str) -> None:
    """Set the title: what the figure shows, with units and the number of seeds or rounds."""
    figure.suptitle("\n".join(textwrap.wrap(text, 58)), x=0.01, ha="left", fontsize=10)


def add_legend(figure: "Figure", labeled: Sequence[Any], columns: int = 3) -> None:
    """Put the labels of these panels below the whole figure, each once."""
    handles = {label: h for panel in labeled for h, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    if handles:
        filled = map(_filled, handles.values())
        figure.legend(filled, handles.keys(), loc="outside lower left", ncols=columns, alignment="left")


def _filled(handle: Any) -> Any:
    """A line of a legend with a filled marker, also if the last panel draws a hollow one."""
    from matplotlib.lines import Line2D

    if not isinstance(handle, Line2D):
        return handle
    line = Line2D([], [])
    line.update_from(handle)
    line.set_markerfacecolor(handle.get_color())
    return line


def marker_face(runs: pd.DataFrame, color: str) -> str:
    """Return the color inside of a marker: none, so that it is hollow, if one of the runs was disturbed."""
    return "none" if runs["disturbed"].any() else color


def note_disturbed(figure: "Figure", frame: pd.DataFrame) -> None:
    """Explain hollow markers below a figure of times or energies, and name the runs; no note if there are none."""
    if frame["disturbed"].any():
        names = ", ".join(run_names(frame[frame["disturbed"]]))
        text = f"Hollow: disturbed or suspended, so time and energy are not those of the method alone: {names}."
        lines = textwrap.wrap(text, 80)
        figure.set_figheight(figure.get_figheight() + 0.15 * len(lines))
        note = "\n".join(lines)
        if figure.legends:  # a text below the figure would be drawn over it
            figure.legends[0].set_title(note)
            figure.legends[0].get_title().set_fontsize(SMALL)
        else:
            figure.supxlabel(note, x=0.01, ha="left", fontsize=SMALL)


def legend_rows(frame: pd.DataFrame, columns: int = 3) -> int:
    """Return how many rows a legend of the frame's methods has."""
    return math.ceil(frame["method"].nunique() / columns)


def seed_count(frame: pd.DataFrame) -> str:
    """Say how many seeds a figure shows."""
    n = frame["seed"].nunique()
    return f"n = {n} seed{'s' if n > 1 else ''}"


def show_reason(panel: Any, reason: str) -> None:
    """Replace the axes by the reason why nothing is drawn."""
    panel.set_axis_off()
    text = "\n".join(textwrap.wrap(f"n/a: {reason}", 40))
    panel.text(0.02, 0.95, text, transform=panel.transAxes, va="top", style="italic")


def tag(artist: Any, method: str, tooltip: str = "") -> None:
    """Name the method that an artist shows; the tooltip appears under the mouse."""
    artist.set_gid(f"method:{quote(method, safe='')}:{quote(tooltip, safe='')}")


def complete_means(groups: Any) -> pd.DataFrame:
    """Return the mean of each group's columns; none where a run has no value, so that it is never of fewer runs."""
    means: pd.DataFrame = groups.agg(lambda values: values.mean(skipna=False))
    return means


def name_missing(panel: Any, methods: Iterable[str]) -> None:
    """Name the methods without a value to draw."""
    methods = list(methods)
    if methods:
        text = f"n/a: {', '.join(methods)}"
        panel.text(0.01, 0.01, text, fontsize=SMALL, transform=panel.transAxes, style="italic")


def save(figure: "Figure", frame: pd.DataFrame, svg: Path, csv: Path) -> None:
    """Write a figure and the data that it shows.

    The SVG is the same for the same figure: it has no date and no random identifiers.
    """
    _show_dollars(figure)
    figure.patch.set_gid("background")
    if not any(panel.axison for panel in figure.axes):  # reasons alone
        figure.set_figheight(0.8 + 0.5 * figure.axes[0].get_gridspec().nrows)  # type: ignore[union-attr]
    with atomic_file(svg) as temp_path:
        figure.savefig(temp_path, format="svg", metadata={"Date": None})
        temp_path.write_text(_for_page(temp_path.read_text(encoding="utf-8")), encoding="utf-8")
    write_frame(csv, frame)


def _show_dollars(figure: "Figure") -> None:
    """Let texts with dollar signs, such as a device's name, stay text; only numbers at axes are formulas."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if "\\mathdefault" not in text.get_text():
            text.set_parse_math("$" not in text.get_text())


def _for_page(svg: str) -> str:
    """Turn tags into attributes and titles, and ink into the text's color; drop identifiers without a reference."""

    def attributes(match: re.Match) -> str:
        kind, name, tooltip = (unquote(part or "") for part in match.groups())
        title = f"<title>{html.escape(tooltip)}</title>" if tooltip else ""
        return f'<g data-{kind}="{html.escape(name)}">{title}'

    svg = re.sub(r'<g id="(method|task):([^":]*)(?::([^"]*))?">', attributes, svg)
    svg = svg.replace('<g id="background">', '<g class="background">')
    svg = re.sub(r'<g id="[\w.]+_\d+"', "<g", svg)
    return svg.replace(INK, "currentColor")
