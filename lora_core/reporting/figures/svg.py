"""How figures are saved: the same SVG for the same records, one wide and one narrow, and their data as CSV."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pandas as pd

from lora_core.atomic_files import atomic_file
from lora_core.csv_cells import write_frame
from lora_core.reporting.figures.canvas import add_note, arrange
from lora_core.reporting.figures.style import INK
from lora_core.reporting.inputs import DrawSettings, Inputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A figure, and the frame that it shows.
Drawing = tuple["Figure", pd.DataFrame]


@dataclass(frozen=True)
class FigureFiles:
    """Where a figure is written: for a wide column, for a phone, and what it shows."""

    svg: Path
    narrow: Path
    csv: Path


def write_figure(
    draw: Callable[[Inputs, DrawSettings], Drawing],
    inputs: Inputs,
    settings: DrawSettings,
    files: FigureFiles,
    notes: Sequence[str] = (),
) -> None:
    """Draw a figure in both widths, with notes below it, and write the data that it shows."""
    for narrow, file in ((True, files.narrow), (False, files.svg)):
        figure, frame = draw(inputs, replace(settings, narrow=narrow))
        add_note(figure, " ".join(notes))
        save_svg(figure, file)
    write_frame(files.csv, frame)


def save_svg(figure: Figure, svg: Path) -> None:
    """Write a figure, which has no date and no random identifiers. The title of the SVG is that of the figure."""
    arrange(figure)
    figure.patch.set_gid("background")
    title = " ".join(figure.get_suptitle().split())
    with atomic_file(svg) as temp_path:
        figure.savefig(temp_path, format="svg", metadata={"Date": None, "Title": title})
        temp_path.write_text(_for_page(temp_path.read_text(encoding="utf-8")), encoding="utf-8")


def _for_page(svg: str) -> str:
    """Turn tags into attributes and titles, and ink into the text's color; drop identifiers without a reference.

    A file that stands alone has ink as its text's color, without which some programs draw no text and no axes; the page
    leaves that attribute out.
    """

    def attributes(match: re.Match) -> str:
        kind, name, tooltip = (unquote(part or "") for part in match.groups())
        title = f"<title>{html.escape(tooltip)}</title>" if tooltip else ""
        return f'<g data-{kind}="{html.escape(name)}">{title}'

    svg = re.sub(r'<g id="(method|task):([^":]*)(?::([^"]*))?">', attributes, svg)
    svg = svg.replace('<g id="background">', '<g class="background">')
    svg = re.sub(r'<g id="[\w.]+_\d+"', "<g", svg)
    return svg.replace(INK, "currentColor").replace("<svg ", f'<svg color="{INK}" ', 1)
