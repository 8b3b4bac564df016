"""The runs of a study that a command line names: by their folders, a folder above them, or METHOD/TASK/seedN."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.layout import Layout
from lora_core.nearest import nearest

if TYPE_CHECKING:
    from lora_core.config.study import Study

RUNS = Layout.run.partition("/{")[0]


@dataclass(frozen=True)
class RunName:
    """One run of a study."""

    method: str
    task: str
    seed: int

    def __str__(self) -> str:
        return Layout.run.format(**vars(self)).removeprefix(f"{RUNS}/")

    def record(self, study: Study) -> str:
        """Return the path of its run.json."""
        return Layout(study.results_dir).run_record.format(**vars(self))


def study_runs(study: Study) -> Iterator[RunName]:
    """Yield every run of the study, with those that others start from."""
    for method in study.methods:
        needed = {*study.tasks, *(start for task in study.tasks for start in study.starts(method, task))}
        for task in (task for task in study.trained_tasks if task in needed):
            yield from (RunName(method, task, seed) for seed in study.seeds)


def select_runs(study: Study, names: Sequence[str]) -> list[RunName]:
    """Return the runs that are named, each once. Raise ValueError for a name without a run, with the nearest name."""
    runs = {str(run): run for run in study_runs(study)}
    selected: dict[str, RunName] = {}
    for name in names:
        place = _below_runs(study.results_dir, name)
        matches = {text: run for text, run in runs.items() if place == "." or f"{text}/".startswith(f"{place}/")}
        if not matches:
            raise ValueError(f"{study.results_dir} has no run {name!r}{nearest(place, runs)}")
        selected |= matches
    return list(selected.values())


def _below_runs(results_dir: str, name: str) -> str:
    """The part of a path below the folder of all runs; another text as it is."""
    path, folder = os.path.abspath(name), os.path.abspath(f"{results_dir}/{RUNS}")
    place = os.path.relpath(path, folder) if f"{path}/".startswith(f"{folder}/") else os.path.normpath(name)
    return os.path.dirname(place) if os.path.basename(place) == Path(Layout.run_record).name else place
