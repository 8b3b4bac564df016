"""Write a table as JSON, Markdown, CSV and LaTeX, all from the same object."""

import csv
from dataclasses import dataclass, fields
from io import StringIO
from pathlib import Path

from lora_core.config.description import StudyDescription
from lora_core.csv_cells import as_text
from lora_core.reporting.latex import latex
from lora_core.reporting.markdown import markdown
from lora_core.reporting.table import Cell, Table, write_table_json, write_text

CSV_COLUMNS = (
    "method", "variant", "task", "quantity", "unit", "value", "sd", "n", "low", "high", "text", "note",
)  # fmt: skip


@dataclass(frozen=True)
class TableFiles:
    """Where a table is written."""

    json: Path
    md: Path
    csv: Path
    tex: Path

    @classmethod
    def at(cls, stem: Path) -> "TableFiles":
        """The files that share a name without suffix."""
        return cls(**{field.name: stem.with_name(f"{stem.name}.{field.name}") for field in fields(cls)})


def write_table(table: Table, study: StudyDescription, files: TableFiles) -> None:
    """Write a table with the description of its study."""
    table = table.with_study(study)
    write_table_json(table, files.json)
    write_text(files.md, markdown(table))
    write_text(files.csv, csv_text(table))
    write_text(files.tex, latex(table))


def csv_text(table: Table) -> str:
    """Return one row per cell, with what the cell is; published figures have the variant "published".

    The note of a cell of this study ends with the warnings of the banner.
    """
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for cell in table.cells:
        note = "; ".join(filter(None, [cell.note, *table.banner[1:]]))
        writer.writerow([*_values(cell)[:-1], as_text(note)])
    if table.published:
        writer.writerows(map(_values, table.published.cells))
    return stream.getvalue()


def _values(cell: Cell) -> list[float | int | str | None]:
    return [as_text(getattr(cell, name)) for name in CSV_COLUMNS]
