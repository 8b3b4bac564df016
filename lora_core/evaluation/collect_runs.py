"""runs.csv: every measured figure of every run, one tidy row each, for further analysis."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lora_core.csv_cells import as_text
from lora_core.evaluation.run_record import RunRecord
from lora_core.sealed_csv import write_sealed_rows

COLUMNS = ("method", "task", "seed", "quantity", "value")


def collect_runs(records: Sequence[Path], out: Path) -> None:
    """Write `out` from run.json files. Names of nested figures are joined with dots; None is an empty field."""
    write_sealed_rows(out, [COLUMNS, *(row for path in records for row in _run_rows(RunRecord.read(path)))])


def _run_rows(run: RunRecord) -> list[list[object]]:
    """Return the rows of one run."""
    cells = ((run.method, run.task, run.seed, quantity, value) for quantity, value in leaves(run.measurement))
    return [list(map(as_text, row)) for row in cells]


def leaves(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield what is nested in a record, with the names of its keys joined by dots."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
