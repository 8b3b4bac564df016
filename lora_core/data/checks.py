"""Check the columns of data before a task uses them, and turn labels into numbers."""

import math
from typing import Any

from lora_core.data.classes import spellings
from lora_core.data.reading import Columns
from lora_core.data.task import Task
from lora_core.plain_text import shorten


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
        text = next((text for text in spellings(value) if text in positions), None)
        if text is None if labels else not _is_finite(value):
            expected = f"0..{len(labels) - 1} ({', '.join(labels)})" if labels else "a finite number"
            raise ValueError(f"{place}: unknown label {value!r} in row {row}; expected {expected}")
        numbers.append(value if text is None else positions[text])
    return numbers


def _check_texts(columns: Columns, task: Task, place: str) -> None:
    missing = [name for name in (*task.columns, task.label_column) if name not in columns]
    if missing:
        raise ValueError(f"{place} lacks the column {missing[0]!r}; it has {shorten(', '.join(columns), 500)}")
    if not columns[task.label_column]:
        raise ValueError(f"{place} holds no example")
    for name in task.columns:
        row = next((i for i, text in enumerate(columns[name]) if not isinstance(text, str)), None)
        if row is not None:
            raise ValueError(f"{place}: column {name!r} holds no text in row {row}: {columns[name][row]!r}")


def _is_finite(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False
