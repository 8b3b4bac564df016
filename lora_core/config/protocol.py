"""Protocols: named sets of hyperparameters, one YAML file each, every value with its source.

A file may extend another one. A name that begins with an underscore is a set to extend, which no study can choose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

COLUMNS = ("full", "adapter")
PROTOCOLS = Path(__file__).parent / "protocols"

# The safe loader; in C where PyYAML has it, because every call of Snakemake reads a protocol.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class SourcedValue:
    """A value, which is a dictionary where it differs from task to task, and where it comes from in words."""

    value: Any
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

    def resolve(self, column: str, task: str | None = None) -> dict[str, Any]:
        """Return the values of a column for a task, or those for all tasks.

        A value per task that has neither this task nor a default is left out.
        """
        values = self.values(column)
        per_task = {name: value for name, value in values.items() if isinstance(value, dict)}
        known = {
            name: by_task.get(task, by_task.get("default"))
            for name, by_task in per_task.items()
            if task in by_task or "default" in by_task
        }
        return {name: value for name, value in values.items() if name not in per_task} | known

    def values(self, column: str) -> dict[str, Any]:
        """Return every value of a column; one that differs from task to task is a dictionary."""
        return {name: sourced.value for name, sourced in self.columns[column].items()}

    def source(self, column: str, name: str) -> str:
        """Return where a value comes from, in words."""
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


def _read_file(name: str) -> dict[str, Any]:
    """Return a file's title, its sources and its two columns, over those of the file that it extends."""
    content = yaml.load((PROTOCOLS / f"{name}.yaml").read_text(encoding="utf-8"), _Loader)
    base = _read_file(content["extends"]) if "extends" in content else {}
    shared = content.get("shared", {})
    return {
        "title": content.get("title"),
        "sources": base.get("sources", {}) | content.get("sources", {}),
        **{column: base.get(column, {}) | shared | content.get(column, {}) for column in COLUMNS},
    }


def compare(*names: str) -> str:
    """Return a Markdown table of what protocols say, side by side, with a row for each difference."""
    protocols = {name: read_protocol(name) for name in names}
    lines = ["| | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for column in COLUMNS:
        values = [protocol.values(column) for protocol in protocols.values()]
        for key in dict.fromkeys(key for each in values for key in each):
            texts = [_text(each.get(key)) for each in values]
            if len(set(texts)) > 1:
                lines.append(f"| {column}: {key.replace('_', ' ')} | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        tasks: dict[str, list[str]] = {}
        for task, of_task in value.items():
            tasks.setdefault(_text(of_task), []).append("others" if task == "default" else task)
        return "; ".join(f"{text}: {', '.join(names)}" for text, names in tasks.items())
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
