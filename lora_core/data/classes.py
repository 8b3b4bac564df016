"""The classes of a task that names none: the labels of its training split, or none if they are numbers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lora_core.data.metrics import METRICS, default_metrics
from lora_core.data.task import Task

# More different labels than a task has as a rule: the column is another one, or its values are texts.
MAX_CLASSES = 200


def decide_classes(task: Task, train: Mapping[str, Sequence[Any]], others: Mapping[str, Sequence[Any]]) -> Task:
    """Return the task with its classes and metrics, sorted, from its labels; both are by the place they were read at.

    Without metrics, numbers are a regression, unless there are two whole ones. Raise ValueError for a label that is
    missing, numbers that could also be classes, and what is no classification or not that of the metrics.
    """
    if not task.is_undecided:
        return task
    for place, labels in [*train.items(), *others.items()]:
        row = next((row for row, label in enumerate(labels) if _is_missing(label)), None)
        if row is not None:
            raise ValueError(f"{place}: no label in row {row} ({labels[row]!r}); add it, or remove the row")
    values = [label for labels in train.values() for label in labels]
    if not task.metrics and _are_numbers(values, task, train):
        return replace(task, metrics=default_metrics(0))
    names = sorted({_name(value) for value in values}, key=_order)
    _check(names, task, train)
    known = set(names)
    for place, labels in others.items():
        row = next((row for row, label in enumerate(labels) if _name(label) not in known), None)
        if row is not None:
            raise ValueError(
                f"{place}: unknown label {labels[row]!r} in row {row}; the training split has {', '.join(names)}"
            )
    return replace(task, labels=tuple(names), metrics=task.metrics or default_metrics(len(names)))


def spellings(value: Any) -> Iterator[str]:
    """Yield how a label may be written in the configuration, the nearest first: 1.0 and "1.0" are also 1."""
    text = str(value)
    yield text
    yield text.strip()
    if whole := re.fullmatch(r"(-?\d+)\.0*", text.strip()):
        yield whole[1]
    if text.strip().lower() in ("false", "true"):  # a truth value of parquet, and what pandas writes to CSV
        yield text.strip().lower()


def _name(value: Any) -> str:
    """The name of a class: the plainest spelling of its label."""
    return list(spellings(value))[-1]


def _is_missing(value: Any) -> bool:
    """Whether a value cannot be a label: nothing, not a number, an empty text, or a list or object of JSON."""
    return value is None or isinstance(value, list | dict) or value != value or not str(value).strip()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_numbers(values: Sequence[Any], task: Task, places: Mapping[str, Sequence[Any]]) -> bool:
    """Whether the labels of a task without metrics are those of a regression."""
    numbers = {value for value in values if _is_number(value)}
    text = next((value for value in values if not _is_number(value)), None)
    if numbers and text is not None:
        raise ValueError(
            f"{next(iter(places))}: some labels are numbers and others are not, such as {min(numbers):g} and {text!r}; "
            f"correct them, or list the classes in task_settings.{task.name}.labels"
        )
    if not numbers:
        return False
    is_whole = all(isinstance(number, int) or number.is_integer() for number in numbers)
    if is_whole and len(numbers) > 2 and numbers == set(range(len(numbers))):
        raise ValueError(
            f"{next(iter(places))}: the labels 0 to {len(numbers) - 1} can be {len(numbers)} classes or a regression; "
            f"set task_settings.{task.name}.metrics to [accuracy] or [pearson, spearman]"
        )
    return not (is_whole and len(numbers) == 2)


def _order(name: str) -> tuple[bool, float, str]:
    """Numbers by their value, before texts."""
    try:
        return False, float(name), name
    except ValueError:
        return True, 0.0, name


def _check(names: Sequence[str], task: Task, places: Mapping[str, Sequence[Any]]) -> None:
    place, key = next(iter(places), task.name), f"task_settings.{task.name}"
    if not names:
        raise ValueError(f"{place} holds no example")
    if len(names) < 2:
        raise ValueError(f"{place}: every label is {names[0]!r}; a classification needs two or more")
    if len(names) > MAX_CLASSES:
        raise ValueError(
            f"{place}: the column {task.label_column!r} has {len(names)} different labels, such as {names[0]!r}; name "
            f"the column of labels in {key}.label, or list the classes in {key}.labels"
        )
    for metric in task.metrics:
        if not METRICS[metric].suits(len(names)):
            raise ValueError(f"{place}: {key}.metrics: {metric!r} is for two labels; the data has {len(names)}")
