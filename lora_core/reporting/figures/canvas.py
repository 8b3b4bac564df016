"""A figure's sheet: its panels, with the title and the legend above them and the notes below.

Every figure is drawn twice, for a wide column of text and for a phone. Its unit is a pixel of the page, so a text has
the same size in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from lora_core.data.tasks import task_title
from lora_core.reporting.figures.style import INK, tag

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE, NARROW = 920, 340  # pixels: a page's column shows the wide one at 850 or more
ACROSS = 5  # panels of a wide figure
SMALL = TEXT = 12  # pixels, as all sizes of text
TITLE = 14
GAP = 8  # pixels between the parts of a figure
UNITS = 72  # of an SVG in the inch of matplotlib
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SETTINGS = {
    "svg.hashsalt": "lora",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    **dict.fromkeys(
        ("font.size", "axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), TEXT
    ),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "axes.edgecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
    "legend.frameon": False,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0,
    "lines.markersize": 5,
    "axes.formatter.useoffset": False,
}


def panels(
    titles: Sequence[str], height: float = 160, *, narrow: bool = False, columns: int = ACROSS, **shared: Any
) -> tuple[Figure, list[Any]]:
    """Return a figure with one panel of `height` pixels per title, and its panels.

    They are in rows of at most `columns`, one below the other if the figure is narrow. `shared` goes to `subplots`.
    """
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(SETTINGS)  # type: ignore[arg-type]
    width, rows = NARROW if narrow else WIDE, math.ceil(len(titles) / (1 if narrow else columns))
    figure = Figure(figsize=(width / UNITS, max(1, rows * height) / UNITS), dpi=UNITS, layout="constrained")
    figure.get_layout_engine().set(w_pad=4 / UNITS, h_pad=4 / UNITS)  # type: ignore[union-attr, call-arg]
    if not titles:
        return figure, []
    axes = list(figure.subplots(rows, math.ceil(len(titles) / rows), squeeze=False, **shared).flat)
    for panel in axes[len(titles) :]:
        panel.remove()
    for title, panel in zip(titles, axes, strict=False):
        panel.set_title(title, loc="left")
        panel.locator_params(axis="x", nbins=4)
        panel.locator_params(axis="y", nbins=5)
    return figure, axes[: len(titles)]


def task_panels(frame: pd.DataFrame, **options: Any) -> tuple[Figure, list[tuple[str, pd.DataFrame, Any]]]:
    """Return `panels`, one for each task of a frame, with the task and its rows."""
    groups = [(str(task), group) for task, group in frame.groupby("task", sort=False)]
    figure, axes = panels([task_title(task) for task, _ in groups], **options)
    for (task, _), panel in zip(groups, axes, strict=True):
        panel.set_gid(f"task:{quote(task)}")
    return figure, [(task, group, panel) for (task, group), panel in zip(groups, axes, strict=True)]


def task_pairs(
    frame: pd.DataFrame, *, narrow: bool, **options: Any
) -> tuple[Figure, list[tuple[str, pd.DataFrame, tuple[Any, Any]]]]:
    """Return `panels`, two for each task of a frame, one below the other, with the task and its rows."""
    groups = [(str(task), group) for task, group in frame.groupby("task", sort=False)]
    titles = [task_title(task) for task, _ in groups]
    lines = [titles[i : i + (1 if narrow else ACROSS)] for i in range(0, len(titles), 1 if narrow else ACROSS)]
    columns = len(lines[0])
    padded = [title for line in lines for title in (*line, *[""] * (columns - len(line)), *[""] * columns)]
    figure, axes = panels(padded, narrow=narrow, columns=columns, **options)
    pairs = []
    for i, (task, group) in enumerate(groups):
        first = 2 * columns * (i // columns) + i % columns
        pairs.append((task, group, (axes[first], axes[first + columns])))
        for panel in pairs[-1][2]:
            panel.set_gid(f"task:{quote(task)}")
    used = {id(panel) for _, _, pair in pairs for panel in pair}
    for panel in axes:
        if id(panel) not in used:
            panel.remove()
    return figure, pairs


def label_first_column(axes: Iterable[Any], text: str) -> None:
    """Label the vertical axis of the panels at the left side alone."""
    for panel in axes:
        if panel.get_subplotspec().is_first_col():
            panel.set_ylabel(text)


def make_logarithmic(axis: Any) -> None:
    """Scale an axis logarithmically, with ticks in the size of all texts: powers would have small exponents."""
    from matplotlib.ticker import FuncFormatter

    def few(value: float, position: int | None = None) -> str:
        low, high = axis.get_view_interval()
        return _power(value) if high < 10 * low and f"{value:e}"[0] in "25" else ""

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_formatter(FuncFormatter(lambda value, position: _power(value)))
    axis.set_minor_formatter(FuncFormatter(few))


def _power(value: float) -> str:
    """A number as the tick of a logarithmic axis, such as 100k or 10⁻⁶."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k"), (1, "")):
        if value >= size:
            return f"{value / size:g}{unit}"
    mantissa, exponent = f"{value:e}".split("e")
    power = "10" + str(int(exponent)).translate(SUPERSCRIPTS)
    return power if float(mantissa) == 1 else f"{float(mantissa):g} × {power}"


