"""`make status`: which runs of a study are done, running, failed and left, and how long the rest will take."""

import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from lora_core import job as joblog
from lora_core.config.study import Study, read_files
from lora_core.data.tasks import task_title
from lora_core.records import read_json

DONE, RUNNING, FAILED, LEFT = "done", "running", "failed", "left"
QUIET_SECONDS = 60  # a job that trains says something more often than that, or holds its run


@dataclass(frozen=True)
class Run:
    """One run of a study: how it stands, what its log says last, and the seconds it took or has left, where known."""

    method: str
    task: str
    seed: int
    state: str
    words: str = ""
    seconds: float | None = None


def look(study: Study) -> list[Run]:
    """Every run of the study, those that others start from among them."""
    results = Path(study.results_dir)
    keys = [(m, t, s) for m in study.methods for t in study.trained_tasks for s in study.seeds]
    return [_run(results, *key) for key in keys if key[1] in study.tasks or _is_start(study, *key[:2])]


def _is_start(study: Study, method: str, task: str) -> bool:
    return any(task in study.starts(method, own) for own in study.tasks)


def _run(results: Path, method: str, task: str, seed: int) -> Run:
    folder = results / "runs" / method / task / f"seed{seed}"
    log = results / "logs" / "train" / method / task / f"seed{seed}.log"
    if (folder / "run.json").exists():
        measured = read_json(folder / "run.json")["measurement"]
        return Run(method, task, seed, DONE, "", measured["train_seconds"] + measured["eval_seconds"])
    why = joblog.reason(log) if log.exists() else ""
    if why is None and not _works(folder, log):
        why = joblog.KILLED
    if why is None:
        last = (log.read_text(encoding="utf-8", errors="replace").splitlines() or [""])[-1]
        told = last.removeprefix(f"{method} {task} seed {seed}: ")
        return Run(method, task, seed, RUNNING, "begins" if told.startswith(joblog.FOR) else told, _left(last))
    return Run(method, task, seed, FAILED if why else LEFT, why)


def _works(folder: Path, log: Path) -> bool:
    """Whether the job of a log without an end still works: it holds its run, waits to, or has just begun."""
    from filelock import FileLock, Timeout

    if time.time() - log.stat().st_mtime < QUIET_SECONDS or "\nwaiting: " in log.read_text(errors="replace")[-200:]:
        return True
    if not (folder / ".lock").exists():
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except (Timeout, OSError):
        return True


def _left(line: str) -> float | None:
    found = re.search(r"(\d+):(\d\d) left", line)
    return 60.0 * int(found[1]) + int(found[2]) if found else None


def estimate(runs: Sequence[Run]) -> float | None:
    """Seconds of training and evaluation still to come, judging from the runs that are done; None where none is.

    A run is expected to take what its method took on its task; where that is not known, what the task took times
    what the method took on other tasks against the rest.
    """
    done = [run for run in runs if run.state == DONE and run.seconds is not None]
    if not done:
        return None

    def mean(**wanted: str) -> float | None:
        found = [run.seconds for run in done if all(getattr(run, name) == value for name, value in wanted.items())]
        return fmean(seconds for seconds in found if seconds is not None) if found else None

    overall = mean() or 0.0

    def expected(run: Run) -> float:
        if run.state == RUNNING and run.seconds is not None:
            return run.seconds
        exact = mean(method=run.method, task=run.task)
        if exact is not None:
            return exact
        by_method, by_task = mean(method=run.method) or overall, mean(task=run.task) or overall
        return by_method * by_task / overall if overall else 0.0

    return sum(expected(run) for run in runs if run.state != DONE)


def text(study: Study, runs: Sequence[Run]) -> str:
    """What `make status` prints."""
    counts = Counter(run.state for run in runs)
    states = ", ".join(f"{counts[state]} {state}" for state in (DONE, RUNNING, FAILED, LEFT))
    lines = [f"{study.results_dir}: {len(runs)} runs, {states}", ""]
    tasks = list(dict.fromkeys(run.task for run in runs))
    wide = max(map(len, study.methods))
    lines.append(" " * wide + "".join(f"{task_title(task):>10}" for task in tasks))
    for method in study.methods:
        cells = []
        for task in tasks:
            own = [run.state for run in runs if (run.method, run.task) == (method, task)]
            mark = {RUNNING: "+", FAILED: "!"}
            cell = f"{own.count(DONE)}/{len(own)}" + "".join(mark.get(state, "") for state in own) if own else "-"
            cells.append(f"{cell:>10}")
        lines.append(f"{method:{wide}}" + "".join(cells))
    lines += ["", "done / all; + runs now; ! failed"]
    for state, word in ((RUNNING, "now"), (FAILED, "failed")):
        if counts[state]:
            told = [f"{word}: {r.method} {r.task} seed {r.seed}: {r.words}" for r in runs if r.state == state]
            lines += ["", *told]
    if counts[FAILED]:
        lines.append("The same command as before runs what failed and what is left; logs lie in logs/train/.")
    seconds = estimate(runs)
    if seconds is None:
        lines += ["", "How long it will take is not known before a run is done."]
    elif counts[DONE] < len(runs):
        lines += [
            "",
            f"About {duration(seconds)} of training and evaluation left, judging from what is done; merging, timing "
            "inference and drawing come on top.",
        ]
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Days, hours or minutes, two of them."""
    minutes = round(seconds / 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{max(1, minutes)} min"


if __name__ == "__main__":
    try:
        found = read_files(*sys.argv[1:])
        print(text(found, look(found)))
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from None
