"""A table as LaTeX."""

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap

from lora_core.reporting.table import Grid, Table

PACKAGES = r"% needs \usepackage{array,booktabs,graphicx}"
# Scaled down only where the table is wider than the text.
FIT = r"\resizebox{\ifdim\width>\linewidth \linewidth\else\width\fi}{!}{%"
LINES_OF_A_PAGE = 44  # of rows and notes in small type, below a caption
CHARACTERS_OF_A_LINE = 85  # in small type, about
GAP = 2  # characters between two columns
LEAST_LABEL = 0.29  # the share of a line that a row's label has at least
WIDE_CELL = 14  # characters of a cell or a column's head from which on it is broken


def latex(table: Table) -> str:
    """Return the table for a paper, as several floats if it is longer than a page.

    It needs the packages array, booktabs and graphicx (to fit the width).
    """
    floats = [_tabular(page) for page in _pages(table.grid())]
    notes = [*table.banner[1:], *table.notes]
    used = LINES_OF_A_PAGE if len(floats) > 1 else sum(_heights(table.grid()))
    used += sum(1 + len(note) // CHARACTERS_OF_A_LINE for note in notes)
    if table.published:
        used += 3 + len({cell.row for cell in table.published.cells})
    below = [*_notes(notes), *_published(table)]
    if used <= LINES_OF_A_PAGE:
        floats[-1] += below
    else:
        floats.append(below)
    label = rf"\label{{tab:lora-{table.name.removeprefix('table')}}}"
    first = rf"\caption{{{latex_text(' '.join([f'{table.title}.', *table.banner[:1]]))}}}{label}\vspace{{3pt}}"
    later = rf"\par {latex_text(table.title)} (continued)\par\smallskip"
    body: list[str] = []
    for number, content in enumerate(floats):
        body += [r"\begin{table}", r"\centering\footnotesize\setlength{\tabcolsep}{4pt}", later if number else first]
        body += [*content, r"\end{table}"]
    return "\n".join([PACKAGES, *body, ""])


def _pages(grid: Grid) -> Iterator[Grid]:
    """Split the rows so that each part fits on a page."""
    heights = _heights(grid)
    start = used = 0
    for number, height in enumerate(heights):
        if number > start and used + height > LINES_OF_A_PAGE:
            yield Grid(grid.head, grid.rows[start:number])
            start, used = number, 0
        used += height
    yield Grid(grid.head, grid.rows[start:])


def _heights(grid: Grid) -> list[int]:
    """Return the number of lines that each row takes, about."""
    width = _label_width(grid)
    return [
        max([1 + len(row[0]) // width if width else 1, *(len(_parts(text)) for text in row[1:])]) for row in grid.rows
    ]


def _label_width(grid: Grid) -> int | None:
    """Return the number of characters of a line that labels of rows have; None if all labels fit into one line."""
    if len(grid.head) < 2:
        return None
    columns = zip(*(row[1:] for row in grid.rows), strict=True)
    cells = sum(GAP + max(len(part) for text in column for part in _parts(text)) for column in columns)
    width = max(CHARACTERS_OF_A_LINE - cells, round(LEAST_LABEL * CHARACTERS_OF_A_LINE))
    return width if max((len(row[0]) for row in grid.rows), default=0) > width else None


def _notes(notes: Sequence[str]) -> list[str]:
    if not notes:
        return []
    return [r"\par\smallskip\raggedright", *(rf"{latex_text(note)}\par" for note in notes)]


def _published(table: Table) -> list[str]:
    if not (table.published and (published := table.published_grid())):
        return []
    source = f"Published, not measured here: {table.published.source}"
    return [r"\par\medskip", latex_text(source), r"\par\smallskip", *_tabular(published)]


def _tabular(grid: Grid) -> list[str]:
    width, heights = _label_width(grid), _heights(grid)
    columns = ("l" if width is None else _label_column(width)) + "r" * (len(grid.head) - 1)
    head = _line([_start(grid.head[0]), *map(_broken_head, grid.head[1:])])
    rows = [
        _line([_start(label), *(_stacked(_parts(text)) for text in cells)], apart=height > 1)
        for (label, *cells), height in zip(grid.rows, heights, strict=True)
    ]
    start = [FIT, rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule"]
    return [*start, *rows, r"\bottomrule", r"\end{tabular}}"]


def _label_column(width: int) -> str:
    unbroken = r"\hyphenpenalty=10000\exhyphenpenalty=10000"
    return rf">{{\raggedright{unbroken}\arraybackslash}}p{{{width / CHARACTERS_OF_A_LINE:.2f}\linewidth}}"


def _line(texts: Sequence[str], *, apart: bool = False) -> str:
    """A row of texts in LaTeX, with some space below if it takes several lines."""
    return " & ".join(texts) + (r" \\[2pt]" if apart else r" \\")


def _broken_head(text: str) -> str:
    """The head of a column, broken between words if it is wide."""
    return _stacked(wrap(text, WIDE_CELL, break_long_words=False, break_on_hyphens=False) or [""])


def _parts(text: str) -> list[str]:
    """Break a wide figure before its interval and before its verdict."""
    is_figure = len(text) >= WIDE_CELL and re.match(r"[+−≥ ]*\d", text)
    return re.split(r" (?=\[[+−\d.]+, )|(?<=\d\]) ", text) if is_figure else [text]


def _stacked(parts: Sequence[str]) -> str:
    """Texts below each other."""
    lines = [*map(_start, parts)]
    if len(lines) == 1:
        return lines[0]
    return r"\begin{tabular}[t]{@{}r@{}}" + r"\\ ".join(lines) + r"\end{tabular}"


def _start(text: str) -> str:
    """A text at the beginning of a line, where LaTeX reads [ and * as part of the command that ended the last one."""
    escaped = latex_text(text)
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped.startswith(("[", "*")) else escaped


APART = "\u200b"
ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "{": r"\{", "}": r"\}",
    "_": r"{\ttfamily\char95}",
    "|": r"\textbar{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$", "≥": r"$\geq$", "≤": r"$\leq$", "≈": r"$\approx$", "≠": r"$\neq$", "×": r"$\times$", "·": r"$\cdot$",
    "−": "$-$", "→": r"$\to$", "√": r"$\surd$", "∞": r"$\infty$", "°": r"$^\circ$", "µ": r"$\mu$", "…": r"\ldots{}",
    "†": r"\dag{}", "–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''", "\xa0": "~", "\n": " ",
    APART: "{}",
    **{letter: rf"$\{name}$" for letter, name in zip("αβγδεηθκλμπρστφχψωΔΣΩ", (
        "alpha", "beta", "gamma", "delta", "varepsilon", "eta", "theta", "kappa", "lambda", "mu", "pi", "rho",
        "sigma", "tau", "varphi", "chi", "psi", "omega", "Delta", "Sigma", "Omega"), strict=True)},
}  # fmt: skip
# What pdflatex prints without further packages: letters with accents but for those that its default fonts lack.
PRINTED = re.compile("[ -~]|(?![ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſ])[\u00c0-\u017f]")


def latex_text(text: str) -> str:
    """Escape a text so that LaTeX shows it as it is; a character that pdflatex lacks becomes its code point.

    Packages that do this write commands for which a paper would need other fonts (pylatexenc, Cyrillic) and stop there.
    """
    text = re.sub("-(?=-)", f"-{APART}", text)  # two hyphens would be printed as a dash
    shown = (c if PRINTED.match(c) else f"[U+{ord(c):04X}]" for c in text)
    return "".join(ESCAPES.get(character, other) for character, other in zip(text, shown, strict=True))
