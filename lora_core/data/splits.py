"""Both splits of a task, read, checked and with labels as numbers."""

from collections.abc import Iterable
from dataclasses import dataclass

from lora_core.data.batches import SPLITS
from lora_core.data.checks import check_columns
from lora_core.data.classes import decide_classes
from lora_core.data.reading import Columns, read_parts
from lora_core.data.source import DatasetSource
from lora_core.data.splitting import split_rows
from lora_core.data.task import Task


@dataclass(frozen=True)
class Splits:
    """A task whose classes are known, and the columns of its splits by their names, "train" and "validation"."""

    task: Task
    columns: dict[str, Columns]


def read_splits(source: DatasetSource, task: Task) -> Splits:
    """Read both splits of a task, before any job starts and in the job that tokenizes.

    Raise ValueError if one cannot be read, does not fit the task (`check_columns`), or is empty.
    """
    fraction = source.validation_fraction
    parts = {split: read_parts(source, task, split) for split in (SPLITS if fraction is None else SPLITS[:1])}
    labels = {
        split: {place: columns.get(task.label_column, []) for place, columns in read.items()}
        for split, read in parts.items()
    }
    task = decide_classes(task, labels["train"], labels.get("validation", {}))
    columns = {split: _joined(read, task) for split, read in parts.items()}
    if fraction is not None:
        columns = _divided(columns["train"], task, fraction, source.split_seed or 0)
    return Splits(task, columns)


def check_local_files(source: DatasetSource, task: Task) -> None:
    """Check both splits of a local folder, before any job starts. Raise ValueError as `read_splits` does."""
    read_splits(source, task)


def _joined(parts: dict[str, Columns], task: Task) -> Columns:
    """The parts of a split one after the other, with labels as numbers."""
    numbers = [check_columns(columns, task, place) for place, columns in parts.items()]
    joined: Columns = {name: _flat(columns[name] for columns in parts.values()) for name in task.columns}
    return joined | {task.label_column: _flat(numbers)}


def _flat(parts: Iterable[list]) -> list:
    return [value for part in parts for value in part]


def _divided(columns: Columns, task: Task, fraction: float, seed: int) -> dict[str, Columns]:
    """Columns that hold both splits as two. Raise ValueError if one would be empty."""
    texts = list(zip(*(columns[name] for name in task.columns), strict=True))
    labels = columns[task.label_column]
    classes = labels if task.labels else [0] * len(labels)
    divided = dict(zip(SPLITS, split_rows(texts, classes, fraction, seed), strict=True))
    if empty := [split for split, rows in divided.items() if not rows]:
        raise ValueError(
            f"task_settings.{task.name}.validation_fraction: {fraction:g} of {len(texts)} examples leaves the "
            f"{empty[0]} split empty (the same text is in one split only); add examples"
        )
    return {
        split: {name: [values[row] for row in rows] for name, values in columns.items()}
        for split, rows in divided.items()
    }
