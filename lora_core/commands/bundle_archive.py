"""The archive of a study, read as data: files of known names within limits, and nothing else.

Whoever sends an archive chooses its names, sizes and contents, so all names and sizes are checked before the first file
is written, and no path is taken from the archive.
"""

from __future__ import annotations

import itertools
import json
import re
import stat
import struct
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lora_core.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from lora_core.records import JsonObject

BUNDLE, CONFIG, LOCK, RESULTS = "bundle.json", "config.json", "requirements.lock", "results"
FORMAT = 2  # of an archive; 1, of the first version, has no BUNDLE file
# Raw records; the files that are drawn are made from them.
RAW = (
    Layout.study,
    Layout.counts,
    Layout.gradients,
    Layout.regimes,
    Layout.memory_scaling,
    Layout.data_card,
    Layout.model_config,
    Layout.run_record,
    Layout.kept,
    Layout.history,
    Layout.power,
    Layout.predictions,
    Layout.latency,
    Layout.latency_record,
)
DRAWN = (
    Layout.scores,
    Layout.differences,
    Layout.costs,
    Layout.curve,
    Layout.runs,
    *(f"{Layout.table}.{suffix}" for suffix in ("md", "csv", "tex", "json")),
    *(f"{Layout.figure}.{suffix}" for suffix in ("svg", "csv")),
    Layout.narrow_figure,
    *(f"{Layout.claims}.{suffix}" for suffix in ("md", "csv")),
    Layout.report,
)
UNREAD = (Layout.model_card, Layout.progress, Layout.run_lock)  # bundles of format 1 can have them
MAX_FILES = 100_000
MAX_FILE_BYTES = 256 * 2**20  # a trace of power of some weeks
MAX_BYTES = 2 * 2**30
MAX_RATIO = 100  # of a file's size to what it takes in the archive; predictions, with many equal labels, reach 70
MAX_SETTINGS_BYTES = 2**20  # of bundle.json, config.json and study.json
MAX_DEPTH = 50
SETTINGS = (BUNDLE, CONFIG, f"{RESULTS}/{Layout.study}")

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
VALUES = {"seed": r"[0-9]{1,20}", "model": r"(?!\.{1,2}/)[A-Za-z0-9._-]{1,200}"}  # a model is named after its folder
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile raises for a damaged file. An OSError that names a file is about the file system.
DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    NotImplementedError,
)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Return whether a path below the results folder fits a pattern, with one plain name for each wildcard."""
    return any(re.fullmatch(_expression(pattern), name) for pattern in patterns)


def _expression(pattern: str) -> str:
    parts = re.split(r"\{(\w+)\}", pattern)
    return "".join(VALUES.get(part, NAME) if i % 2 else re.escape(part) for i, part in enumerate(parts))


class BundleArchive:
    """The files of an opened archive, by names that were checked."""

    def __init__(self, path: Path, stream: zipfile.ZipFile) -> None:
        check_members(path, stream.infolist())
        self._path = path
        self._stream = stream
        self._members = {info.filename: info for info in stream.infolist()}

    def names(self, patterns: Sequence[str]) -> set[str]:
        """Return the files below the results folder that fit one of these patterns."""
        prefix = f"{RESULTS}/"
        return {n for n in self._members if n.startswith(prefix) and matches(n.removeprefix(prefix), patterns)}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raise ValueError if it is damaged."""
        info = self._members[name]
        with _one_sentence(self._path), self._stream.open(info) as member:
            content = member.read(info.file_size + 1)
        if len(content) != info.file_size:
            raise ValueError(f"{self._path} is damaged ({name} is not of the size that is listed); get a new copy")
        return content

    def read_json(self, name: str) -> JsonObject:
        """Return the content of a JSON file. Raise ValueError if it is not an object."""
        try:
            text = self.read(name).decode()
            if max(itertools.accumulate((c in "[{") - (c in "]}") for c in text), default=0) > MAX_DEPTH:
                raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
            content = json.loads(text, parse_constant=_refuse_constant)
        except ValueError as error:
            raise ValueError(f"{self._path}: {name} cannot be read ({error}); get a new copy") from None
        if not isinstance(content, dict):
            raise ValueError(f"{self._path} is not a bundle of a study: {name} is not a JSON object")
        return content

    def extract(self, names: Iterable[str], folder: Path) -> None:
        """Write files below a folder."""
        for name in sorted(names):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.read(name))


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


@contextmanager
def open_archive(path: Path) -> Iterator[BundleArchive]:
    """Open an archive. Raise ValueError if it is damaged, encrypted or too large, or holds what no bundle has."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path} is not a ZIP file; name the one that `lora-core bundle` wrote")
    with _one_sentence(path):
        stream = zipfile.ZipFile(path)
    with stream:
        yield BundleArchive(path, stream)


@contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    """Turn what zipfile raises for a damaged archive into a ValueError that names the archive."""
    try:
        yield
    except DAMAGES as error:
        if isinstance(error, OSError) and error.filename:
            raise
        raise ValueError(f"{path} is not a zip file or is damaged ({error}); get a new copy") from None


def check_members(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Check what an archive lists. Raise ValueError if a file is not one of a bundle, or if there is too much."""
    if len(members) > MAX_FILES:
        raise ValueError(f"{path} is refused: it holds {len(members):,} files, and a bundle has at most {MAX_FILES:,}")
    seen: set[str] = set()
    for info in members:
        if problem := _problem(info, seen):
            raise ValueError(f"{path} is refused: {info.orig_filename[:200]!r} {problem}")
        seen.add(info.filename.casefold())
    if (total := sum(info.file_size for info in members)) > MAX_BYTES:
        raise ValueError(f"{path} is refused: its files have {total:,} bytes, and a bundle has at most {MAX_BYTES:,}")


def _problem(info: zipfile.ZipInfo, seen: set[str]) -> str | None:
    """Return what is wrong with a listed file; None if nothing is."""
    name, results = info.orig_filename, f"{RESULTS}/"
    in_results = name.startswith(results) and matches(name.removeprefix(results), (*RAW, *DRAWN, *UNREAD))
    if name != info.filename or not (in_results or name in (BUNDLE, CONFIG, LOCK)):
        return "is not a file that a bundle has"
    if name.casefold() in seen:
        return "is there twice"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is not a regular file"
    if info.flag_bits & 1:
        return "is encrypted, and a bundle is not"
    if info.compress_type not in METHODS:
        return "is compressed in a way that a bundle does not use"
    limit = MAX_SETTINGS_BYTES if name in SETTINGS else MAX_FILE_BYTES
    if info.file_size > limit:
        return f"has {info.file_size:,} bytes, and at most {limit:,} are read"
    if info.file_size > MAX_RATIO * max(info.compress_size, 1):
        times = info.file_size / max(info.compress_size, 1)
        return f"is {times:,.0f} times as large as in the archive, and at most {MAX_RATIO:,} times is accepted"
    return None
