"""Results that are there but not finished: files that are empty, or smaller than the job that made them says.

A loss of power or a disk that fills up while results are copied can leave such files, and files that have their size
but only zero bytes. To Snakemake they are made.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from lora_core.layout import Layout

# Folders without products: logs, and the states of runs, which are checked when they are read.
_NOT_PRODUCTS = {Layout.logs, Layout.checkpoint.partition("/")[0]}
_MAX_DEPTH = 9  # of folders below the results; a link may lead back
# Texts of which the first bytes are read. What is in these folders has a digest, or is read at each start.
_TEXTS = (".csv", ".json", ".md", ".tex", ".svg", ".html")
_PLACES = (Layout.data, Layout.latency, Layout.merged, Layout.model, Layout.run)
_CHECKED = tuple(f"{place.partition('/')[0]}/" for place in _PLACES)
_FIRST_BYTES = 64


def unfinished_products(results: str) -> dict[str, str]:
    """Return why each unfinished product of a results folder is one, by its path.

    A product that is a folder is unfinished if one of its files is, or is missing. A product that is missing is left
    to Snakemake. The folders above a product, which are none themselves, are in the answer, too. Only sizes are
    compared, and the first bytes of texts: without an exit record, a file is unfinished if it is empty or zeroed.
    """
    recorded = _recorded_sizes(f"{results}/{Layout.logs}")
    unfinished: dict[str, str] = {}
    present = set()
    for name, entry in _files(results, skipped=_NOT_PRODUCTS):
        try:
            size = entry.stat().st_size
        except OSError:  # removed in the meantime
            continue
        present.add(name)
        expected = recorded.get(name, 1)
        problem = None
        if size < expected and not (size and name.endswith(".json") and _is_json(f"{results}/{name}")):
            problem = f"has {size:,} of {expected:,} bytes" if size else "is empty"
        elif size and name.endswith(_TEXTS) and not name.startswith(_CHECKED) and _is_zeroed(f"{results}/{name}"):
            problem = "has only zero bytes"
        if problem:
            reason = f"{results}/{name} {problem}"
            unfinished |= dict.fromkeys([f"{results}/{name}", *_folders_above(results, name)], reason)
    for name in recorded.keys() - present:
        folders = [folder for folder in _folders_above(results, name) if os.path.isdir(folder)]
        unfinished |= dict.fromkeys(folders, f"{results}/{name} is missing")
    return unfinished


def _is_json(path: str) -> bool:
    """Whether a file is whole JSON: if it is smaller than it was, it was edited, which its reader notices."""
    try:
        with open(path, "rb") as stream:
            json.loads(stream.read())
    except (OSError, ValueError, RecursionError):
        return False
    return True


def _is_zeroed(path: str) -> bool:
    """Whether a file begins with zero bytes, as no text does."""
    try:
        with open(path, "rb", buffering=0) as stream:
            return not any(stream.read(_FIRST_BYTES))
    except OSError:  # removed in the meantime, or not readable
        return False


def describe(reasons: Iterable[str], shown: int = 3) -> str:
    """Return one line that says how many results are made again, and why the first ones are."""
    listed = sorted(set(reasons))
    count = f"{len(listed)} result is" if len(listed) == 1 else f"{len(listed)} results are"
    more = f", and {len(listed) - shown} more" if len(listed) > shown else ""
    return f"{count} made again: {', '.join(listed[:shown])}{more}"


def _folders_above(results: str, name: str) -> list[str]:
    return [f"{results}/{folder}" for folder in PurePosixPath(name).parents if folder.name]


def _recorded_sizes(logs: str) -> dict[str, int]:
    """The sizes that finished jobs recorded, by path below the results folder; damaged records say nothing."""
    sizes: dict[str, int] = {}
    for name, _ in _files(logs):
        if not name.endswith(".json"):
            continue
        try:
            with open(f"{logs}/{name}", "rb") as stream:
                outputs = json.loads(stream.read())["outputs"] or {}
            for output, size in outputs.items():
                # A product that two rules have made, one of them in an earlier version, may be as either left it.
                sizes[output] = min(int(size), sizes.get(output, int(size)))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
            continue
    return sizes


def _files(folder: str, skipped: Iterable[str] = ()) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield every regular file below `folder` that is not hidden, after its path from there."""
    waiting = [("", 0)]
    while waiting:
        prefix, depth = waiting.pop()
        try:
            with os.scandir(f"{folder}/{prefix}") as entries:
                for entry in entries:
                    if entry.name.startswith(".") or (not depth and entry.name in skipped):
                        continue
                    if entry.is_file():
                        yield prefix + entry.name, entry
                    elif entry.is_dir() and depth < _MAX_DEPTH:
                        waiting.append((f"{prefix}{entry.name}/", depth + 1))
        except OSError:  # removed in the meantime, or not readable
            continue
