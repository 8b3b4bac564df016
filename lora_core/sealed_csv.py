"""CSV files that carry a digest of their own content, as `lora_core.sealed` does for records, and no formulas."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from lora_core.atomic_files import atomic_file
from lora_core.csv_cells import as_text, map_texts, read_frame
from lora_core.records import require_regular_file
from lora_core.sealed import SEAL, digest, digests, edited

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pandas as pd

DIGITS = 16  # of a digest: it stands in every row


def write_sealed_rows(path: Path, rows: Iterable[Sequence[object]], place: str | None = None) -> None:
    """Write the rows of a CSV file, the first of which are the names of columns, with their digest in a last column.

    The digest covers the file's place if it is given. A file that holds nothing but its names has no such column: one
    that has it has lost its rows.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    header, *lines = csv.reader(io.StringIO(text.getvalue()))
    seal = digest([header, *lines], place)[:DIGITS]
    sealed = [[*header, SEAL], *([*line, seal] for line in lines)] if lines else [header]
    with atomic_file(path) as temp_path, temp_path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(sealed)


def read_sealed_rows(path: Path, place: str | None = None) -> list[list[str]]:
    """Read the rows of a CSV file without their column of digests; a file that has none is older and accepted.

    Raise ValueError that names the file if its text was changed or lost after it was written, or belongs in another
    place.
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
    seal = rows[1][-1:]
    known = [[one[:DIGITS]] for one in digests(content, place)]
    if rows[0][-1] != SEAL or seal not in known or any(row[-1:] != seal for row in rows[1:]):
        raise ValueError(f"{path} {edited(place)}; delete it and run again")
    return content


def write_sealed_csv(path: Path, frame: pd.DataFrame, place: str | None = None) -> None:
    """Write a data frame as `write_sealed_rows` does, with `as_text` of its texts."""
    write_sealed_rows(path, csv.reader(io.StringIO(map_texts(frame, as_text).to_csv(index=False))), place)


def read_sealed_csv(path: Path, place: str | None = None) -> pd.DataFrame:
    """Read a file of `write_sealed_csv`. Raise ValueError as `read_sealed_rows` does."""
    read_sealed_rows(path, place)
    return read_frame(path).drop(columns=SEAL, errors="ignore")
