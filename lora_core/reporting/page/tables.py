"""Tables as the page shows them: the text of their cells, with the method of each row and the task of each column."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lora_core.reporting.table import Cell, Grid, Table, grid

OPEN_ROWS = 16  # a longer table is folded
SMALL_COLUMNS = 4


@dataclass(frozen=True)
class GridView:
    """Header and rows of text; the method of each row and the task of each column, empty if they are about several."""

    grid: Grid
    row_methods: list[str]
    column_tasks: list[str]

    @classmethod
    def of(cls, cells: Sequence[Cell], corner: str, methods: Collection[str]) -> GridView:
        """Arrange cells; methods that are not among `methods` are not named."""
        table = grid(cells, corner)
        rows = [{cell.method for cell in cells if cell.row == row[0]} for row in table.rows]
        columns = [{cell.task for cell in cells if cell.column == column} for column in table.head[1:]]
        row_methods = [_only(values) for values in rows]
        return cls(table, [m if m in methods else "" for m in row_methods], ["", *map(_only, columns)])

    @property
    def has_unit(self) -> bool:
        """Whether the corner says in brackets what unit the table has."""
        return self.grid.head[0].endswith(")")


def _only(values: set[str]) -> str:
    return next(iter(values)) if len(values) == 1 else ""


@dataclass(frozen=True)
class TableView:
    """A table of the page, with the published figures if there are any."""

    name: str
    heading: str
    ours: GridView
    notes: Sequence[str]
    published: GridView | None
    source: str

    @classmethod
    def of(cls, table: Table, methods: Collection[str]) -> TableView:
        """Arrange a table; `methods` are those that the page can hide."""
        published = table.published
        return cls(
            table.name,
            table.heading,
            GridView.of(table.cells, table.corner, methods),
            table.notes,
            GridView.of(published.cells, table.corner, methods) if published else None,
            published.source if published else "",
        )

    @property
    def open(self) -> bool:
        """Whether the table is short enough to be shown without a click."""
        return len(self.ours.grid.rows) <= OPEN_ROWS

    @property
    def is_small(self) -> bool:
        """Whether the table has so few columns that it fills half of a wide page."""
        return len(self.ours.grid.head) <= SMALL_COLUMNS

    @property
    def footnotes(self) -> list[str]:
        """The notes that explain a mark, which stand right below the table."""
        return [note for note in self.notes if not note[:1].isalpha()]
