"""`lora-core status`: which runs of a study are done, running, failed and left, and how long the rest will take."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from lora_core.code_digest import CACHE, CodeDigests
from lora_core.commands import failures
from lora_core.commands.durations import format_duration
from lora_core.commands.environment import describe
from lora_core.commands.run_names import study_runs
from lora_core.commands.training_code import code_of_training, keep_parsed
from lora_core.config.data_files import changed_data_files
from lora_core.config.outdated import outdated_results
from lora_core.data.tasks import task_title
from lora_core.data.titles import run_title
from lora_core.evaluation.run_record import RunRecord
from lora_core.job_records import JobRecord, read_job_record
from lora_core.layout import Layout, exit_record
from lora_core.processes import ProcessIdentity, current_place, has_ended
from lora_core.training.progress import RunProgress, read_progress
from lora_core.typed_records import name_damaged_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lora_core.config.study import Study

SILENT_SECONDS = 120.0  # a run writes its progress more often than this


class State(StrEnum):
    """The state of a run."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    LEFT = "left"


MARKS = {State.RUNNING: "+", State.FAILED: "!"}


@dataclass(frozen=True)
class RunStatus:
    """One run of a study.

    Attributes:
        method: The run's entry in `method_settings`.
        task: The run's task.
        seed: The run's seed.
        state: The state of the run.
        detail: How far a running run is, why a run failed, or why a finished one is left to be made again.
        seconds: What a finished run took, or what a running one has left; None where that is unknown.
    """

    method: str
    task: str
    seed: int
    state: State
    detail: str = ""
    seconds: float | None = None


def read_runs(study: Study) -> list[RunStatus]:
    """Return every run of the study, with those that others start from; one that is outdated is left."""
    digests = CodeDigests(cache=CACHE)
    try:
        outdated = outdated_results(study, code_of_training(study, digests), changed_data_files)
    except ValueError:  # a damaged record: the run that it belongs to has failed, for this reason
        outdated = {}
    keep_parsed(digests)
    runs = []
    for name in study_runs(study):
        run = _read_run(Layout(study.results_dir), name.method, name.task, name.seed)
        reason = outdated.get(name.record(study))
        if run.state == State.DONE and reason:
            run = replace(run, state=State.LEFT, detail=f"rerun because {reason}", seconds=None)
        runs.append(run)
    return runs


def _read_run(layout: Layout, method: str, task: str, seed: int) -> RunStatus:
    """Return the status of a run; one whose records cannot be read has failed, for that reason."""
    try:
        return _status_of(layout, method, task, seed)
    except (ValueError, OSError) as error:
        return RunStatus(method, task, seed, State.FAILED, describe(error))


def _status_of(layout: Layout, method: str, task: str, seed: int) -> RunStatus:
    record, progress_file, log = (
        Path(pattern.format(method=method, task=task, seed=seed))
        for pattern in (layout.run_record, layout.progress, layout.train_log)
    )
    if record.exists():
        run = RunRecord.read(record)
        with name_damaged_file(record):
            return RunStatus(method, task, seed, State.DONE, seconds=float(run.train_seconds + run.eval_seconds))
    if not exit_record(log).exists():
        return RunStatus(method, task, seed, State.LEFT)
    job = read_job_record(exit_record(log))
    if job.state == "finished":  # and its results have been removed since
        return RunStatus(method, task, seed, State.LEFT)
    if job.state == "failed" or not _is_running(job, exit_record(log), progress_file):
        return RunStatus(method, task, seed, State.FAILED, failures.reason(job, log))
    progress = _read_progress_of(job.process, progress_file)
    if job.state == "waiting":
        return RunStatus(method, task, seed, State.RUNNING, "waiting for the device")
    if progress is None:
        return RunStatus(method, task, seed, State.RUNNING, "starting")
    with name_damaged_file(progress_file):
        return RunStatus(method, task, seed, State.RUNNING, progress.line(), progress.seconds_left)


