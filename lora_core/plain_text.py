"""Texts that come from files, as messages quote them: a terminal obeys control characters, and may be flooded."""

MAX_QUOTED = 120  # characters


def shorten(text: str) -> str:
    """Return a text as an error message quotes it."""
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}..."
