"""Results that are there but not finished: files that are empty, or smaller than the job that made them says.

A loss of power or a disk that fills up while results are copied can leave such files. To Snakemake they are made.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from lora_core.job_records import Recorded
from lora_core.layout import Layout

# Folders without products: logs, and the states of runs, which are checked when they are read.
_NOT_PRODUCTS = {Layout.logs, Layout.checkpoint.partition("/")[0]}
EMPTY, CUT_OFF, INCOMPLETE = "it is empty", "it is cut off", "a file of it is missing"
_MAX_DEPTH = 9  # of folders below the results; a link may lead back


def unfinished_products(results: str, recorded: Mapping[str, Recorded]) -> dict[str, str]:
    """Return why each unfinished product of a results folder is one, by its path.

    `recorded` is what the jobs recorded of their outputs (`job_records.read_outputs`).

    A product that is a folder is unfinished if one of its files is, or is missing. A product that is missing is left
    to Snakemake. The folders above a product, which are none themselves, are in the answer, too. Only sizes are
    compared: without an exit record, a file is unfinished if it is empty.
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
        if size < expected and not (size and name.endswith(".json") and _is_json(f"{results}/{name}")):
            reason = CUT_OFF if size else EMPTY
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