def _is_running(job: JobRecord, record: Path, progress_file: Path) -> bool:
    """Whether the process of an unfinished job is alive or, if that cannot be seen, has written something lately."""
    if has_ended(job.process):
        return False
    if _is_visible(job.process) or job.state == "waiting":
        return True
    latest = max(file.stat().st_mtime for file in (record, progress_file) if file.exists())
    return time.time() - latest < SILENT_SECONDS


def _is_visible(process: ProcessIdentity) -> bool:
    """Whether processes of this process's machine and container can be seen from here."""
    here = current_place()
    same = (process.host, process.machine, process.namespace) == (here.host, here.machine, here.namespace)
    return same and None not in vars(here).values()


def _read_progress_of(process: ProcessIdentity, file: Path) -> RunProgress | None:
    """Return what a job has written of its progress; None if the file is an earlier job's or not there yet."""
    if not file.exists():
        return None
    record = read_progress(file)
    return record.progress if record.process == process else None


def estimate_seconds_left(runs: Sequence[RunStatus]) -> float | None:
    """Return the seconds of training and evaluation that are left, judging from finished runs; None if there is none.

    A run is expected to take what its method took on its task. If that is unknown, it is what the task took, times
    what the method took on other tasks divided by the mean of all methods.
    """
    done = [run for run in runs if run.state == State.DONE and run.seconds is not None]
    if not done:
        return None

    def mean(method: str | None = None, task: str | None = None) -> float | None:
        matches = [run for run in done if run.method == (method or run.method) and run.task == (task or run.task)]
        return fmean(run.seconds for run in matches if run.seconds is not None) if matches else None

    overall = mean() or 0.0

    def expected(run: RunStatus) -> float:
        if run.state == State.RUNNING and run.seconds is not None:
            return run.seconds
        exact = mean(run.method, run.task)
        if exact is not None:
            return exact
        by_method, by_task = mean(method=run.method) or overall, mean(task=run.task) or overall
        return by_method * by_task / overall if overall else 0.0

    return sum(expected(run) for run in runs if run.state != State.DONE)


def format_status(study: Study, runs: Sequence[RunStatus]) -> str:
    """Return the status of a study as text: counts, a table of methods and tasks, details, and the time left."""
    counts = Counter(run.state for run in runs)
    states = ", ".join(f"{counts[state]} {state}" for state in State)
    lines = [f"{study.results_dir}: {len(runs)} runs, {states}", "", *_table(study, runs)]
    lines += ["", "done / all; + running; ! failed"]
    for state in (State.RUNNING, State.FAILED, State.LEFT):
        told = [run for run in runs if run.state == state and run.detail]
        lines += (
            ["", *(f"{state}: {run_title(study.labels, r.method, r.task, r.seed)}: {r.detail}" for r in told)]
            if told
            else []
        )
    if counts[State.FAILED]:
        logs = Layout(study.results_dir).train_log.partition("{")[0]
        lines.append(f"The same command as before runs again what failed and what is left; logs are in {logs}.")
    seconds = estimate_seconds_left(runs)
    if seconds is None:
        lines += ["", "The remaining time is unknown until a run has finished."]
    elif counts[State.DONE] < len(runs):
        lines += [
            "",
            f"About {format_duration(seconds)} of training and evaluation left, judging from the finished runs; "
            "merging, timing inference and drawing come on top.",
        ]
    return "\n".join(lines)


def _table(study: Study, runs: Sequence[RunStatus]) -> list[str]:
    """Return a row per method with the number of finished runs per task."""
    tasks = list(dict.fromkeys(run.task for run in runs))
    width = max(len(study.labels[method]) for method in study.methods)
    lines = [" " * width + "".join(f"{task_title(task):>10}" for task in tasks)]
    for method in study.methods:
        cells = []
        for task in tasks:
            states = [run.state for run in runs if (run.method, run.task) == (method, task)]
            marks = "".join(MARKS.get(state, "") for state in states)
            cells.append(f"{states.count(State.DONE)}/{len(states)}{marks}" if states else "-")
        lines.append(f"{study.labels[method]:{width}}" + "".join(f"{cell:>10}" for cell in cells))
    return lines