def set_title(figure: Figure, title: str, note: str = "") -> None:
    """Set the title: what follows from the figure, with its number. The note says how to read it, with units and n."""
    width = figure.get_figwidth() * UNITS - 2 * GAP
    text = figure.suptitle(wrap(title, width, TITLE, "bold"), ha="left", va="top", fontsize=TITLE, fontweight="bold")
    text.set_in_layout(False)
    add_note(figure, note)


def add_note(figure: Figure, text: str) -> None:
    """Add a text below the panels."""
    if text:
        width = figure.get_figwidth() * UNITS - 2 * GAP
        lines = "\n".join(filter(None, [figure.get_supxlabel(), wrap(text, width, SMALL)]))
        figure.supxlabel(lines, ha="left", va="top", fontsize=SMALL).set_in_layout(False)


def unmeasured(reasons: Mapping[str, str]) -> str:
    """Say in one sentence for each reason why tasks have no panel; `reasons` are by task."""
    tasks: dict[str, list[str]] = {}
    for task, reason in reasons.items():
        tasks.setdefault(reason, []).append(task_title(task))
    return " ".join(f"Not drawn: {', '.join(names)} ({reason})." for reason, names in tasks.items())


def missing_note(names: Mapping[str, Sequence[str]]) -> str:
    """Name the methods without a value to draw, by what lacks them, such as a task."""
    places: dict[str, list[str]] = {}
    for place, methods in names.items():
        if methods:
            places.setdefault(", ".join(methods), []).append(place)
    return " ".join(f"n/a: {methods} ({', '.join(where)})." for methods, where in places.items())


def add_legend(figure: Figure, labeled: Sequence[Any], methods: Mapping[str, str] | None = None) -> None:
    """Put the labels of these panels above all panels, each once.

    `methods` are those that labels show, so that an entry is hidden with its method.
    """
    handles = {label: h for panel in labeled for h, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    if not handles:
        return
    handles = {label: handles[label] for label in methods or () if label in handles} | handles  # in the study's order
    filled, width = [_filled(handle) for handle in handles.values()], figure.get_figwidth() * UNITS - 2 * GAP
    for columns in range(len(handles), 0, -1):
        legend = figure.legend(filled, handles.keys(), loc="upper left", ncols=columns, alignment="left")
        show_dollars(figure)
        if legend.get_window_extent(_renderer()).width <= width or columns == 1:
            break
        legend.remove()
    legend.set_in_layout(False)
    for label, handle, text in zip(handles, legend.legend_handles, legend.get_texts(), strict=True):
        if methods and label in methods:
            tag(handle, methods[label])
            tag(text, methods[label])


def _filled(handle: Any) -> Any:
    """A line of a legend with a filled marker, also if the last panel draws a hollow one."""
    from matplotlib.lines import Line2D

    if not isinstance(handle, Line2D):
        return handle
    line = Line2D([], [])
    line.update_from(handle)
    if line.get_markerfacecolor() == "none":
        line.set_markerfacecolor(handle.get_color())
    return line


def arrange(figure: Figure) -> None:
    """Make room for the title and the legend above the panels and for the notes below, however long they are."""
    show_dollars(figure)
    body, width = figure.get_figheight() * UNITS * bool(figure.axes), figure.get_figwidth() * UNITS
    above = [artist for artist in (figure._suptitle, *figure.legends) if artist]  # type: ignore[attr-defined]
    below = [figure._supxlabel] if figure.get_supxlabel() else []  # type: ignore[attr-defined]
    heights = [artist.get_window_extent(_renderer()).height + GAP for artist in (*above, *below)]
    total = body + sum(heights) + GAP
    figure.set_figheight(total / UNITS)
    top = total - GAP
    for artist, height in zip((*above, *below), heights, strict=True):
        if artist in below:
            top -= body
        place = (GAP / width, top / total)
        if artist in figure.legends:
            artist.set_bbox_to_anchor(place, transform=figure.transFigure)
        else:
            artist.set_position(place)
        top -= height
    if body:
        foot = sum(heights[len(above) :]) / total
        figure.get_layout_engine().set(rect=(0, foot, 1, body / total))  # type: ignore[union-attr, call-arg]


def show_dollars(figure: Figure) -> None:
    """Let texts with dollar signs, such as a device's name, stay text; only numbers at axes are formulas."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if "\\mathdefault" not in text.get_text():
            text.set_parse_math("$" not in text.get_text())


def wrap(text: str, width: float, size: float, weight: str = "normal") -> str:
    """Break a text into lines of at most `width` pixels; its own line breaks stay."""
    lines = []
    for paragraph in text.replace("n = ", "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}").split("\n"):
        lines.append("")
        for word in filter(None, paragraph.split(" ")):
            longer = f"{lines[-1]} {word}".strip()
            if text_width(longer, size, weight) <= width:
                lines[-1] = longer
                continue
            if lines[-1]:
                lines.append("")
            while text_width(word, size, weight) > width:  # a word that is longer than a line
                end = next(i for i in range(len(word) - 1, 0, -1) if text_width(word[:i], size, weight) <= width)
                lines[-1] = word[:end]
                lines.append("")
                word = word[end:]
            lines[-1] = word
    return "\n".join(lines)


def text_width(text: str, size: float = TEXT, weight: str = "normal") -> float:
    """Return the width of a text in pixels."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(family="sans-serif", size=size, weight=weight)
    return float(_renderer().get_text_width_height_descent(text, font, False)[0])


@cache
def _renderer() -> Any:
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(1, 1, UNITS)
