"""A table as Markdown, CSV and LaTeX, the published figures in a block of their own."""

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_core.data.tasks import task_title
from lora_core.records import atomic_file
from lora_core.reporting.published import TABLES, Published

NA = "n/a"
CSV_COLUMNS = ("block", "row", "column", "value", "sd", "n", "low", "high", "remark")


@dataclass(frozen=True)
class Cell:
    """One figure: shown as `text`, kept as `value`; None is not available. `low` and `high` bound its interval."""

    row: str
    column: str
    value: float | str | None
    text: str
    sd: float | None = None
    n: int | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Table:
    """A table of this study, of its file's name; `notes` stand below it."""

    name: str
    title: str
    corner: str
    cells: list[Cell]
    notes: list[str] = field(default_factory=list)

    @property
    def heading(self) -> str:
        """The title, of the paper's tables with their number."""
        number = self.name.removeprefix("table")
        return self.title if number == self.name else f"Table {number}: {self.title}"


@dataclass(frozen=True)
class Study:
    """What every table says of the study it shows."""

    model: str
    data: str
    protocol: str
    seeds: list[int]
    batching: str
    simulated: bool
    comparable: bool

    def banner(self) -> list[str]:
        """The lines above a table."""
        seeds = ", ".join(map(str, self.seeds))
        lines = [f"Study: {self.model} on {self.data}; protocol: {self.protocol}; seeds: {seeds}."]
        if not self.comparable:
            lines.append("Not the paper's model, data and protocol: not comparable with the published figures.")
        if self.simulated:
            lines.append("The power meter's driver is simulated: no power, energy or device memory here was measured.")
        return lines


def number_text(value: Any) -> str:
    """A setting as a person would write it."""
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(number_text, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def sweep_labels(swept: dict[str, dict[str, Any]]) -> dict[str, str]:
    """`{method: its combination in words}`, with the entry's name where several entries are swept."""
    several = len({one["entry"] for one in swept.values()}) > 1
    return {
        method: (f"{one['entry']}: " if several else "") + sweep_label(one["values"]) for method, one in swept.items()
    }


def sweep_label(values: dict[str, Any]) -> str:
    """A combination of values in words."""
    return ", ".join(f"{key.rpartition('.')[2].replace('_', ' ')} {number_text(v)}" for key, v in values.items())


def write(table: Table, study: Study, stem: Path) -> None:
    """Write `stem`.md, .csv and .tex."""
    published = TABLES.get(table.name)
    remark = " ".join(study.banner()[1:])
    rows = [("this study", *(getattr(cell, name) for name in CSV_COLUMNS[1:-1]), remark) for cell in table.cells]
    if published:
        rows += [
            (published.source, row, task_title(column), value, None, None, None, None, None)
            for row, values in published.rows.items()
            for column, value in zip(published.columns, values, strict=True)
        ]
    with (
        atomic_file(stem.with_suffix(".csv")) as temp_path,
        temp_path.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        writer.writerows(rows)
    for suffix, render in ((".md", markdown), (".tex", latex)):
        with atomic_file(stem.with_suffix(suffix)) as temp_path:
            temp_path.write_text(render(table, study, published), encoding="utf-8")


def _grid(cells: list[Cell], corner: str) -> list[list[str]]:
    """Header and rows of text, in the order in which rows and columns first appear."""
    columns = list(dict.fromkeys(cell.column for cell in cells))
    grid = {row: dict.fromkeys(columns, "") for row in dict.fromkeys(cell.row for cell in cells)}
    for cell in cells:
        grid[cell.row][cell.column] = cell.text
    return [[corner, *columns], *([row, *texts.values()] for row, texts in grid.items())]


def _published_grid(published: Published, corner: str) -> list[list[str]]:
    head = [corner, *map(task_title, published.columns)]
    return [head, *([row, *map(number_text, values)] for row, values in published.rows.items())]


def markdown(table: Table, study: Study, published: Published | None) -> str:
    """The table for reading."""

    def lines(grid: list[list[str]]) -> list[str]:
        def line(texts: list[str]) -> str:
            return "| " + " | ".join(map(markdown_text, texts)) + " |"

        return [line(grid[0]), "|" + " --- |" + " ---: |" * (len(grid[0]) - 1), *map(line, grid[1:])]

    out = [f"# {table.heading}", "", *(markdown_text(line) for line in study.banner()), ""]
    out += [*lines(_grid(table.cells, table.corner)), "", *(f"- {markdown_text(note)}" for note in table.notes)]
    if study.batching:
        out.append(f"- Batches in training: {markdown_text(study.batching)}.")
    if published:
        out += ["", "## Published, not measured here", "", markdown_text(published.source), ""]
        out += lines(_published_grid(published, table.corner))
    return "\n".join(out) + "\n"


ROWS_OF_A_PAGE = 40
# As wide as it is, where that is not wider than the text.
FIT = r"\resizebox{\ifdim\width>\linewidth \linewidth\else\width\fi}{!}{%"


def latex(table: Table, study: Study, published: Published | None) -> str:
    """The table for a paper; needs the packages booktabs, graphicx (to fit the width) and longtable (over pages)."""
    caption = rf"\caption{{{_latex_text(' '.join([f'{table.title}.', *study.banner()]))}}}"
    label = rf"\label{{tab:lora-{table.name.removeprefix('table')}}}"
    notes = [r"\par\smallskip\footnotesize", *(f"{_latex_text(note)}" for note in table.notes)] if table.notes else []
    if published:
        notes += [r"\par\medskip\normalsize", rf"Published: {_latex_text(published.source)}", r"\par\smallskip"]
        notes += _tabular(_published_grid(published, table.corner))
    grid = _grid(table.cells, table.corner)
    needs = r"% needs \usepackage{booktabs,graphicx,longtable}"
    if len(grid) <= ROWS_OF_A_PAGE:
        return "\n".join(
            [needs, r"\begin{table}", r"\centering", caption, label, *_tabular(grid), *notes, r"\end{table}", ""]
        )
    head = [r"\toprule", _latex_line(grid[0]), r"\midrule"]
    out = [needs, r"{\footnotesize\setlength{\tabcolsep}{3pt}", rf"\begin{{longtable}}{{{_columns(grid)}}}"]
    out += [caption + label + r"\\", *head, r"\endfirsthead", *head, r"\endhead", r"\bottomrule", r"\endlastfoot"]
    return "\n".join([*out, *map(_latex_line, grid[1:]), r"\end{longtable}", "}", *notes, ""])


def _columns(grid: list[list[str]]) -> str:
    return "l" + "r" * (len(grid[0]) - 1)


def _latex_line(texts: list[str]) -> str:
    return " & ".join(map(_latex_text, texts)) + r" \\"


def _tabular(grid: list[list[str]]) -> list[str]:
    head = [rf"\begin{{tabular}}{{{_columns(grid)}}}", r"\toprule", _latex_line(grid[0]), r"\midrule"]
    return [FIT, *head, *map(_latex_line, grid[1:]), r"\bottomrule", r"\end{tabular}}"]


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is."""
    for plain, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("](", "]\\("), ("\n", " ")):
        text = text.replace(plain, safe)
    return text


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "<": r"\textless{}", ">": r"\textgreater{}",
    "\n": " ",
}  # fmt: skip


def _latex_text(text: str) -> str:
    """Text that LaTeX shows as it is."""
    return "".join(LATEX.get(character, character) for character in text)
