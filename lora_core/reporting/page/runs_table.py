"""The table of runs: one row per run, from runs.csv."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lora_core.sealed_csv import read_sealed_rows


@dataclass(frozen=True)
class RunColumn:
    """A column: what runs.csv calls the quantity, the factor to the unit of the title, and the decimals shown."""

    quantity: str
    factor: float
    decimals: int


RUN_COLUMNS = {
    "best score, %": RunColumn("score.best", 100.0, 1),
    "best epoch": RunColumn("score.best_epoch", 1.0, 0),
    "last score, %": RunColumn("score.last", 100.0, 1),
    "train, s": RunColumn("train_seconds", 1.0, 1),
    "memory, mean MB": RunColumn("memory.mean_mb", 1.0, 0),
    "saved for backward, MB": RunColumn("memory.saved_for_backward_mb", 1.0, 0),
    "energy, kJ": RunColumn("energy.train_joules", 1e-3, 3),
}


@dataclass(frozen=True)
class RunCell:
    """A figure of a run as text, and as the number that sorts; empty if it is not available."""

    text: str
    sort: float | str


@dataclass(frozen=True)
class RunRow:
    """One run, with its measured numbers as runs.csv has them."""

    method: str
    task: str
    seed: str
    quantities: Mapping[str, str] = field(default_factory=dict)

    @property
    def cells(self) -> list[RunCell]:
        """What the table shows, in the order of RUN_COLUMNS."""
        return [_cell(self.quantities.get(column.quantity), column) for column in RUN_COLUMNS.values()]


def read_runs(path: Path) -> list[RunRow]:
    """Read runs.csv, in the order of the file. Raise ValueError that names it if it is damaged or has no runs."""
    runs: dict[tuple[str, str, str], dict[str, str]] = {}
    header, *rows = read_sealed_rows(path)
    if not rows or not {"method", "task", "seed", "quantity", "value"} <= set(header):
        raise ValueError(f"{path} is damaged (no run is in it); delete it and run again")
    for row in rows:
        line = dict(zip(header, row, strict=True))
        quantities = runs.setdefault((line["method"], line["task"], line["seed"]), {})
        quantities[line["quantity"]] = line["value"]
    return [RunRow(*key, quantities) for key, quantities in runs.items()]


def _cell(value: str | None, column: RunColumn) -> RunCell:
    if not value:
        return RunCell("n/a", "")
    return RunCell(f"{column.factor * float(value):,.{column.decimals}f}", float(value))
