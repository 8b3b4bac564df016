"""Table 7: the hyperparameters in use, and where each comes from."""

from typing import Any

from lora_core.config.labels import setting_text
from lora_core.data.tasks import task_title
from lora_core.reporting.inputs import DrawSettings, Inputs
from lora_core.reporting.table import Cell, Table, new_table


def draw(inputs: Inputs, settings: DrawSettings) -> Table:
    """Draw the table from the resolved configuration."""
    cells: list[Cell] = []
    sources: dict[tuple[str, str], list[str]] = {}
    for method, tasks in settings.hyperparameters.items():
        for task, values in tasks.items():
            for name, setting in values.items():
                quantity, text = name.replace("_", " "), _text(name, setting.value)
                value = text if isinstance(setting.value, list | tuple) else setting.value
                cells.append(
                    Cell(f"{method}: {quantity}", task_title(task), value, text, method=method, task=task,
                         quantity=quantity)
                )  # fmt: skip
                named = sources.setdefault((method, quantity), [])
                if setting.source not in named:
                    named.append(setting.source)
    for (method, quantity), named in sources.items():
        text = "; ".join(named)
        cells.append(
            Cell(f"{method}: {quantity}", "source", text, text, method=method, variant="source", quantity=quantity)
        )
    return new_table("table7", "hyperparameter", cells, ["Read from the resolved configuration."])


def _text(name: str, value: Any) -> str:
    return "as in the model" if name == "dropout" and value is None else setting_text(value)
