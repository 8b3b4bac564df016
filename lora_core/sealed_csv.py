"""CSV files that carry a digest of their own content, as `lora_core.sealed` does for records, and no formulas."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from lora_core.atomic_files import atomic_file
from lora_core.csv_cells import as_text, map_texts, read_frame
from lora_core.records import require_regular_file
from lora_core.sealed import SEAL, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pandas as pd


def write_sealed_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write the rows of a CSV file, the first of which are the names of columns, with their digest in a last column.

    A file that holds nothing but its names has no such column: one that has it has lost its rows.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    header, *lines = csv.reader(io.StringIO(text.getvalue()))
    digest = _digest([header, *lines])
    sealed = [[*header, SEAL], *([*line, digest] for line in lines)] if lines else [header]
    with atomic_file(path) as temp_path, temp_path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(sealed)


def read_sealed_rows(path: Path) -> list[list[str]]:
    """Read the rows of a CSV file without their column of digests; a file that has none is older and accepted.

    Raise ValueError that names the file if its text was changed or lost after it was written.
    """
    require_regular_file(path)
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run again") from error
    if not rows or not any(name.strip("\0 ") for name in rows[0]):
        raise ValueError(f"{path} is damaged (it has no names of columns); delete it and run again")
    if SEAL not in rows[0]:
        return rows
    if len(rows) == 1:
        raise ValueError(f"{path} is damaged (its rows are missing); delete it and run again")
    content = [row[:-1] for row in rows]
    digest = _digest(content)
    if rows[0][-1] != SEAL or any(row[-1:] != [digest] for row in rows[1:]):
        raise ValueError(f"{path} was edited after it was written (see its column {SEAL}); delete it and run again")
    return content


def write_sealed_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a data frame as `write_sealed_rows` does, with `as_text` of its texts."""
    write_sealed_rows(path, csv.reader(io.StringIO(map_texts(frame, as_text).to_csv(index=False))))


def read_sealed_csv(path: Path) -> pd.DataFrame:
    """Read a file of `write_sealed_csv`. Raise ValueError as `read_sealed_rows` does."""
    read_sealed_rows(path)
    return read_frame(path).drop(columns=SEAL, errors="ignore")


def _digest(rows: list[list[str]]) -> str:
    return digest(rows)[:16]  # it stands in every row
