"""Read the columns of a task's split: generated, from CSV or parquet files in a folder, or from the hub."""

import re
from collections.abc import Sequence
from pathlib import Path

from lora_core.data.csv_file import read_csv
from lora_core.data.source import DatasetSource
from lora_core.data.task import Task

Columns = dict[str, list]  # the values of a table, by the name of their column


def local_files(source: DatasetSource, task: str, split: str) -> list[str]:
    """Return the files of a split in a local folder, sorted: one file, or shards, all CSV or all parquet.

    They are called `train.csv`, or `train-0.csv`, `train-1.csv` and so on, or as on the hub
    `train-00000-of-00002.parquet`; `split` is the name that the source has for the split. In the layout of the hub's
    GLUE they are parquet and lie in a folder of the task's name. Raise ValueError if there are none, if shards are
    missing, and for a file whose name only begins as theirs, such as `train_old.csv`.
    """
    of_user, base = source.source == "user", Path(str(source.path))
    key = f"task_settings.{task}.path" if of_user else "data.path"
    if not base.is_dir():
        hint = "" if of_user else "; name a folder in the layout of the hub's nyu-mll/glue"
        raise ValueError(f"{key}: there is no folder {str(base)!r}{hint}")
    folder, similar = (base, r"(?![A-Za-z]).*\.(csv|parquet)") if of_user else (base / task, r"-.*\.parquet")
    pattern = re.compile(re.escape(split) + similar)
    names = sorted(file.name for file in folder.glob("*") if pattern.fullmatch(file.name))
    expected = f"{split}.csv, {split}-*.csv or the like in parquet" if of_user else f"{task}/{split}-*.parquet"
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


def _shards(names: Sequence[str], split: str) -> list[str]:
    """Return the names of a split's files. Raise LookupError if there are none, ValueError if they are not one set."""
    pattern = re.compile(rf"{re.escape(split)}(?P<shard>-\d+(-of-(?P<total>\d+))?(-[0-9a-f]{{16}})?)?\.\w+")
    matches = {name: match for name in names if (match := pattern.fullmatch(name))}
    if not matches:
        raise LookupError
    first, listed = next(iter(matches)), ", ".join(matches)
    if len({Path(name).suffix for name in matches}) > 1:
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


def read_split(source: DatasetSource, task: Task, split: str) -> Columns:
    """Return the columns of a task's split; `split` is the name that the source has for it.

    Columns of text hold text, in a CSV file even if it looks like numbers. Raise ValueError if the split cannot be
    read.
    """
    if source.source == "mini":
        from lora_core.data.mini_glue import generate

        return generate(task.name, split, source.seed or 0)
    if source.path is not None:
        shards = [read_file(file, task) for file in local_files(source, task.name, split)]
        return {name: [value for shard in shards for value in shard[name]] for name in shards[0]}
    from datasets import load_dataset

    from lora_core.data.hub import check_hub

    check_hub("data", str(source.id), str(source.revision))
    loaded = load_dataset(source.id, task.name, revision=source.revision, split=split)
    return {name: list(loaded[name]) for name in loaded.column_names}


def read_file(file: str, task: Task) -> Columns:
    """Return the columns of a CSV or parquet file that a task uses, by the names that the task has for them.

    In a CSV file everything is text but the numbers of a regression. Raise ValueError that names the file and the cause
    if it is not in the format that its name says, and if it lacks a column or has one twice.
    """
    try:
        if Path(file).suffix == ".parquet":
            return _read_parquet(file, task)
        columns: Columns = dict(read_csv(Path(file), lambda header: _positions(header, task, file)))
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror or error})") from error
    if not task.labels:
        columns[task.label_column] = [_number(text) for text in columns[task.label_column]]
    return columns


def _read_parquet(file: str, task: Task) -> Columns:
    from pyarrow import ArrowException, parquet

    try:
        content = parquet.ParquetFile(file)
        positions = _positions(content.schema_arrow.names, task, file)
        names = {name: content.schema_arrow.names[position] for name, position in positions.items()}
        table = content.read(columns=list(names.values()))
        return {name: table[column].to_pylist() for name, column in names.items()}
    except ArrowException as error:
        raise ValueError(f"{file} cannot be read as parquet: {str(error).splitlines()[0]}") from error


def _positions(names: Sequence[str], task: Task, file: str) -> dict[str, int]:
    """Return where the columns of a task are among the names of a header; spaces around a name do not count."""
    positions = {}
    for wanted in (*task.columns, task.label_column):
        exact = [i for i, name in enumerate(names) if name == wanted]
        matches = exact or [i for i, name in enumerate(names) if name.strip() == wanted.strip()]
        if not matches:
            raise ValueError(f"{file} lacks the column {wanted!r}; it has {', '.join(names) or 'none'}")
        if len(matches) > 1:
            raise ValueError(f"{file} has {len(matches)} columns of the name {wanted!r}; keep one of them")
        positions[wanted] = matches[0]
    return positions


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
