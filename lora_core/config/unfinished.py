"""Results that are there but not finished: files that are empty, or smaller than the job that made them says.

A loss of power or a disk that fills up while results are copied can leave such files, and files that have their size
but only zero bytes. To Snakemake they are made.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from lora_core.job_records import Recorded
from lora_core.layout import Layout, is_place

# Folders without products: logs, and the states of runs, which are checked when they are read.
_NOT_PRODUCTS = {Layout.logs, Layout.checkpoint.partition("/")[0]}
EMPTY, ZEROED, CUT_OFF = "it is empty", "it has only zero bytes", "it is cut off"
ZEROED_END = "its end has only zero bytes"
INCOMPLETE = "a file of it is missing"
_MAX_DEPTH = 9  # of folders below the results; a link may lead back
# Files of which the first bytes are read: texts, and weights, which begin with the length of their header.
_TEXTS = (".csv", ".json", ".md", ".tex", ".svg", ".html")
_BEGIN = (*_TEXTS, ".safetensors")
_FIRST_BYTES = 8
# Of a text in other folders, the last bytes are read, too: what is in these has a digest that its readers compare.
_PLACES = (Layout.data, Layout.latency, Layout.merged, Layout.model, Layout.run)
_WITH_DIGEST = tuple(f"{place.partition('/')[0]}/" for place in _PLACES)
_LAST_BYTES = 64
FOLDER = "a folder"
_MOVE = "move it away, or remove it, and run again"
_READ_ANYWAY = f"/{Layout.run_record.rpartition('/')[2]}"  # at each start (lora_core.config.outdated)


def unfinished_products(results: str, recorded: Mapping[str, Recorded]) -> dict[str, str]:
    """Return why each unfinished product of a results folder is one, by its path.

    `recorded` is what the jobs recorded of their outputs (`job_records.read_outputs`).

    A product that is a folder is unfinished if one of its files is, or is missing. A product that is missing is left
    to Snakemake. The folders above a product, which are none themselves, are in the answer, too. Only sizes are
    compared, and some bytes: without an exit record, a file is unfinished if it is empty or zeroed.

    Raise ValueError that names what is no file, or leads to none, where the study writes one: it may be the user's.
    """
    unfinished: dict[str, str] = {}
    present: set[str] = set()
    others: list[str] = []
    for name, entry in _files(results, _NOT_PRODUCTS, others):
        try:
            size = entry.stat().st_size
        except OSError:  # removed in the meantime
            continue
        present.add(name)
        expected = recorded[name].size if name in recorded else 1
        reason = None
        if size < expected and not (size and name.endswith(".json") and _is_json(f"{results}/{name}")):
            reason = CUT_OFF if size else EMPTY
        elif size and name.endswith(_BEGIN) and not name.endswith(_READ_ANYWAY):
            reason = _zeroed(f"{results}/{name}", size, with_end=not name.startswith(_WITH_DIGEST))
        if reason:
            unfinished |= dict.fromkeys([f"{results}/{name}", *_folders_above(results, name)], reason)
    for name in sorted(others):
        kind = _kind(Path(results, name))
        if kind == FOLDER or is_place(name, folder=False):
            raise ValueError(f"{results}/{name} is {kind}, but the study writes there; {_MOVE}")
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


def _zeroed(path: str, size: int, *, with_end: bool) -> str | None:
    """Return why a file that begins with zero bytes, or ends with one, is unfinished; no text does either."""
    try:
        descriptor = os.open(path, os.O_RDONLY)  # without the buffer of `open`, which takes longer than reading
    except OSError:  # removed in the meantime, or not readable
        return None
    try:
        if not any(os.pread(descriptor, _FIRST_BYTES, 0)):
            return ZEROED
        if with_end and os.pread(descriptor, _LAST_BYTES, max(0, size - _LAST_BYTES)).endswith(b"\0"):
            return ZEROED_END
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return None


def _folders_above(results: str, name: str) -> list[str]:
    return [f"{results}/{folder}" for folder in PurePosixPath(name).parents if folder.name]


def _kind(path: Path) -> str:
    if path.is_symlink() and not path.is_dir():
        return f"a link to {str(path.readlink())!r}, which is no file"
    return FOLDER if path.is_dir() else "a pipe, a socket or a device"


def _files(folder: str, skipped: Iterable[str], others: list[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield every regular file below `folder` that is not hidden, after its path from there.

    Add to `others` the paths of what is neither a file nor a folder, and of folders in the place of files.
    """
    waiting = [("", 0)]
    while waiting:
        prefix, depth = waiting.pop()
        try:
            with os.scandir(f"{folder}/{prefix}") as entries:
                for entry in entries:
                    if entry.name.startswith(".") or (not depth and entry.name in skipped):
                        continue
                    path = prefix + entry.name
                    try:
                        is_file, is_folder = entry.is_file(), entry.is_dir()
                    except OSError:  # a link to itself
                        is_file = is_folder = False
                    if is_file:
                        yield path, entry
                    elif not is_folder or (path.endswith(_BEGIN) and is_place(path, folder=True)):
                        others.append(path)
                    elif depth < _MAX_DEPTH:
                        waiting.append((f"{path}/", depth + 1))
        except OSError:  # removed in the meantime, or not readable
            continue
