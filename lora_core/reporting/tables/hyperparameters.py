"""Table 7: the hyperparameters in use, and where each comes from."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from lora_core.config.labels import setting_text
from lora_core.data.tasks import task_title
from lora_core.reporting.inputs import DrawSettings, Inputs, Setting
from lora_core.reporting.table import Cell, Table, new_table

# The paper's hyperparameters, and what else describes a method in a few words; all others are details.
ROWS = (
    "optimizer", "schedule", "batch_size", "micro_batch_size", "epochs", "learning_rate", "weight_decay",
    "warmup_ratio", "rank", "alpha", "targets", "maximum_length", "precision",
)  # fmt: skip
Values = Mapping[str, Setting]


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw table 7 from the resolved configuration."""
    return _draw("table7", settings, [name for name in ROWS if name in _names(settings)])


def draw_details(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the other hyperparameters and settings."""
    return _draw("table7-details", settings, [name for name in _names(settings) if name not in ROWS])


def _names(settings: DrawSettings) -> list[str]:
    tasks = [values for by_task in settings.hyperparameters.values() for values in by_task.values()]
    return list(dict.fromkeys(name for values in tasks for name in values))


def _draw(table: str, settings: DrawSettings, names: list[str]) -> Table:
    """One row for each hyperparameter, one column for each distinct set of values, and a note for each source."""
    columns = _columns(settings, names)
    shown = [
        (name, method, task, column, settings.hyperparameters[method][task][name])
        for name in names
        for (method, task), column in columns.items()
        if name in settings.hyperparameters[method][task]
    ]
    numbers = {source: n for n, source in enumerate(dict.fromkeys(setting.source for *_, setting in shown), 1)}
    cited: dict[tuple[str, str], dict[int, None]] = {}  # methods that share a column may have other sources
    for name, _, _, column, setting in shown:
        cited.setdefault((name, column), {})[numbers[setting.source]] = None
    by_row = {name: {tuple(cited[name, column]) for other, *_, column, _ in shown if other == name} for name in names}
    cells = []
    for name, method, task, column, setting in shown:
        text, mark = _text(name, setting.value), f" [{', '.join(map(str, cited[name, column]))}]"
        row_mark, cell_mark = (mark, "") if len(by_row[name]) == 1 else ("", mark)
        value = text if isinstance(setting.value, list | tuple) else setting.value
        quantity = name.replace("_", " ")
        cells.append(
            Cell(f"{quantity}{row_mark}", column, value, f"{text}{cell_mark}", method=method, task=task,
                 quantity=quantity, note=setting.source)
        )  # fmt: skip
    notes = ["Read from the resolved configuration. In brackets: where a value, or all of a row, comes from."]
    notes += [f"[{number}] {_source_text(source)}" for source, number in numbers.items()]
    return new_table(table, "hyperparameter", cells, notes if cells else [])


def _columns(settings: DrawSettings, names: Iterable[str]) -> dict[tuple[str, str], str]:
    """Return the column of every method and task: methods and tasks with the same values share it.

    Methods share columns if they have the same values on every task; a column is of some tasks only where these differ.
    """
    names = list(names)
    alike: dict[object, list[str]] = {}
    for method, tasks in settings.hyperparameters.items():
        alike.setdefault(tuple(_identity(values, names) for values in tasks.values()), []).append(method)
    columns: dict[tuple[str, str], str] = {}
    for methods in alike.values():
        label = ", ".join(map(settings.label, methods))
        by_values: dict[object, list[str]] = {}
        for task, values in settings.hyperparameters[methods[0]].items():
            by_values.setdefault(_identity(values, names), []).append(task)
        for same in by_values.values():
            titles = f": {', '.join(map(task_title, same))}" if len(by_values) > 1 else ""
            columns |= {(method, task): f"{label}{titles}" for task in same for method in methods}
    return columns


def _identity(values: Values, names: Iterable[str]) -> tuple[str | None, ...]:
    """What two columns must agree in, to be one: the texts of all values."""
    return tuple(_text(name, values[name].value) if name in values else None for name in names)


def _source_text(source: str) -> str:
    """Return a source as a sentence names it: a section of the configuration is said to be one."""
    return f"{source} in the study's configuration" if re.fullmatch(r"[a-z_]+", source) else source


def _text(name: str, value: Any) -> str:
    return "as in the model" if name == "dropout" and value is None else setting_text(value)
