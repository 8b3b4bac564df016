"""Results that are there but not finished: files that are empty, or smaller than the job that made them says.

A loss of power or a disk that fills up while results are copied can leave such files, and files that have their size
but only zero bytes. To Snakemake they are made.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from lora_core.job_records import Recorded
from lora_core.layout import Layout

# Folders without products: logs, and the states of runs, which are checked when they are read.
_NOT_PRODUCTS = {Layout.logs, Layout.checkpoint.partition("/")[0]}
EMPTY, ZEROED, CUT_OFF = "it is empty", "it has only zero bytes", "it is cut off"
INCOMPLETE = "a file of it is missing"
_MAX_DEPTH = 9  # of folders below the results; a link may lead back
# Texts of which the first bytes are read. What is in these folders has a digest, or is read at each start.
_TEXTS = (".csv", ".json", ".md", ".tex", ".svg", ".html")
_PLACES = (Layout.data, Layout.latency, Layout.merged, Layout.model, Layout.run)
_CHECKED = tuple(f"{place.partition('/')[0]}/" for place in _PLACES)
_FIRST_BYTES = 64


def unfinished_products(results: str, recorded: Mapping[str, Recorded]) -> dict[str, str]:
    """Return why each unfinished product of a results folder is one, by its path.

    `recorded` is what the jobs recorded of their outputs (`job_records.read_outputs`).

    A product that is a folder is unfinished if one of its files is, or is missing. A product that is missing is left
    to Snakemake. The folders above a product, which are none themselves, are in the answer, too. Only sizes are
    compared, and the first bytes of texts: without an exit record, a file is unfinished if it is empty or zeroed.
    """
    unfinished: dict[str, str] = {}
    present = set()
    for name, entry in _files(results, skipped=_NOT_PRODUCTS):
        try:
            size = entry.stat().st_size
        except OSError:  # removed in the meantime
            continue
        present.add(name)
        expected = recorded[name].size if name in recorded else 1
        reason = None
        if size < expected and not (size and name.endswith(".json") and _is_json(f"{results}/{name}")):
            reason = CUT_OFF if size else EMPTY
        elif size and name.endswith(_TEXTS) and not name.startswith(_CHECKED) and _is_zeroed(f"{results}/{name}"):
            reason = ZEROED
        if reason:
            unfinished |= dict.fromkeys([f"{results}/{name}", *_folders_above(results, name)], reason)
    for name in recorded.keys() - present:
        folders = [folder for folder in _folders_above(results, name) if os.path.isdir(folder)]
        unfinished |= dict.fromkeys(folders, INCOMPLETE)
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


def _folders_above(results: str, name: str) -> list[str]:
    return [f"{results}/{folder}" for folder in PurePosixPath(name).parents if folder.name]


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
