"""Protocols: named sets of hyperparameters, one YAML file each, every value with its source."""

from pathlib import Path
from typing import Any

import yaml

COLUMNS = ("full", "adapter")
PROTOCOLS = Path(__file__).parent / "protocols"

# The safe loader; in C where PyYAML has it: every call of Snakemake reads a protocol.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Protocol:
    """A named set of hyperparameters: `{column: {name: {value, source}}}`, a value scalar or per task."""

    def __init__(self, name: str) -> None:
        content = yaml.load((PROTOCOLS / f"{name}.yaml").read_text(encoding="utf-8"), _Loader)
        self.title: str = content["title"]
        self.sources: dict[str, str] = content["sources"]
        self._columns: dict[str, dict[str, dict]] = {c: content["shared"] | content[c] for c in COLUMNS}

    def resolve(self, column: str, task: str | None = None) -> dict[str, Any]:
        """What the column says for a task, or for all; a value per task without this task and a default is left out."""
        values = self.entries(column)
        per_task = {name: value for name, value in values.items() if isinstance(value, dict)}
        known = {n: v.get(task, v.get("default")) for n, v in per_task.items() if task in v or "default" in v}
        return {name: value for name, value in values.items() if name not in per_task} | known

    def entries(self, column: str) -> dict[str, Any]:
        """Every value of a column, a dictionary where it differs from task to task."""
        return {name: entry["value"] for name, entry in self._columns[column].items()}

    def source(self, column: str, name: str) -> str:
        """Where a value comes from, in words."""
        return self.sources[self._columns[column][name]["source"]]


def compare(*names: str) -> str:
    """What protocols say, side by side, as a Markdown table: a row where they differ."""
    protocols = {name: Protocol(name) for name in names}
    lines = ["| | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for column in COLUMNS:
        told = {name: protocol.entries(column) for name, protocol in protocols.items()}
        for key in dict.fromkeys(key for entries in told.values() for key in entries):
            words = [_words(entries.get(key)) for entries in told.values()]
            if len(set(words)) > 1:
                lines.append(f"| {column}: {key.replace('_', ' ')} | {' | '.join(words)} |")
    return "\n".join(lines) + "\n"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        tasks: dict[str, list[str]] = {}
        for task, own in value.items():
            tasks.setdefault(_words(own), []).append("others" if task == "default" else task)
        return "; ".join(f"{words}: {', '.join(names)}" for words, names in tasks.items())
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
