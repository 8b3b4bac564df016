"""Protocols: named sets of hyperparameters, one YAML file each, every value with its source.

A file may extend another one. A name that begins with an underscore is a set to extend, which no study can choose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from lora_core.decimals import plain
from lora_core.records import JsonObject

COLUMNS = ("full", "adapter")
PROTOCOLS = Path(__file__).parent / "protocols"

# The safe loader, in C if PyYAML has it, because every call of Snakemake reads a protocol.
SafeLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


Value = bool | int | float | str | None
TaskValue = Value | dict[str, Value]  # a dictionary where the value differs from task to task


@dataclass(frozen=True)
class SourcedValue:
    """A value, and a text that says where it comes from."""

    value: TaskValue
    source: str


@dataclass(frozen=True)
class Protocol:
    """A named set of hyperparameters.

    Attributes:
        title: What pages call it.
        columns: The values for full fine-tuning ("full") and for every other method ("adapter"), by their name.
    """

    title: str
    columns: Mapping[str, Mapping[str, SourcedValue]]

    def resolve(self, column: str, task: str | None = None) -> dict[str, Value]:
        """Return the values of a column for a task, or those for all tasks.

        A value per task that has neither this task nor a default is left out.
        """
        resolved: dict[str, Value] = {}
        for name, value in self.values(column).items():
            if not isinstance(value, dict):
                resolved[name] = value
            elif task is not None and task in value:
                resolved[name] = value[task]
            elif "default" in value:
                resolved[name] = value["default"]
        return resolved

    def values(self, column: str) -> dict[str, TaskValue]:
        """Return every value of a column; one that differs from task to task is a dictionary."""
        return {name: sourced.value for name, sourced in self.columns[column].items()}

    def source(self, column: str, name: str) -> str:
        """Return a text that says where a value comes from."""
        return self.columns[column][name].source


def protocol_names() -> list[str]:
    """Return the protocols that a study can choose."""
    return sorted(file.stem for file in PROTOCOLS.glob("*.yaml") if not file.stem.startswith("_"))


@cache
def read_protocol(name: str) -> Protocol:
    """Return a protocol with everything that it extends."""
    content = _read_file(name)
    columns = {
        column: {
            key: SourcedValue(entry["value"], content["sources"][entry["source"]])
            for key, entry in content[column].items()
        }
        for column in COLUMNS
    }
    return Protocol(content["title"], columns)


def _read_file(name: str) -> JsonObject:
    """Return a file's title, its sources and its two columns, over those of the file that it extends."""
    content = yaml.load((PROTOCOLS / f"{name}.yaml").read_text(encoding="utf-8"), SafeLoader)
    base = _read_file(content["extends"]) if "extends" in content else {}
    shared = content.get("shared", {})
    return {
        "title": content.get("title"),
        "sources": base.get("sources", {}) | content.get("sources", {}),
        **{column: base.get(column, {}) | shared | content.get(column, {}) for column in COLUMNS},
    }


def compare(*names: str) -> str:
    """Return a Markdown table that compares protocols, with a row for each difference."""
    protocols = {name: read_protocol(name) for name in names}
    lines = ["| | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for column in COLUMNS:
        values = [protocol.values(column) for protocol in protocols.values()]
        for key in dict.fromkeys(key for each in values for key in each):
            texts = [_text(each.get(key)) for each in values]
            if len(set(texts)) > 1:
                lines.append(f"| {column}: {key.replace('_', ' ')} | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def _text(value: TaskValue) -> str:
    if isinstance(value, dict):
        tasks: dict[str, list[str]] = {}
        for task, of_task in value.items():
            tasks.setdefault(_text(of_task), []).append("others" if task == "default" else task)
        return "; ".join(f"{text}: {', '.join(names)}" for text, names in tasks.items())
    return "none" if value is None else plain(value) if isinstance(value, float) else str(value)
