"""A table as data: cells with their place on the page and with what they are, notes, and published figures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lora_core.atomic_files import atomic_file
from lora_core.config.description import StudyDescription
from lora_core.records import read_json, write_json
from lora_core.reporting import catalogue
from lora_core.sealed import seal, unseal

NA = "n/a"
PUBLISHED_PAGE = "docs/published.md"


@dataclass(frozen=True)
class Cell:
    """One figure. It is printed as `text` in `row` and `column`; `value` is None where it is not available.

    `low` and `high` are the bounds of its interval, `sd` the standard deviation over `n` runs. The other fields say
    what it is, whatever the layout of the table: the method and the task as they are called in the configuration.
    """

    row: str
    column: str
    value: float | str | None = None
    text: str = NA
    sd: float | None = None
    n: int | None = None
    low: float | None = None
    high: float | None = None
    method: str = ""
    variant: str = ""
    task: str = ""
    quantity: str = ""
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Published:
    """Published figures, printed in a block of their own.

    `of_study` tells figures of the paper's study from those about other model sizes. `corner` heads the column of row
    labels; the table's own does if it is empty.
    """

    source: str
    cells: Sequence[Cell]
    of_study: bool = True
    corner: str = ""

    def on_tasks(self, tasks: Collection[str]) -> Published | None:
        """Return the figures on these tasks and those that are about none; None if there are none."""
        cells = [cell for cell in self.cells if not cell.task or cell.task in tasks]
        return replace(self, cells=cells) if cells else None

    def qualified(self, text: str) -> Published:
        """Return the figures with a text after their source."""
        source = f"{self.source}. {text}"
        return replace(self, source=source, cells=[replace(cell, note=source) for cell in self.cells])


@dataclass(frozen=True)
class Table:
    """A table of a study. `corner` heads the column of row labels, and `notes` are printed below.

    `banner` describes the study; its first line names it, the others are warnings.
    """

    name: str
    title: str
    corner: str
    cells: Sequence[Cell]
    notes: Sequence[str] = ()
    banner: Sequence[str] = ()
    published: Published | None = None

    @property
    def heading(self) -> str:
        """The title, with the number of a table of the paper."""
        number = self.name.removeprefix("table").removesuffix(catalogue.DETAILS)
        return f"Table {number}: {self.title}" if self.name.startswith("table") else self.title

    def grid(self) -> Grid:
        """Return header and rows as text."""
        return grid(self.cells, self.corner)

    def published_grid(self) -> Grid | None:
        """Return header and rows of the published figures as text."""
        return grid(self.published.cells, self.published.corner or self.corner) if self.published else None

    def with_study(self, study: StudyDescription) -> Table:
        """Add the description of the study and how every run trains.

        Figures that were published for another model or other data are left out; where anything else differs, their
        source says so.
        """
        notes, published = [*self.notes], self.published
        if study.training:
            notes.append(study.training)
        if published and published.of_study:
            if study.other_subject:
                published = None
                notes.append(f"The paper's figures, of another model or other data, are in {PUBLISHED_PAGE}.")
            elif study.qualification:
                published = published.qualified(f"Not comparable with this study: {study.qualification}.")
        return replace(self, banner=study.banner(), notes=notes, published=published)

    def to_json(self) -> dict[str, object]:
        """Return the table as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Table:
        """Read what `to_json` returned."""
        fields = dict(content)
        fields["cells"] = [Cell(**cell) for cell in content["cells"]]
        if published := content["published"]:
            fields["published"] = Published(**published | {"cells": [Cell(**cell) for cell in published["cells"]]})
        return cls(**fields)


@dataclass(frozen=True)
class Grid:
    """Text in rows and columns: a header, and rows of the same length. A row's first text is its label."""

    head: list[str]
    rows: list[list[str]] = field(default_factory=list)

    @property
    def lines(self) -> list[list[str]]:
        """The header and the rows."""
        return [self.head, *self.rows]


def grid(cells: Sequence[Cell], corner: str) -> Grid:
    """Arrange cells in the order in which rows and columns first appear; a place without a cell is empty."""
    columns = list(dict.fromkeys(cell.column for cell in cells))
    texts = {row: dict.fromkeys(columns, "") for row in dict.fromkeys(cell.row for cell in cells)}
    for cell in cells:
        texts[cell.row][cell.column] = cell.text
    return Grid([corner, *columns], [[row, *line.values()] for row, line in texts.items()])


def new_table(name: str, corner: str, cells: Sequence[Cell], notes: Sequence[str] = ()) -> Table:
    """Return a table of the catalogue, with its title and the figures that were published for its tasks."""
    from lora_core.reporting.published import TABLES

    tasks = {cell.task for cell in cells}
    published = TABLES[name].block().on_tasks(tasks) if name in TABLES else None
    return Table(name, catalogue.table(name).title, corner, list(cells), list(notes), published=published)


def read_table(path: Path) -> Table:
    """Read a table from its JSON file. Raise ValueError, naming the file, if it is damaged."""
    content = unseal(read_json(path), path)
    try:
        return Table.from_json(content)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a table of this version ({error}); delete it and run again") from error


def write_table_json(table: Table, path: Path) -> None:
    """Write a table's JSON file."""
    write_json(path, seal(table.to_json()))


def write_text(path: Path, text: str) -> None:
    """Write a text file that appears complete or not at all."""
    with atomic_file(path) as temp_path:
        temp_path.write_text(text, encoding="utf-8")
