"""Jobs that wait in Slurm's queue, and why: what `lora-core status` adds for a study that was submitted to Slurm.

A snakemake that submits jobs to Slurm leaves a note with their name while it works. Without a note, nothing asks Slurm.
"""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lora_core.commands.programs import TIMEOUT_SECONDS, output_of
from lora_core.layout import Layout, exit_record
from lora_core.processes import ProcessIdentity, has_ended, this_process
from lora_core.records import read_json, write_json

FIELDS = "%i|%P|%l|%f|%r|%k"  # number, partition, time limit, constraint, reason, comment
SHOWN_JOBS = 5  # of those that wait for one reason
# By the first word of Slurm's reason; of the others, and of limits, the word itself says enough.
ADVICE = {
    "Resources": "they start when what they ask for is free",
    "Priority": "other jobs go first",
    "None": "Slurm has not looked at them yet",
    "BeginTime": "Slurm starts them later, as after a job was preempted",
    "PartitionTimeLimit": "they ask for more time than their partition allows, and never start: lower "
    "resources.*.runtime, or name another slurm_partition",
    "PartitionNodeLimit": "they ask for more nodes than their partition allows, and never start",
    "PartitionDown": "their partition is closed: wait until it is opened, or name another slurm_partition",
    "PartitionInactive": "their partition is closed: wait until it is opened, or name another slurm_partition",
    "BadConstraints": "no node has what they ask for: change constraint, mem_mb, gpu or the threads",
    "ReqNodeNotAvail": "the nodes that they could use are down, drained or reserved",
    "Nodes": "the nodes that they could use are down, drained or reserved",
    "JobHeldUser": "they are held: scontrol release",
    "JobHeldAdmin": "an administrator holds them",
}
LIMIT = re.compile(r"QOS|Assoc|Max\w+Per|.*Limit$")


@dataclass(frozen=True)
class PendingJob:
    """A job that Slurm has not started.

    Attributes:
        number: Its number in Slurm.
        title: Its rule and wildcards, such as "train lora_cola_1".
        request: The partition, time limit and constraint that it asks for, as Slurm writes them.
        reason: Slurm's reason.
    """

    number: str
    title: str
    request: str
    reason: str


def note_jobs(layout: Layout, name: str) -> None:
    """Note that this process submits jobs of this name to Slurm."""
    write_json(_note(layout, name), asdict(this_process()), sync=False)


def remove_note(layout: Layout, name: str) -> None:
    """Remove the note of this process, whose jobs have ended, and those that killed ones have left.

    On a disk that cannot be written they stay.
    """
    for note in _notes(layout):
        with suppress(OSError):
            if note.stem == name or _owner_has_ended(note):
                note.unlink(missing_ok=True)


def _owner_has_ended(note: Path) -> bool:
    """Whether the process of a note has certainly ended; a note in another form does not say."""
    try:
        return has_ended(ProcessIdentity(**read_json(note)))
    except (ValueError, TypeError):
        return False


def _notes(layout: Layout) -> list[Path]:
    pattern = _note(layout, "*")
    return sorted(pattern.parent.glob(pattern.name))


def _note(layout: Layout, name: str) -> Path:
    return exit_record(Path(layout.log(f"slurm/{name}")))


def pending_jobs(layout: Layout) -> list[PendingJob]:
    """Return the jobs of a study that Slurm has not started; without a note, none.

    Raise OSError or SubprocessError if squeue is missing, fails or does not answer, ValueError if it prints something
    else.
    """
    names = [note.stem for note in _notes(layout)]
    if not names:
        return []
    command = ("squeue", "--noheader", "--states=PENDING", f"--name={','.join(names)}", f"--format={FIELDS}")
    jobs = []
    for line in output_of(*command, seconds=TIMEOUT_SECONDS).splitlines():
        if line.count("|") < FIELDS.count("|"):
            raise ValueError(f"its line {line!r} is not understood")
        number, partition, limit, features, reason, comment = map(str.strip, line.split("|", FIELDS.count("|")))
        request = f"partition {partition}, time limit {limit}"
        if features not in ("", "(null)"):
            request += f", constraint {features}"
        title = comment.removeprefix("rule_").replace("_wildcards_", " ", 1)
        jobs.append(PendingJob(number, title, request, reason))
    return jobs


def format_pending(layout: Layout) -> list[str]:
    """Return lines that say which jobs are pending in Slurm and why; none where no job of the study was submitted."""
    try:
        jobs = pending_jobs(layout)
    except FileNotFoundError:
        return ["Jobs were submitted to Slurm. Why they are pending is known where squeue is installed."]
    except subprocess.TimeoutExpired:
        return [f"Jobs were submitted to Slurm, which has not answered within {TIMEOUT_SECONDS:g} s."]
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        printed = getattr(error, "stderr", "") or str(error)
        return [f"Jobs were submitted to Slurm, but squeue fails: {' '.join(printed.split())}."]
    alike = defaultdict(list)
    for job in jobs:
        alike[job.reason, job.request].append(f"{job.title} (job {job.number})")
    lines = []
    for (reason, request), titles in alike.items():
        others = f" and {len(titles) - SHOWN_JOBS} more" if len(titles) > SHOWN_JOBS else ""
        lines.append(f"pending in Slurm: {', '.join(titles[:SHOWN_JOBS])}{others}")
        lines.append(f"  because of {reason} ({request})" + (f": {advice}" if (advice := explain(reason)) else ""))
    return lines


def explain(reason: str) -> str | None:
    """Return what a reason means and what to do; None where it is in no list."""
    word = re.split(r"\W", reason, maxsplit=1)[0]
    if word in ADVICE:
        return ADVICE[word]
    return "a limit of your account or its quality of service" if LIMIT.match(word) else None
