"""Why jobs failed, what to do about it, and the command that runs a failed job again."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.commands.environment import ADVICE_BY_ERRNO, describe
from lora_core.job_records import JobError, JobRecord, read_job_record
from lora_core.layout import Layout, exit_record, wildcards
from lora_core.plain_text import message, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONTINUE = "then run the same command again: it continues with what is left"
KILLED = (
    "killed (SIGKILL; possibly out of memory: then give it more, on a cluster by resources.*.mem_mb{less_memory}); run "
    "the same command again: it continues with what is left"
)
# What needs less memory, by the rule of the job; its hyperparameters are those of the method that the job trains. For
# training, the prediction of the run's memory says it with numbers, if there is one.
LESS_MEMORY = {
    "train": "add a smaller micro_batch_size (half of batch_size, then a quarter) or gradient_checkpointing: true to "
    "its hyperparameters, or lower data.max_length",
    "time_inference": "lower measure.latency_batch_size or data.max_length",
}
# Of exceptions whose type does not say that memory ran out: torch's allocator on a CPU, a file that cannot be mapped, a
# driver, torch's allocator on a GPU where its error is wrapped, and the handles and workspaces of libraries.
OUT_OF_MEMORY_TEXTS = (
    "DefaultCPUAllocator: can't allocate memory",
    os.strerror(errno.ENOMEM),
    "CUDA error: out of memory",
    "CUDA out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


@dataclass(frozen=True)
class FailedJob:
    """A job that failed or was killed."""

    log: Path
    title: str
    reason: str


@dataclass(frozen=True)
class Invocation:
    """How snakemake was called, as far as running one job again needs it."""

    cores: int
    configfiles: Sequence[str]
    config: Mapping[str, object]  # what came by --config
    profile: str | None = None


def failed_jobs(logs: Path, study: str) -> list[FailedJob]:
    """Return the jobs that failed or were killed, of those that the snakemake of this `study` has started.

    It must have ended: a job that is recorded as running or waiting has then been killed.
    """
    failed = []
    for log in sorted(file for file in logs.rglob("*.log") if exit_record(file).exists()):
        try:
            record = read_job_record(exit_record(log))
        except (ValueError, OSError) as error:
            failed.append(FailedJob(log, str(log.relative_to(logs).with_suffix("")), describe(error)))
            continue
        if record.study == study and record.state != "finished":
            failed.append(FailedJob(log, plain(record.title), reason(record, log)))
    return failed


def reason(record: JobRecord, log: Path | None = None) -> str:
    """Return why a job failed and what to do about it, in one sentence; its log says which run it trained."""
    rule = record.title.partition(" ")[0]
    less = (rule == "train" and log and _less_memory_of_run(log)) or LESS_MEMORY.get(rule, "")
    if record.error is not None:
        return advise(record.error, less)
    return KILLED.format(less_memory=less and f", or {less}")


def _less_memory_of_run(log: Path) -> str | None:
    """What the prediction of a run's memory says that needs less; None if there is none."""
    from lora_core.evaluation.memory_fit import remedies_after_failure  # and the driver of GPUs, for this alone

    try:
        place, results = wildcards(Layout.train_log, log), log.parents[Layout.train_log.count("/")]
    except (ValueError, IndexError):
        return None
    return remedies_after_failure(results / Layout.memory.format(task=place["task"]), place["method"])


def advise(error: JobError, less_memory: str = "") -> str:
    """Return an error with what to do about it, in one sentence; `less_memory` is what makes the job need less."""
    text = message(error.message)
    if "SIGXCPU" in text:
        return f"{text}; raise the limit on processor time (ulimit -t), {CONTINUE}"
    if error.type in ("KeyboardInterrupt", "SystemExit"):
        return f"{text}; {CONTINUE.removeprefix('then ')}"
    if _is_out_of_memory(error):
        return f"out of memory ({text}); free some{less_memory and f', or {less_memory}'}"
    if error.errno in ADVICE_BY_ERRNO:
        return f"{text}; {ADVICE_BY_ERRNO[error.errno]}, {CONTINUE}"
    if error.type == "SafetensorError" and error.errno is None:
        return f"a file of tensors is damaged ({text}; the log names it); delete it and run the same command again"
    return text


def _is_out_of_memory(error: JobError) -> bool:
    """Whether memory ran out: Python's, NumPy's and PyArrow's MemoryErrors, torch.OutOfMemoryError, or ENOMEM."""
    if error.type.endswith("MemoryError") or error.errno == errno.ENOMEM:
        return True
    return any(text in error.message for text in OUT_OF_MEMORY_TEXTS)


def rerun_command(target: str, invocation: Invocation) -> str:
    """Return the command that makes one target again, called as this snakemake was."""
    how = ("--profile", invocation.profile) if invocation.profile else ("--cores", str(invocation.cores))
    command = [*_program(), *how, target]
    if invocation.configfiles:
        command += ["--configfile", *invocation.configfiles]
    if invocation.config:
        command += ["--config", *(f"{key}={json.dumps(value)}" for key, value in invocation.config.items())]
    return shlex.join(command)


def _program() -> list[str]:
    """Return how this snakemake was called: from PATH, from an environment's folder, or as a module of Python."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return [sys.orig_argv[0], "-m", program.parent.name]
    return ["snakemake"] if shutil.which("snakemake") == str(program) else [os.path.relpath(program)]
