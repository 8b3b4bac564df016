"""The sections of the page: what each concludes, its table and figure, and what is folded below them."""

import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_core.evaluation.answer import Answer
from lora_core.reporting import catalogue
from lora_core.reporting.page.figure_svg import read_svg, split_title
from lora_core.reporting.page.tables import TableView

NARROW = "-narrow"  # ends the name of a figure for narrow screens
# The figure that stands next to a section's table; the others of the section are folded.
MAIN_FIGURES = ("scores", "latency", "memory", "time_to_threshold", "energy_to_threshold", "scaling", "sweep")
TRADEOFF = "pareto"  # the figure that stands at the top of the page
# The quantities of the answer that a section is about.
QUANTITIES = {
    "parameters": ("parameters",),
    "scores": ("score",),
    "latency": ("latency",),
    "memory": ("memory",),
    "cost": ("time", "epoch_time", "energy"),
}
# Figures that have nothing to draw in a study without a meter.
OF_ENERGY = frozenset({"energy_to_threshold", "score_over_energy", "power"})


@dataclass(frozen=True)
class FigureView:
    """A figure of the page; `narrow` is the same for a narrow screen, empty if there is none.

    A figure that `is_titled` shows its caption itself; `subject` says what it shows, without names of methods.
    """

    name: str
    caption: str
    subject: str
    svg: str
    narrow: str = ""
    is_titled: bool = False

    @classmethod
    def read(cls, name: str, figures: Mapping[str, Path]) -> "FigureView":
        """Read a figure from files by their names. Its caption is its own title, else that of the catalogue."""
        title, svg = split_title(read_svg(figures[name]))
        subject = catalogue.figure(name).title
        caption = title or subject
        narrow = figures.get(f"{name}{NARROW}")
        return cls(
            name, caption, subject, _described(svg, name, caption),
            _described(split_title(read_svg(narrow))[1], name, caption) if narrow else "", bool(title),
        )  # fmt: skip


def _described(svg: str, name: str, caption: str) -> str:
    """Give a figure the text that a screen reader says."""
    label = html.escape(f"Figure: {caption.rstrip('.')}. Its numbers are in figures/{name}.csv.")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


@dataclass(frozen=True)
class SectionView:
    """A section of the page.

    `measured_by` names the records whose provenance it prints; `facts` are about the data, a line for each task. The
    conclusions are about the methods `about`, listed by their labels, or if it is empty, those that they name.
    """

    name: str
    title: str
    measured_by: str
    conclusions: Sequence[str]
    about: str
    facts: Sequence[str]
    tables: Sequence[TableView]
    figures: Sequence[FigureView]
    more_tables: Sequence[TableView]
    more_figures: Sequence[FigureView]

    def footnotes(self, position: int) -> list[str]:
        """Return the notes right below one of the tables, except those that are also below the next."""
        *_, next_notes = [], *(table.footnotes for table in self.tables[position + 1 : position + 2])
        return [note for note in self.tables[position].footnotes if note not in next_notes]


def drawn_figures(figures: Sequence[Path]) -> dict[str, Path]:
    """Return figures by their names. Raise ValueError if one is not in the catalogue."""
    drawn = {path.stem: path for path in figures}
    for name in drawn:
        catalogue.figure(name.removesuffix(NARROW))
    return drawn


def sections(
    tables: Sequence[TableView],
    figures: Mapping[str, Path],
    answer: Answer,
    facts: Mapping[str, Sequence[str]],
    conclusions: Mapping[str, str],
    *,
    has_energy: bool,
) -> list[SectionView]:
    """Arrange tables and figures by the catalogue: the sections that have one.

    Figures of energy are shown if the study `has_energy`; `facts` are by section, as are `conclusions` of those that
    the answer says nothing about. Raise ValueError if a table is not in the catalogue.
    """
    views = {view.name: view for view in tables}
    for name in views:
        catalogue.table(name)
    arranged = []
    for key, section in catalogue.SECTIONS.items():
        own_tables = [views[entry.name] for entry in catalogue.TABLES.values() if _is_in(key, entry, views)]
        own_figures = [
            FigureView.read(entry.name, figures)
            for entry in catalogue.FIGURES.values()
            if _is_in(key, entry, figures) and entry.name != TRADEOFF and (has_energy or entry.name not in OF_ENERGY)
        ]
        if not own_tables and not own_figures:
            continue
        main = {figure.name for figure in own_figures} & set(MAIN_FIGURES) or {f.name for f in own_figures[:1]}
        said = [text for quantity in QUANTITIES.get(key, ()) if (text := answer.conclusion(quantity))]
        titles = [figure.caption for figure in own_figures if figure.name in main and figure.is_titled]
        arranged.append(
            SectionView(
                key, section.title, section.measured_by,
                said or ([conclusions[key]] if key in conclusions else titles[:1]), answer.pair if said else "",
                facts.get(key, ()),
                tables=[table for table in own_tables if not catalogue.table(table.name).details],
                figures=[figure for figure in own_figures if figure.name in main],
                more_tables=[table for table in own_tables if catalogue.table(table.name).details],
                more_figures=[figure for figure in own_figures if figure.name not in main],
            )
        )  # fmt: skip
    return arranged


def _is_in(section: str, entry: catalogue.Entry, names: Collection[str]) -> bool:
    return entry.section == section and entry.name in names
