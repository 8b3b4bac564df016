"""The first sentence of sections that are not about a quantity of the answer, made from their tables and records."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from lora_core.config.labels import setting_text
from lora_core.reporting.figures.style import counted, listed
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.table import Cell, Table

ByTask = Mapping[str, str]  # the text of a hyperparameter for each task
# The words for the verdicts of the table.
SIDES = {"less": "fewer epochs to equal accuracy", "more": "more epochs to equal accuracy"}


def table_conclusions(tables: Sequence[Table], settings: DrawSettings) -> dict[str, str]:
    """Return what tables conclude, by section; nothing for a table that concludes nothing."""
    functions = {"table7": ("hyperparameters", hyperparameters), "convergence": ("convergence", convergence)}
    found = [functions[table.name] + (table,) for table in tables if table.name in functions]
    return {section: text for section, function, table in found if (text := function(table.cells, settings))}


def hyperparameters(cells: Sequence[Cell], settings: DrawSettings) -> str:
    """Say in which hyperparameters of table 7 LoRA differs from full fine-tuning, or else all methods from each other.

    What only one of them has, such as a rank, is no difference.
    """
    by_method: dict[str, dict[str, dict[str, str]]] = {}
    for cell in cells:
        by_method.setdefault(cell.method, {}).setdefault(cell.quantity, {})[cell.task] = setting_text(cell.value)
    full, adapter = settings.references.full, settings.references.adapter
    names = settings.references.names(settings.labels)
    pair = [method for method in (adapter, full) if method in by_method]
    compared = [by_method[method] for method in (pair if len(pair) == 2 else by_method)]
    if len(compared) < 2:
        return ""
    values = {name: [method[name] for method in compared if name in method] for names in compared for name in names}
    values = {name: each for name, each in values.items() if len(each) > 1}
    differing = {name: each for name, each in values.items() if any(one != each[0] for one in each)}
    same = len(values) - len(differing)
    subject = f"{names['adapter']} and {names['full']}" if len(pair) == 2 else f"The {len(compared)} methods"
    shared = f"share {counted(same, '{} hyperparameter')}"
    subject = subject[:1].upper() + subject[1:]
    if not differing:
        return f"{subject} {shared} and differ in none."
    parts = [f"{name}{_values(each)}" for name, each in differing.items()]
    return f"{subject} differ in {listed(parts)}, and {shared}."


def _values(methods: Sequence[ByTask]) -> str:
    """The values of two methods in brackets, if they are the same on all tasks."""
    distinct = [set(by_task.values()) for by_task in methods]
    if len(methods) != 2 or any(len(values) > 1 for values in distinct):
        return ""
    return f" ({' and '.join(values.pop() for values in distinct)})"


def convergence(cells: Sequence[Cell], settings: DrawSettings) -> str:
    """Say on how many tasks LoRA reaches the threshold in fewer epochs than full fine-tuning."""
    full, adapter = settings.references.full, settings.references.adapter
    if full is None or adapter is None:
        return ""
    quantity = f"epochs to the threshold, relative to {settings.label(full)}"
    verdicts = [cell.note for cell in cells if (cell.method, cell.quantity) == (adapter, quantity)]
    if not verdicts:
        return ""
    names, counts = settings.references.names(settings.labels), Counter(verdicts)
    adapter, full = names["adapter"], names["full"]
    decided = [f"{words} on {counts[verdict]}" for verdict, words in SIDES.items() if counts[verdict]]
    if not decided:
        return f"Whether {adapter} needs fewer epochs than {full} to equal accuracy is undecided on every task."
    undecided = len(verdicts) - sum(counts[verdict] for verdict in SIDES)
    rest = f"; {undecided} undecided" if undecided else ""
    tasks = counted(len(verdicts), "{} task")
    return f"Compared with {full}, {adapter} needs {' and '.join(decided)} of {tasks}{rest}."


def runs_conclusion(costs: pd.DataFrame) -> str:
    """Say how many runs there are and how many were disturbed; `costs` has one row per run (`read_costs`)."""
    disturbed = costs["disturbed"] | (costs["suspended_seconds"] > 0)
    shared = costs.get("shared", pd.Series("", costs.index)).astype(str) == "True"
    facts = (disturbed.sum(), "disturbed"), (shared.sum(), "on a device that another process used")
    told = [f"{count} {'was' if count == 1 else 'were'} {how}" for count, how in facts if count]
    total = counted(len(costs), "{} run")
    if not told:
        return f"{total}, none of them disturbed."
    return f"{total}, of which {' and '.join(told)}; those decide nothing about time and energy."
