"""A table as Markdown."""

from lora_core.reporting.table import Grid, Table


def markdown(table: Table) -> str:
    """Return the table, its notes and the published figures as Markdown."""
    out = [f"# {table.heading}", "", *map(markdown_text, table.banner), ""]
    out += [*markdown_table(table.grid()), "", *(f"- {markdown_text(note)}" for note in table.notes)]
    if table.published and (published := table.published_grid()):
        out += ["", "## Published, not measured here", "", markdown_text(table.published.source), ""]
        out += markdown_table(published)
    return "\n".join(out) + "\n"


def markdown_table(grid: Grid) -> list[str]:
    """Return the lines of a Markdown table; all columns but the first are aligned to the right."""
    head, *rows = ("| " + " | ".join(map(markdown_text, texts)) + " |" for texts in grid.lines)
    return [head, "|" + " --- |" + " ---: |" * (len(grid.head) - 1), *rows]


def markdown_text(text: str) -> str:
    """Escape a text so that Markdown shows it as it is."""
    entities = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\\", "&#92;"))
    for plain, safe in (*entities, ("|", "\\|"), ("](", "]\\("), ("\n", " "), ("\r", " ")):
        text = text.replace(plain, safe)
    return text
