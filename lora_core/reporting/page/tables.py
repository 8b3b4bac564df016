"""Tables as the page shows them: the text of their cells, with the method of each row and the task of each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lora_core.data.tasks import task_title
from lora_core.reporting.table import NA, Cell, Grid, Table, grid

OPEN_ROWS = 16  # a longer table is folded
SMALL_COLUMNS = 4
# The beginnings of notes without which a table is misread: what a ratio and its bounds are, and whose memory it is.
BELOW = ("Ratios: ", "Over ", "On a CPU: ")
WITHOUT = "(n/a)"  # in a note that says why there are no figures


@dataclass(frozen=True)
class ColumnNames:
    """The methods and tasks of a column, names with their labels: its heading lists the methods.

    If it `lists_tasks`, these follow after a colon.
    """

    methods: list[tuple[str, str]]
    tasks: list[tuple[str, str]]
    lists_tasks: bool

    @classmethod
    def of(cls, cells: Sequence[Cell], labels: Mapping[str, str]) -> ColumnNames | None:
        """Return what the heading of these cells lists; None if it is no such list."""
        methods = [(name, labels[name]) for name in dict.fromkeys(cell.method for cell in cells) if name in labels]
        tasks = [(name, task_title(name)) for name in dict.fromkeys(cell.task for cell in cells)]
        listed, of_tasks = (", ".join(label for _, label in names) for names in (methods, tasks))
        headings = {listed: False, f"{listed}: {of_tasks}": True}
        lists_tasks = headings.get(cells[0].column) if methods else None
        return None if lists_tasks is None else cls(methods, tasks, lists_tasks)


@dataclass(frozen=True)
class GridView:
    """Header and rows of text; the method of each row and the task of each column, empty if they are about several.

    `column_names` are the methods and tasks that a column's heading lists, None where it lists none.
    """

    grid: Grid
    row_methods: list[str]
    column_tasks: list[str]
    column_names: list[ColumnNames | None]

    @classmethod
    def of(cls, cells: Sequence[Cell], corner: str, labels: Mapping[str, str]) -> GridView:
        """Arrange cells; a method that has none of the `labels` is not named."""
        table = grid(cells, corner)
        rows = [{cell.method for cell in cells if cell.row == row[0]} for row in table.rows]
        columns = [[cell for cell in cells if cell.column == column] for column in table.head[1:]]
        row_methods = [_only(values) for values in rows]
        return cls(
            table,
            [method if method in labels else "" for method in row_methods],
            ["", *(_only({cell.task for cell in column}) for column in columns)],
            [None, *(ColumnNames.of(column, labels) for column in columns)],
        )

    @property
    def has_unit(self) -> bool:
        """Whether the corner says in brackets what unit the table has."""
        return self.grid.head[0].endswith(")")


def _only(values: set[str]) -> str:
    return next(iter(values)) if len(values) == 1 else ""


@dataclass(frozen=True)
class TableView:
    """A table of the page, with the published figures if there are any.

    Rows of quantities `without` a single figure are left out.
    """

    name: str
    heading: str
    ours: GridView
    notes: Sequence[str]
    published: GridView | None
    source: str
    without: Sequence[str] = ()

    @classmethod
    def of(cls, table: Table, labels: Mapping[str, str]) -> TableView:
        """Arrange a table; `labels` are those of the methods that the page can hide."""
        published = table.published
        known = {cell.quantity for cell in table.cells if cell.text != NA}
        cells = [cell for cell in table.cells if cell.quantity in known] or table.cells
        shown = {cell.quantity for cell in cells}
        return cls(
            table.name,
            table.heading,
            GridView.of(cells, table.corner, labels),
            table.notes,
            GridView.of(published.cells, published.corner or table.corner, labels) if published else None,
            published.source if published else "",
            [name for name in dict.fromkeys(cell.quantity for cell in table.cells) if name not in shown],
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
        """The notes that explain a mark or without which the table is misread, which stand right below it."""
        explain = [note for note in self.notes if not note[:1].isalpha() or note.startswith(BELOW)]
        return [*explain, *self.absent_notes]

    @property
    def absent_notes(self) -> list[str]:
        """What says in place of the rows that were left out why they have no figures."""
        if not self.without:
            return []
        reasons = [note for note in self.notes if WITHOUT in note and note.startswith("No ")]
        return reasons or [f"Without a figure in this study: {', '.join(self.without)}."]
