"""A table as LaTeX."""

import re

from lora_core.reporting.table import Grid, Table

ROWS_OF_A_PAGE = 40
# Scaled down only where the table is wider than the text.
FIT = r"\resizebox{\ifdim\width>\linewidth \linewidth\else\width\fi}{!}{%"
PACKAGES = r"% needs \usepackage{booktabs,graphicx,longtable}"


def latex(table: Table) -> str:
    """Return the table for a paper.

    It needs the packages booktabs, graphicx (to fit the width) and longtable (for tables of several pages).
    """
    caption = rf"\caption{{{latex_text(' '.join([f'{table.title}.', *table.banner]))}}}"
    label = rf"\label{{tab:lora-{table.name.removeprefix('table')}}}"
    grid = table.grid()
    if len(grid.lines) <= ROWS_OF_A_PAGE:
        body = [r"\begin{table}", r"\centering", caption, label, *_tabular(grid), *_notes(table), r"\end{table}"]
    else:
        body = [*_long_table(grid, caption + label), *_notes(table)]
    return "\n".join([PACKAGES, *body, ""])


def _notes(table: Table) -> list[str]:
    lines = [r"\par\smallskip\footnotesize", *map(latex_text, table.notes)] if table.notes else []
    if table.published and (published := table.published_grid()):
        source = rf"Published: {latex_text(table.published.source)}"
        lines += [r"\par\medskip\normalsize", source, r"\par\smallskip", *_tabular(published)]
    return lines


def _long_table(grid: Grid, caption: str) -> list[str]:
    """A table that continues over pages, its header repeated on each."""
    head = [r"\toprule", _line(grid.head), r"\midrule"]
    return [
        r"{\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\begin{{longtable}}{{{_columns(grid)}}}",
        caption + r"\\",
        *head,
        r"\endfirsthead",
        *head,
        r"\endhead",
        r"\bottomrule",
        r"\endlastfoot",
        *map(_line, grid.rows),
        r"\end{longtable}",
        "}",
    ]


def _tabular(grid: Grid) -> list[str]:
    head = [rf"\begin{{tabular}}{{{_columns(grid)}}}", r"\toprule", _line(grid.head), r"\midrule"]
    return [FIT, *head, *map(_line, grid.rows), r"\bottomrule", r"\end{tabular}}"]


def _columns(grid: Grid) -> str:
    return "l" + "r" * (len(grid.head) - 1)


def _line(texts: list[str]) -> str:
    return " & ".join(map(latex_text, texts)) + r" \\"


ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "≥": r"$\geq$", "≤": r"$\leq$", "≈": r"$\approx$", "≠": r"$\neq$", "×": r"$\times$", "·": r"$\cdot$",
    "−": "$-$", "→": r"$\to$", "√": r"$\surd$", "∞": r"$\infty$", "°": r"$^\circ$", "µ": r"$\mu$", "…": r"\ldots{}",
    "–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''", "\xa0": "~", "\n": " ",
    **{letter: rf"$\{name}$" for letter, name in zip("αβγδεηθκλμπρστφχψωΔΣΩ", (
        "alpha", "beta", "gamma", "delta", "varepsilon", "eta", "theta", "kappa", "lambda", "mu", "pi", "rho",
        "sigma", "tau", "varphi", "chi", "psi", "omega", "Delta", "Sigma", "Omega"), strict=True)},
}  # fmt: skip
LATIN = re.compile("[ -~\u00c0-\u017f]")  # what pdflatex prints without further packages


def latex_text(text: str) -> str:
    """Escape a text so that LaTeX shows it as it is; a character that pdflatex lacks becomes its code point."""
    shown = (c if LATIN.match(c) else f"[U+{ord(c):04X}]" for c in text)
    return "".join(ESCAPES.get(character, other) for character, other in zip(text, shown, strict=True))
