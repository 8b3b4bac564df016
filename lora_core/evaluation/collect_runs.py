"""runs.csv: every measured figure of every run, one tidy row each, for further analysis."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lora_core.csv_cells import as_text
from lora_core.evaluation.run_record import RunRecord
from lora_core.sealed_csv import write_sealed_rows

COLUMNS = ("method", "task", "seed", "quantity", "value", "text")


def collect_runs(records: Sequence[Path], out: Path) -> None:
    """Write `out` from run.json files. Names of nested figures are joined with dots.

    The column `value` holds numbers alone, so that every program reads it as such; what is no number is in `text`. A
    figure that is None is empty in both.
    """
    write_sealed_rows(out, [COLUMNS, *(row for path in records for row in _run_rows(RunRecord.read(path)))])


def _run_rows(run: RunRecord) -> list[list[object]]:
    """Return the rows of one run."""
    cells = ((run.method, run.task, run.seed, name, *_columns(value)) for name, value in leaves(run.measurement))
    return [list(map(as_text, row)) for row in cells]


def _columns(value: object) -> tuple[object, object]:
    """Return a figure as `value` and `text`, one of which is None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return (value, None) if is_number else (None, value)


def leaves(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield what is nested in a record, with the names of its keys joined by dots."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
