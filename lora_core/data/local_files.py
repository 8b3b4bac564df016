"""The files of a task in a local folder: which of them are a split, and in which format they are."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lora_core.data.batches import TEST
from lora_core.data.source import DatasetSource
from lora_core.data.task import Task

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")
COMPRESSED = ".gz"  # may follow any of them but parquet, which is compressed within
_SUFFIX = re.compile(r"\.(?:(?:csv|tsv|jsonl)(?:\.gz)?|parquet)$")
_USER_NAMES = r"(?![A-Za-z]).*" + _SUFFIX.pattern


def file_format(file: str) -> str | None:
    """Return the ending of a name that says the format of a data file, such as ".csv.gz"; None for another file."""
    match = _SUFFIX.search(Path(file).name)
    return match[0] if match else None


def split_files(source: DatasetSource, task: Task, split: str) -> list[str]:
    """Return the files of a task's split: "train", "validation" or "test", or any that GLUE has; see `local_files`."""
    if split != TEST or source.source != "user":
        return local_files(source, task.name, task.split_name(split))
    key, test = f"task_settings.{task.name}.test", str(source.test)
    if file_format(test) is not None:
        if not Path(test).is_file():
            raise ValueError(f"{key}: there is no file {test!r}; correct the path, or name a split such as test")
        return [test]
    if Path(str(source.path)).is_file():
        raise ValueError(f"{key}: {source.path!r} is one file and has no split {test!r}; set test_fraction instead")
    return local_files(replace(source, validation_fraction=None), task.name, test, key)


def local_files(source: DatasetSource, task: str, split: str, key: str = "") -> list[str]:
    """Return the files of a split in a local folder, sorted: one file, or shards, all of one format.

    They are called `train.csv`, or `train-0.csv`, `train-1.csv` and so on, or as on the hub
    `train-00000-of-00002.parquet`; `split` is the name that the source has for the split. In the layout of the hub's
    GLUE they are parquet and lie in a folder of the task's name. A source that is split by a fraction has the files of
    `train` alone, or is one file. Raise ValueError if there are none, if shards are missing, and for a file whose name
    only begins as theirs, such as `train_old.csv`; it begins with `key`, by default that of the path.
    """
    of_user, base = source.source == "user", Path(str(source.path))
    key = key or (f"task_settings.{task}.path" if of_user else "data.path")
    if of_user and base.is_file():
        return [_single_file(source, key)]
    if not base.is_dir():
        hint = "" if of_user else "; name a folder in the layout of the hub's nyu-mll/glue"
        raise ValueError(f"{key}: there is no folder {'or file ' if of_user else ''}{str(base)!r}{hint}")
    folder = base if of_user else base / task
    if source.validation_fraction is not None:
        split = "train"
        if others := _names(folder, "validation", _USER_NAMES):
            raise ValueError(
                f"{key}: {str(folder)!r} has {others[0]}, so there is nothing to split; remove validation_fraction, or "
                "that file"
            )
    names = _names(folder, split, _USER_NAMES if of_user else r"-.*\.parquet")
    expected = f"{split}.csv, {split}-*.csv or the like in {', '.join(FORMATS[1:])}"
    expected = expected if of_user else f"{task}/{split}-*.parquet"
    try:
        files = [folder / name for name in _shards(names, split)]
        if special := [file for file in files if file.exists() and not file.is_file()]:  # reading one may never end
            raise ValueError(f"{special[0].name!r}, which is not a regular file; replace it by one")
        return list(map(str, files))
    except LookupError:
        hint = f"; it has {', '.join(names)}" if names else ""
        raise ValueError(f"{key}: {str(base)!r} has no {expected}, which the task {task!r} needs{hint}") from None
    except ValueError as error:
        raise ValueError(f"{key}: {str(folder)!r} has {error}") from None


def _single_file(source: DatasetSource, key: str) -> str:
    file = str(source.path)
    if file_format(file) is None:
        known = ", ".join([*FORMATS, f"{FORMATS[0]}{COMPRESSED}"])
        raise ValueError(f"{key}: the name of {file!r} says no format that can be read ({known}); rename or convert it")
    if source.validation_fraction is None:
        raise ValueError(
            f"{key}: {file!r} is one file; set validation_fraction (0.1: a tenth of it is for validation), or name a "
            "folder with train and validation files"
        )
    return file


def _names(folder: Path, split: str, similar: str) -> list[str]:
    """The names of the files that are of a split, or could be taken for one of it."""
    pattern = re.compile(re.escape(split) + similar)
    return sorted(file.name for file in folder.glob("*") if pattern.fullmatch(file.name))


def _shards(names: Sequence[str], split: str) -> list[str]:
    """Return the names of a split's files. Raise LookupError if there are none, ValueError if they are not one set."""
    shard = r"(?P<shard>-\d+(-of-(?P<total>\d+))?(-[0-9a-f]{16})?)?"
    pattern = re.compile(re.escape(split) + shard + _SUFFIX.pattern)
    matches = {name: match for name in names if (match := pattern.fullmatch(name))}
    if not matches:
        raise LookupError
    first, listed = next(iter(matches)), ", ".join(matches)
    if len({file_format(name) for name in matches}) > 1:
        raise ValueError(f"{listed}; keep the files of one format")
    if len({(match["shard"] is None, match["total"]) for match in matches.values()}) > 1:
        raise ValueError(f"{listed}; keep one file, or one set of shards")
    if others := [name for name in names if name not in matches]:
        raise ValueError(
            f"{others[0]!r} next to {first}; rename or move it (shards are called {split}-0, {split}-1, ...)"
        )
    total = matches[first]["total"]
    if total and int(total) != len(matches):
        raise ValueError(f"{len(matches)} of the {int(total)} shards of {split}; add the others")
    return list(matches)
