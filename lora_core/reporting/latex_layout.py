"""How a table fits on a printed page: which columns share a line, which rows a page, and where cells are broken.

Widths are in points, in Computer Modern of 8 points, which is wider than the fonts of most journals.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from lora_core.reporting.table import Grid

LINE = 340.0  # of an article's text, which is 345 wide
COLUMN = 190.0  # of a column of text, if there are two on a page
GAP = 8.0  # between two columns of a table
LEAST_LABEL = 100.0  # that a row's label has at least
MOST = LINE - LEAST_LABEL - 2 * GAP  # that a column of figures has
MARGIN = 3.0  # that a column of broken cells has more than its widest part
LINES = 44  # of rows and notes on a page, below a caption
WIDE_CELL = 14  # characters of a cell or a column's head from which on it is broken
# Widths of characters; of all others, 4.8.
WIDTHS = {
    character: width
    for characters, width in (
        ("ijlI.,:;!|'[]’‘", 3.1), ("frst()- /\xa0", 3.6), ("mwABCDEFGHKLNOPQRTUVXYZ%&+−±×≥≤", 7.1), ("MW@—", 9.0),
    )
    for character in characters
}  # fmt: skip
BREAK = "\u200c"  # where a word may be broken
UNKNOWN = 42.0  # of a character that is printed as its code point


def text_width(text: str) -> float:
    """Return the width of a text on one line."""
    return sum(WIDTHS.get(c, 4.8 if c < "\u0250" or c in "–“”…" or "\u0370" <= c < "\u0400" else UNKNOWN) for c in text)


@dataclass(frozen=True)
class Column:
    """A column of figures; broken if its cells are, between their parts."""

    width: float
    broken: bool


@dataclass(frozen=True)
class Part:
    """What is printed as one tabular; `label` is the width of the rows' labels, None if all of them fit on a line."""

    grid: Grid
    label: float | None
    columns: Sequence[Column]

    @property
    def width(self) -> float:
        """The width of the whole."""
        labels = max(text_width(row[0]) for row in self.grid.lines) if self.label is None else self.label
        return labels + sum(GAP + column.width for column in self.columns) + GAP

    @property
    def heights(self) -> list[int]:
        """The number of lines that each row takes, about."""
        return [max(_lines(row[0], self.label), *(len(parts(text)) for text in row[1:]), 1) for row in self.grid.rows]

    def pages(self) -> Iterator["Part"]:
        """Split the rows so that each part fits on a page."""
        start = used = 0
        for number, height in enumerate(self.heights):
            if number > start and used + height > LINES:
                yield self._rows(start, number)
                start, used = number, 0
            used += height
        yield self._rows(start, None)

    def _rows(self, start: int, end: int | None) -> "Part":
        return Part(Grid(self.grid.head, self.grid.rows[start:end]), self.label, self.columns)


def fit(grid: Grid) -> Iterator[Part]:
    """Split the columns so that each part fits on a line."""
    labels = max(text_width(line[0]) for line in grid.lines)
    columns = [_column([line[number] for line in grid.lines]) for number in range(1, len(grid.head))]
    start, least = 0, min(labels, LEAST_LABEL) + GAP
    used = least
    for number, column in enumerate(columns):
        if number > start and used + GAP + column.width > LINE:
            yield _part(grid, columns, slice(start, number), labels)
            start, used = number, least
        used += GAP + column.width
    yield _part(grid, columns, slice(start, None), labels)


def _part(grid: Grid, columns: Sequence[Column], place: slice, labels: float) -> Part:
    chosen = columns[place]
    left = LINE - GAP - sum(GAP + column.width for column in chosen)
    head, *rows = ([line[0], *line[1:][place]] for line in grid.lines)
    return Part(Grid(head, rows), left if labels > left else None, chosen)


def _column(texts: Sequence[str]) -> Column:
    """Return the column of these texts, the first of which is the head."""
    lines = [head_parts(texts[0]), *map(parts, texts[1:])]
    broken = any(len(line) > 1 for line in lines)
    width = max(text_width(part) for line in lines for part in line) + broken * MARGIN
    return Column(min(width, MOST), broken or width > MOST)


def head_parts(text: str) -> list[str]:
    """Break the head of a column between words if it is wide."""
    return wrap(text, WIDE_CELL, break_long_words=False, break_on_hyphens=False) or [""]


def parts(text: str) -> list[str]:
    """Break a wide figure before its interval and before its verdict."""
    is_figure = len(text) >= WIDE_CELL and re.match(r"[+−≥ ]*\d", text)
    return re.split(r" (?=\[[+−\d.]+, )|(?<=\d\]) ", text) if is_figure else [text]


def breakable(text: str, width: float) -> str:
    """Return a text whose words can be broken where they are wider than this."""
    words = (word if text_width(word) <= width else re.sub("(.{8})", rf"\\1{BREAK}", word) for word in text.split(" "))
    return " ".join(words)


def _lines(label: str, width: float | None) -> int:
    return 1 if width is None else 1 + int(1.1 * text_width(label) / width)
