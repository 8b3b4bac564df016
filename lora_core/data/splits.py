"""The splits of a task, read, checked and with labels as numbers."""

from collections.abc import Iterable
from dataclasses import dataclass

from lora_core.data.batches import SPLITS, TEST
from lora_core.data.checks import check_columns
from lora_core.data.classes import decide_classes
from lora_core.data.reading import Columns, read_parts
from lora_core.data.source import DatasetSource
from lora_core.data.splitting import split_rows
from lora_core.data.task import Task


@dataclass(frozen=True)
class Splits:
    """A task whose classes are known, and the columns of its splits by name: "train", "validation", maybe "test"."""

    task: Task
    columns: dict[str, Columns]


def read_splits(source: DatasetSource, task: Task) -> Splits:
    """Read the splits of a task, before any job starts and in the job that tokenizes.

    Raise ValueError if one cannot be read, does not fit the task (`check_columns`), or is empty.
    """
    fraction = source.validation_fraction
    in_train = () if fraction is None else (SPLITS[1], *([TEST] if source.test is None else []))
    parts = {split: read_parts(source, task, split) for split in source.splits if split not in in_train}
    labels = {
        split: {place: columns.get(task.label_column, []) for place, columns in read.items()}
        for split, read in parts.items()
    }
    others = {place: values for split in labels if split != "train" for place, values in labels[split].items()}
    task = decide_classes(task, labels["train"], others)
    columns = {split: _joined(read, task) for split, read in parts.items()}
    if fraction is not None:
        columns |= _divided(columns["train"], task, source)
    return Splits(task, columns)


def check_local_files(source: DatasetSource, task: Task) -> None:
    """Check the splits of a local folder, before any job starts. Raise ValueError as `read_splits` does."""
    read_splits(source, task)


def _joined(parts: dict[str, Columns], task: Task) -> Columns:
    """The parts of a split one after the other, with labels as numbers."""
    numbers = [check_columns(columns, task, place) for place, columns in parts.items()]
    joined: Columns = {name: _flat(columns[name] for columns in parts.values()) for name in task.columns}
    return joined | {task.label_column: _flat(numbers)}


def _flat(parts: Iterable[list]) -> list:
    return [value for part in parts for value in part]


def _divided(columns: Columns, task: Task, source: DatasetSource) -> dict[str, Columns]:
    """Columns that hold several splits, divided. Raise ValueError if one would be empty."""
    texts = list(zip(*(columns[name] for name in task.columns), strict=True))
    labels = columns[task.label_column]
    classes = labels if task.labels else [0] * len(labels)
    fractions = {name: getattr(source, f"{name}_fraction") for name in (*SPLITS[1:], TEST)}
    fractions = {name: fraction for name, fraction in fractions.items() if fraction is not None}
    divided = split_rows(texts, classes, list(fractions.values()), source.split_seed or 0)
    rows = dict(zip(("train", *fractions), divided, strict=True))
    if empty := [split for split, chosen in rows.items() if not chosen]:
        name, fraction = next((n, f) for n, f in fractions.items() if n == empty[0] or empty[0] == "train")
        raise ValueError(
            f"task_settings.{task.name}.{name}_fraction: {fraction:g} of {len(texts)} examples leaves the "
            f"{empty[0]} split empty (the same text is in one split only); add examples"
        )
    return {
        split: {name: [values[row] for row in chosen] for name, values in columns.items()}
        for split, chosen in rows.items()
    }
