"""Texts that come from files, as messages quote them: a terminal obeys control characters, and may be flooded."""

import unicodedata

MAX_QUOTED = 120  # characters
MAX_LINE = 2000  # of a message: the longest that is ours lists the types of PEFT


def shorten(text: str, length: int = MAX_QUOTED) -> str:
    """Return a text as an error message quotes it."""
    return text if len(text) <= length else f"{text[:length]}..."


def plain(text: str) -> str:
    """Return a text with what a terminal would obey or not show, all but line breaks and tabs, as Python writes it."""
    return text if _is_plain(text) else "".join(c if _is_plain(c) else repr(c)[1:-1] for c in text)


def _is_plain(text: str) -> bool:
    return text.isprintable() or all(c.isprintable() or c in "\n\t" or unicodedata.category(c) == "Zs" for c in text)


def message(text: str) -> str:
    """Return an error message as it is printed: `plain`, and with lines that are not too long."""
    return "\n".join(shorten(line, MAX_LINE) for line in plain(text).split("\n"))
