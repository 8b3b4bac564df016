"""runs.csv: every measured figure of every run, one tidy row each, for further analysis."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lora_core.csv_cells import as_text
from lora_core.evaluation.run_record import RunRecord
from lora_core.records import atomic_file

COLUMNS = ("method", "task", "seed", "quantity", "value")


def collect_runs(records: Sequence[Path], out: Path) -> None:
    """Write `out` from run.json files. Names of nested figures are joined with dots; None is an empty field."""
    with atomic_file(out) as temp_path, temp_path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for path in records:
            run = RunRecord.read(path)
            for quantity, value in _leaves(run.measurement):
                writer.writerow(map(as_text, (run.method, run.task, run.seed, quantity, value)))


def _leaves(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
