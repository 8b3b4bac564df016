"""Check the columns of CSV and parquet data before a task uses them, and turn labels into numbers."""

import math
import re
from collections.abc import Iterator
from typing import Any

from lora_core.data.batches import SPLITS
from lora_core.data.reading import Columns, local_files, read_file
from lora_core.data.source import DatasetSource
from lora_core.data.task import Task


def check_columns(columns: Columns, task: Task, place: str) -> list[int | float]:
    """Return the labels as numbers; the name of a class becomes its position in `task.labels`.

    Raise ValueError, one sentence that begins with `place`, if a column is missing, if there is no example, if a
    column of text holds something else, or if a label is not one of the task's.
    """
    _check_texts(columns, task, place)
    labels = task.labels
    # A name comes before a position: of the labels 3, 2, 1 the text "2" is the second.
    positions = {str(position): position for position in range(len(labels))} | {n: i for i, n in enumerate(labels)}
    numbers: list[int | float] = []
    for row, value in enumerate(columns[task.label_column]):
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        text = next((text for text in _spellings(value) if text in positions), None)
        if text is None if labels else not is_number:
            expected = f"0..{len(labels) - 1} ({', '.join(labels)})" if labels else "a finite number"
            raise ValueError(f"{place}: unknown label {value!r} in row {row}; expected {expected}")
        numbers.append(value if text is None else positions[text])
    return numbers


def _spellings(value: Any) -> Iterator[str]:
    """Yield how a label may be written in the configuration, the nearest first: 1.0 and "1.0" are also 1."""
    text = str(value)
    yield text
    yield text.strip()
    if whole := re.fullmatch(r"(-?\d+)\.0*", text.strip()):
        yield whole[1]
    if text.strip().lower() in ("false", "true"):  # a truth value of parquet, and what pandas writes to CSV
        yield text.strip().lower()


def _check_texts(columns: Columns, task: Task, place: str) -> None:
    missing = [name for name in (*task.columns, task.label_column) if name not in columns]
    if missing:
        raise ValueError(f"{place} lacks the column {missing[0]!r}; it has {', '.join(columns)}")
    if not columns[task.label_column]:
        raise ValueError(f"{place} holds no example")
    for name in task.columns:
        row = next((i for i, text in enumerate(columns[name]) if not isinstance(text, str)), None)
        if row is not None:
            raise ValueError(f"{place}: column {name!r} holds no text in row {row}: {columns[name][row]!r}")


def check_local_files(source: DatasetSource, task: Task) -> None:
    """Check both splits of a local folder, before any job starts. Raise ValueError as `check_columns` does."""
    for split in SPLITS:
        for file in local_files(source, task.name, task.split_name(split)):
            check_columns(read_file(file, task), task, file)
