"""Read columns of a CSV or TSV file as text; what cannot be read is refused with its line and cause."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lora_core.data.text_files import read_lines

# The positions of columns among the names of a header, by the names that they get; the text is the place of the header.
Find = Callable[[Sequence[str], str], dict[str, int]]


def read_csv(file: Path, find: Find, delimiter: str = ",") -> dict[str, list[str]]:
    """Return columns of a CSV file (UTF-8, a header); every value is text, also "NA" and an empty field.

    Raise ValueError that names the file and the line if it is not UTF-8, if a row has more or fewer fields than the
    header, or if a quote is open.
    """
    rows = _rows(file, delimiter)
    _, header = next(rows, (1, []))
    positions = find(header, str(file))
    columns: dict[str, list[str]] = {name: [] for name in positions}
    for line, row in rows:
        if len(row) != len(header):
            raise ValueError(f"{file}, line {line}: expected {len(header)} columns, got {len(row)}")
        for name, position in positions.items():
            columns[name].append(row[position])
    return columns


def _rows(file: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not empty, with the number of its first line."""
    csv.field_size_limit(2**31 - 1)  # instead of 128 kB
    # Not strict, the reader would take a quote in the middle of a field for the end of rows that it has run through.
    reader = csv.reader(read_lines(file), strict=True, delimiter=delimiter)
    first = 1
    try:
        for row in reader:
            if row:
                yield first, row
            first = reader.line_num + 1
    except csv.Error as error:
        never_closed = "unexpected end of data" in str(error)
        cause = "a quote opens in this row and is never closed" if never_closed else f'{error} (a quote is written "")'
        raise ValueError(f"{file}, line {first}: {cause}") from error
