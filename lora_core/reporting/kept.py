"""How tables, figures and pages show runs that were kept although other code made them: a mark, and a note."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lora_core.data.tasks import task_title
from lora_core.kept_runs import KeptRun
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.table import NA, Cell, Table

KEPT = "†"  # follows a figure of runs of which one was kept


def mark_kept(table: Table, kept: Sequence[KeptRun], settings: DrawSettings) -> Table:
    """Mark the figures of a table that kept runs are part of, and say in notes which those are and why."""
    shown = [run for run in kept if any(_shows(cell, run, settings) for cell in table.cells)]
    if not shown:
        return table
    cells = [_marked(cell, shown, settings) for cell in table.cells]
    return replace(table, cells=cells, notes=[*table.notes, *kept_notes(shown, settings)])


def kept_notes(kept: Sequence[KeptRun], settings: DrawSettings) -> list[str]:
    """Return `kept_sentences` as notes that explain the mark."""
    return [f"{KEPT} {sentence}" for sentence in kept_sentences(kept, settings)]


def kept_sentences(kept: Sequence[KeptRun], settings: DrawSettings) -> list[str]:
    """Return a sentence for each decision, which names its runs and the reason that was given."""
    runs: dict[str, list[str]] = {}
    for run in kept:
        name = f"{settings.label(run.method)} {task_title(run.task)} seed {run.seed}"
        runs.setdefault(f"({'; '.join(run.changes)}), because “{run.because}”", []).append(name)
    return [f"Made before a change and kept {decision}: {', '.join(names)}." for decision, names in runs.items()]


def _marked(cell: Cell, kept: Sequence[KeptRun], settings: DrawSettings) -> Cell:
    if not any(_shows(cell, run, settings) for run in kept):
        return cell
    return replace(cell, text=f"{cell.text} {KEPT}", note="; ".join(filter(None, [cell.note, "kept"])))


def _shows(cell: Cell, run: KeptRun, settings: DrawSettings) -> bool:
    """Whether a run is part of a figure: of its method, or of one that it is compared with."""
    label = settings.label(run.method)
    compared = any(f"{sign} {label}" in cell.row for sign in ("−", "/"))
    return cell.text != NA and cell.task == run.task and (cell.method == run.method or compared)
