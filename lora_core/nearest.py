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
    if close := closest(name, names, cutoff):
        return f"; did you mean {close!r}?"
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f"; valid: {', '.join(names[:MAX_LISTED])}{more}"


def closest(name: str, valid: Sequence[str], cutoff: float) -> str:
    """Return the valid name that is most like this one; empty if none is as similar as the `cutoff`."""
    return next(iter(difflib.get_close_matches(name[:MAX_COMPARED], valid[:MAX_COMPARED], n=1, cutoff=cutoff)), "")


def unknown_names(key: str, unknown: Sequence[tuple[str, object]], valid: Iterable[str]) -> Iterator[str]:
    """Yield an error for each of the first unknown names, from its beginning and the name, and count the others."""
    names = list(valid)
    for beginning, name in unknown[:MAX_DESCRIBED]:
        yield f"{beginning}{nearest(str(name), names)}"
    if more := len(unknown[MAX_DESCRIBED:]):
        yield f"{key}: and {more} more unknown names"
