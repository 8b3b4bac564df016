"""A table as Markdown."""

from lora_core.reporting.table import Grid, Table


def markdown(table: Table) -> str:
    """Return the table, its notes and the published figures as Markdown."""
    out = [f"# {table.heading}", "", *map(markdown_text, table.banner), ""]
    out += [*_lines(table.grid()), "", *(f"- {markdown_text(note)}" for note in table.notes)]
    if table.published and (published := table.published_grid()):
        out += ["", "## Published, not measured here", "", markdown_text(table.published.source), ""]
        out += _lines(published)
    return "\n".join(out) + "\n"


def _lines(grid: Grid) -> list[str]:
    head, *rows = ("| " + " | ".join(map(markdown_text, texts)) + " |" for texts in grid.lines)
    return [head, "|" + " --- |" + " ---: |" * (len(grid.head) - 1), *rows]


def markdown_text(text: str) -> str:
    """Escape a text so that Markdown shows it as it is."""
    entities = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\\", "&#92;"))
    for plain, safe in (*entities, ("|", "\\|"), ("](", "]\\("), ("\n", " "), ("\r", " ")):
        text = text.replace(plain, safe)
    return text
