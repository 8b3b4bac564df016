"""Which files of a local data set have the content that a task was tokenized from, and which another one."""

import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from lora_core.records import JsonObject, read_json, sha256, write_json

# Digests by file, size and modification time, so that a file of gigabytes that was touched or copied is read once.
CACHE = Path(".snakemake", "lora_core_data_digests.json")


def unchanged_files(files: Iterable[str], record: Path, outputs: Iterable[Path]) -> set[str]:
    """Return the files that are newer than `outputs`, but whose size and digest are those in `record`.

    A file is read only if it is newer and of the recorded size, once for each modification time.
    """
    recorded, newer = _compare(files, record, outputs)
    same_size = [f for f in newer if recorded.get(Path(f).name, {}).get("bytes") == os.stat(f).st_size]
    digests = _digests(same_size) if same_size else {}
    return {file for file in same_size if recorded[Path(file).name].get("sha256") == digests[file]}


def changed_files(files: Collection[str], record: Path, outputs: Collection[Path]) -> list[str]:
    """Return what differs between `files` and those in `record`, a text for each; nothing if it does not say.

    A file is changed if it has another size, or is newer than `outputs` and has another digest.
    """
    recorded, newer = _compare(files, record, outputs)
    if not recorded:
        return []
    unchanged = unchanged_files(newer, record, outputs)
    changes = []
    for file in files:
        size = recorded.pop(Path(file).name, {}).get("bytes")
        if size is None:
            changes.append(f"{file} is new")
        elif size != os.stat(file).st_size or (file in newer and file not in unchanged):
            changes.append(f"{file} changed")
    return changes + [f"{name} is gone" for name in recorded]


def _compare(files: Iterable[str], record: Path, outputs: Iterable[Path]) -> tuple[dict[str, JsonObject], list[str]]:
    """What a record says of files, by their names, and those of `files` that are newer than it or `outputs`."""
    try:
        recorded = {name: dict(entry) for name, entry in read_json(record)["files"].items()}
        made = min(output.stat().st_mtime_ns for output in (record, *outputs))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}, []
    return recorded, [f for f in files if max(os.stat(f).st_mtime_ns, os.lstat(f).st_mtime_ns) >= made]


def _digests(files: Iterable[str]) -> dict[str, str]:
    """Return the digest of each file, from the cache where it has the size and modification time of last time."""
    cached: JsonObject = {}
    with suppress(OSError, ValueError):
        cached = read_json(CACHE)
    entries: JsonObject = {}
    for file in files:
        stat = os.stat(file)
        key = [stat.st_size, stat.st_mtime_ns]
        entry = cached.get(file)
        entry = entry if isinstance(entry, dict) and isinstance(entry.get("sha256"), str) else {}
        entries[file] = entry if entry.get("stat") == key else {"stat": key, "sha256": sha256(Path(file))}
    if cached | entries != cached:
        with suppress(OSError):  # a folder that cannot be written has no cache
            write_json(CACHE, cached | entries, sync=False)
    return {file: entry["sha256"] for file, entry in entries.items()}
