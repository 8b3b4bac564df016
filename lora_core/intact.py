"""Check that the folder of a model or of a run's weights still holds what was written there."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from lora_core.records import file_digests, read_json, read_run_record, sha256
from lora_core.sealed import unseal
from lora_core.typed_records import name_damaged_file


def check_model(folder: Path, record_path: Path | None) -> dict[str, str]:
    """Return the digests of a prepared or merged model's files, after a comparison with their record, if there is one.

    `records.write_digests` wrote the record. Raise ValueError that names the first file that is missing, differs or was
    added, and what to delete.
    """
    if record_path is None:
        return file_digests(folder, *_visible_files(folder))
    advice = f"delete {folder} and {record_path}, and run again"
    record = unseal(read_json(record_path), record_path, advice)
    with name_damaged_file(record_path):
        digests = {name: str(entry["sha256"]) for name, entry in record["files"].items()}
    _compare(folder, digests, record_path, advice)
    if added := sorted(set(_visible_files(folder)) - digests.keys()):  # transformers may read it: adapter_config.json
        raise ValueError(f"{folder / added[0]} does not belong to this model; remove it, or {advice}")
    return {name: digests[name] for name in _visible_files(folder)}


def check_weights(folder: Path, record_path: Path | None) -> dict[str, str]:
    """Return the digests of the files in a run's weights folder, after a comparison with its run.json, if there is one.

    Raise ValueError that names the first file that is missing or differs, and the folder to delete.
    """
    recorded: dict[str, str] = {}
    if record_path is not None:
        start = f"{folder.name}/"
        files = read_run_record(record_path).get("files", {})
        recorded = {name.removeprefix(start): digest for name, digest in files.items() if name.startswith(start)}
        _compare(folder, recorded, record_path, f"delete the folder {record_path.parent} and run again")
    others = [name for name in _visible_files(folder) if name not in recorded]
    return recorded | file_digests(folder, *others)


def _compare(folder: Path, digests: Mapping[str, str], record_path: Path, advice: str) -> None:
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file():  # nothing else is opened: a named pipe would never end
            raise ValueError(f"{path} is {'not a regular file' if path.exists() else 'missing'}; {advice}")
        if sha256(path) != digest:
            raise ValueError(f"{path} is damaged (not what {record_path.name} says); {advice}")


def _visible_files(folder: Path) -> list[str]:
    """The files of a folder without hidden ones and pages for people, which decide no result."""
    return sorted(f.name for f in folder.iterdir() if f.is_file() and not f.name.startswith(".") and f.suffix != ".md")


def check_copyable(folder: Path, names: Iterable[str]) -> None:
    """Raise ValueError if a folder has one of these names as anything but a regular file, such as a symbolic link."""
    for path in (folder / name for name in names):
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link, which is not followed; put the file itself in its place")
        if path.exists() and not path.is_file():
            raise ValueError(f"{path} is not a regular file; remove it, or put the file of the model in its place")


def copy_files(folder: Path, names: Iterable[str], out: Path) -> None:
    """Copy the files of these names that a folder has. Raise ValueError for what is not a regular file."""
    names = list(names)
    check_copyable(folder, names)
    for name in names:
        if (folder / name).exists():
            shutil.copyfile(folder / name, out / name, follow_symlinks=False)
