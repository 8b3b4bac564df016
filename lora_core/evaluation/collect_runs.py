"""runs.csv: every measured figure of every run, one tidy row each, for further analysis."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lora_core.records import JsonObject, atomic_file, read_run_record

COLUMNS = ("method", "task", "seed", "quantity", "value")


def collect_runs(records: Sequence[Path], out: Path) -> None:
    """Write `out` from run.json files. Names of nested figures are joined with dots; None is an empty field."""
    with atomic_file(out) as temp_path, temp_path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for path in records:
            record = read_run_record(path)
            run = record["run"]
            for quantity, value in _leaves(record["measurement"]):
                writer.writerow([run["method"], run["task"], run["seed"], quantity, value])


def _leaves(tree: JsonObject, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
