"""A table as LaTeX."""

import re
from collections.abc import Callable, Iterator, Sequence

from lora_core.reporting.latex_layout import (
    BREAK,
    COLUMN,
    LINES,
    Column,
    Part,
    breakable,
    fit,
    head_parts,
    parts,
    text_width,
)
from lora_core.reporting.table import Table

PACKAGES = r"% needs \usepackage{array,booktabs}"
# The environment table* does the same, but other programs than LaTeX do not know it and drop its caption.
ACROSS = r"""\begingroup
% Where a page has two columns, this table spans both.
\makeatletter\if@twocolumn\let\@float\@dblfloat\let\end@float\end@dblfloat\fi\makeatother"""
NOTE_WIDTH = 320.0  # points of a line of notes that are filled, about
# Columns of text on several lines. Programs that read LaTeX take what follows \arraybackslash for its argument.
LABELS = r">{\raggedright\hyphenpenalty=10000\exhyphenpenalty=10000\let\\\tabularnewline}"
FIGURES = r">{\raggedleft\let\\\tabularnewline}"


def latex(table: Table) -> str:
    """Return the table for a paper, in parts that fit on a page: as several floats, if it is larger.

    It needs the packages array and booktabs.
    """
    shown = [page for part in fit(table.grid()) for page in part.pages()]
    published = [*fit(grid)] if table.published and (grid := table.published_grid()) else []
    floats = [_tabular(part) for part in shown]
    notes = [*table.banner[1:], *table.notes]
    used = LINES if len(floats) > 1 else sum(shown[0].heights)
    used += sum(1 + int(text_width(note) / NOTE_WIDTH) for note in notes)
    used += sum(3 + sum(part.heights) for part in published)
    below = [*_notes(notes), *_published(table, published)]
    if used <= LINES:
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
    if max(part.width for part in (*shown, *published)) > COLUMN:
        body = [ACROSS, *body, r"\endgroup"]
    return "\n".join([PACKAGES, *body, ""])


def _notes(notes: Sequence[str]) -> list[str]:
    if not notes:
        return []
    return [r"\par\smallskip\raggedright", *(rf"{latex_text(note)}\par" for note in notes)]


def _published(table: Table, shown: Sequence[Part]) -> list[str]:
    if not (table.published and shown):
        return []
    source = f"Published, not measured here: {table.published.source}"
    tabulars = [[r"\par\smallskip", *_tabular(part)] for part in shown]
    return [r"\par\medskip", latex_text(source), *(line for lines in tabulars for line in lines)]


def _tabular(part: Part) -> list[str]:
    columns = "l" if part.label is None else rf"{LABELS}p{{{part.label:.0f}pt}}"
    columns += "".join(rf"{FIGURES}p{{{c.width:.0f}pt}}" if c.broken else "r" for c in part.columns)
    head, *rows = (
        [label if part.label is None else breakable(label, part.label), *_cells(cells, part.columns, broken)]
        for (label, *cells), broken in zip(part.grid.lines, (head_parts, *(parts for _ in part.grid.rows)), strict=True)
    )
    lines = [_line(row, apart=height > 1) for row, height in zip(rows, part.heights, strict=True)]
    start = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _line(head), r"\midrule"]
    return [*start, *lines, r"\bottomrule", r"\end{tabular}"]


def _line(texts: Sequence[str], *, apart: bool = False) -> str:
    """A row of texts in LaTeX, with some space below if it takes several lines."""
    return " & ".join(map(_start, texts)) + (r" \\[2pt]" if apart else r" \\")


def _cells(texts: Sequence[str], columns: Sequence[Column], broken: Callable[[str], Sequence[str]]) -> Iterator[str]:
    """Cells that can be broken between their parts, and elsewhere only where a part is wider than its column."""
    for text, column in zip(texts, columns, strict=True):
        fits = [text_width(line) <= column.width for line in broken(text)]
        lines = zip(broken(text), fits, strict=True)
        yield " ".join(line.replace(" ", "\xa0") if fit else breakable(line, column.width) for line, fit in lines)


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
    APART: "{}", BREAK: r"\hspace{0pt}",
    **{raised: f"$^{plain}$" for raised, plain in zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789", strict=True)},
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
