"""Whether a result is what its job would make now, by what the job recorded that it was made from.

Snakemake compares a job with what it remembers of the last one. It remembers nothing in a fresh checkout or an unpacked
archive, and the wrong code after code was edited while a study ran.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lora_core.config.run_changes import INPUT_AGAIN, OTHER_CODE
from lora_core.job_records import Recorded, params_digest
from lora_core.layout import Layout
from lora_core.records import sha256

NOT_RECORDED = "nothing says how it was made"


def drawn_files(results: str) -> set[str]:
    """Return the files of a results folder that take seconds to make and do not say what they were made from."""
    layout = Layout(results)
    patterns = (layout.counts, layout.scores, layout.differences, layout.costs, layout.curve, layout.runs)
    globs = [pattern.format(task="*") for pattern in patterns] + [layout.gradients.format(method="*")]
    globs += [f"{layout.table.format(table='*')}.*", f"{layout.figure.format(figure='*')}.*", f"{layout.claims}.*"]
    return {path for pattern in (*globs, layout.report) for path in glob.glob(pattern)}


@dataclass(frozen=True)
class PlannedJob:
    """A job that Snakemake would not run.

    Attributes:
        outputs: The paths of what it makes.
        inputs: The paths of what it reads.
        params: All its parameters, as Snakemake has them.
        is_remembered: Whether Snakemake compares it with what it remembers.
    """

    outputs: Collection[str]
    inputs: Iterable[str]
    params: Any
    is_remembered: bool


@dataclass
class Comparison:
    """Compares jobs with the records of a results folder, each after the jobs that make its inputs.

    Attributes:
        results: The results folder.
        recorded: What the jobs recorded (`job_records.read_outputs`).
        made_again: The files that are made again: those that Snakemake plans, and the outputs of jobs that differ.
        reasons: Why the outputs of jobs that differ are made again.
    """

    results: str
    recorded: Mapping[str, Recorded]
    made_again: set[str]
    reasons: dict[str, str] = field(default_factory=dict)
    _digest: Callable[[str], str] = field(default_factory=lambda: cache(lambda path: sha256(Path(path))))

    def __post_init__(self) -> None:
        self._drawn = drawn_files(self.results)

    def add(self, job: PlannedJob) -> None:
        """Compare a job. If it would make something else, its outputs get a reason."""
        if reason := self._reason(job):
            self.made_again.update(job.outputs)
            self.reasons |= dict.fromkeys(job.outputs, reason)

    def _reason(self, job: PlannedJob) -> str | None:
        names = map(self._below, job.outputs)
        made_from = next((self.recorded[name].made_from for name in names if name in self.recorded), None)
        if made_from is None:
            return None if job.is_remembered or self._drawn.isdisjoint(job.outputs) else NOT_RECORDED
        if made_from.code != job.params.get("code"):
            return OTHER_CODE
        if job.is_remembered or made_from.inputs is None:  # their own records say it (lora_core.config.outdated)
            return None
        inputs = {os.path.relpath(path, self.results): path for path in job.inputs if Path(path).is_file()}
        if not self.made_again.isdisjoint(inputs.values()):
            return INPUT_AGAIN
        if made_from.params != params_digest(job.params):
            return "its settings differ"
        if made_from.inputs.keys() != inputs.keys():
            return "it was made from other files"
        changed = [path for name, path in inputs.items() if self._digest(path) != made_from.inputs[name]]
        return f"{changed[0]} has changed" if changed else None

    def _below(self, path: str) -> str:
        """A path below the results folder, faster than by `relpath`, which asks the system for the working folder."""
        folder = f"{self.results}/"
        return path.removeprefix(folder) if path.startswith(folder) else os.path.relpath(path, self.results)
