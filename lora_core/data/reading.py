"""Read the columns of a task's split: generated, from files in a folder, or from the hub."""

from collections.abc import Sequence
from pathlib import Path

from lora_core.data.csv_file import read_csv
from lora_core.data.jsonl_file import read_jsonl
from lora_core.data.local_files import COMPRESSED, file_format, split_files
from lora_core.data.source import DatasetSource
from lora_core.data.task import Task

Columns = dict[str, list]  # the values of a table, by the name of their column


def read_parts(source: DatasetSource, task: Task, split: str) -> dict[str, Columns]:
    """Return the columns of a task's split by the place where they are read: each file is one, else the split is.

    `split` is "train", "validation" or "test". Columns of text hold text, in a CSV file even if it looks like numbers.
    Raise ValueError if the split cannot be read.
    """
    if source.path is not None:
        return {file: read_file(file, task) for file in split_files(source, task, split)}
    name = task.split_name(split)
    place = f"{task.name} ({name})"
    if source.source == "mini":
        from lora_core.data.mini_glue import generate

        return {place: generate(task.name, name, source.seed or 0)}
    from datasets import load_dataset

    from lora_core.data.hub import check_hub

    check_hub("data", str(source.id), str(source.revision))
    loaded = load_dataset(source.id, task.name, revision=source.revision, split=name)
    return {place: {column: list(loaded[column]) for column in loaded.column_names}}


def read_file(file: str, task: Task) -> Columns:
    """Return the columns of a data file that a task uses, by the names that the task has for them.

    In a CSV or TSV file everything is text but the numbers of a regression. Raise ValueError that names the file and
    the cause if it is not in the format that its name says, and if it lacks a column or has one twice.
    """

    def find(names: Sequence[str], place: str) -> dict[str, int]:
        return _positions(names, task, place)

    path, ending = Path(file), (file_format(file) or "").removesuffix(COMPRESSED)
    try:
        if ending == ".parquet":
            return _read_parquet(file, task)
        if ending == ".jsonl":
            return read_jsonl(path, find)
        columns: Columns = dict(read_csv(path, find, "\t" if ending == ".tsv" else ","))
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror or error})") from error
    if task.may_have_numbers:
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


def _positions(names: Sequence[str], task: Task, place: str) -> dict[str, int]:
    """Return where the columns of a task are among the names of a header; spaces around a name do not count."""
    positions = {}
    for wanted in (*task.columns, task.label_column):
        exact = [i for i, name in enumerate(names) if name == wanted]
        matches = exact or [i for i, name in enumerate(names) if name.strip() == wanted.strip()]
        if not matches:
            raise ValueError(f"{place} lacks the column {wanted!r}; it has {', '.join(names) or 'none'}")
        if len(matches) > 1:
            raise ValueError(f"{place} has {len(matches)} columns of the name {wanted!r}; keep one of them")
        positions[wanted] = matches[0]
    return positions


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
