"""What an error message about an unknown name ends in: the nearest valid name, or the valid names."""

import difflib
from collections.abc import Iterable, Iterator, Sequence

MAX_COMPARED = 1000  # names, and characters of a name: a comparison takes time
MAX_LISTED = 100
MAX_DESCRIBED = 20  # unknown names, of thousands in one list


def nearest(name: str, valid: Iterable[str], cutoff: float = 0.5) -> str:
    """Return the end of an error message: the nearest valid name, or the valid names if none is similar enough.

    With a `cutoff` of 0, the nearest one is named in any case.
    """
    names = list(map(str, valid))
    close = difflib.get_close_matches(name[:MAX_COMPARED], names[:MAX_COMPARED], n=1, cutoff=cutoff)
    if close:
        return f"; did you mean {close[0]!r}?"
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f"; valid: {', '.join(names[:MAX_LISTED])}{more}"


def unknown_names(key: str, unknown: Sequence[tuple[str, object]], valid: Iterable[str]) -> Iterator[str]:
    """Yield an error for each of the first unknown names, from its beginning and the name, and count the others."""
    names = list(valid)
    for beginning, name in unknown[:MAX_DESCRIBED]:
        yield f"{beginning}{nearest(str(name), names)}"
    if more := len(unknown[MAX_DESCRIBED:]):
        yield f"{key}: and {more} more unknown names"
