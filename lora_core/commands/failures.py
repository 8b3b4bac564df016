"""What to do about a failed job: advice from its exit record, and the command that makes its output again."""

import errno
import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_core.job import JobError, JobRecord, read_job_record
from lora_core.processes import has_ended

RERUN = "the same command continues from what is there"
KILLED = (
    "killed (SIGKILL; possibly out of memory: then give it more memory, on a cluster with resources.*.mem_mb); "
    f"{RERUN}"
)
ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EROFS: "make the folder writable",
    errno.EACCES: "make the folder writable",
}


def failed_jobs(logs: Path, study: str) -> dict[Path, str]:
    """Return the logs of the failed and killed jobs of one snakemake, with what happened and what to do.

    `study` is the value of `lora_core.job.STUDY` in the environment of that snakemake.
    """
    failures = {}
    for path in sorted(logs.rglob("*.json")):
        record = read_job_record(path)
        if record.study == study and (text := describe_failure(record)):
            failures[path.with_suffix(".log")] = text
    return failures


def describe_failure(record: JobRecord) -> str | None:
    """Return why a job failed and what to do, in one sentence; None if it did not fail."""
    if record.error is not None:
        return f"{record.error.message}{advice(record.error)}"
    return KILLED if record.state in ("running", "waiting") and has_ended(record.process) else None


def advice(error: JobError) -> str:
    """Return what to do about an error, to be put behind its message; empty if there is nothing to add."""
    text = error.message
    if error.type in ("KeyboardInterrupt", "SystemExit"):
        return f"; {RERUN}"
    if error.errno in ADVICE:
        return f"; {ADVICE[error.errno]}, then {RERUN}"
    if error.type == "MemoryError" or ("alloc" in text and "memory" in text.lower()):
        return "; out of memory: give the job more, or lower batch_size or max_length"
    if error.type == "SafetensorError":
        return "; a file of tensors is damaged (the traceback in the log says which): delete it and run again"
    return ""


def rerun_command(
    target: str, cores: int, configfiles: list[str], config: Mapping[str, Any], profile: str | None = None
) -> str:
    """Return the command that makes a target again, in the way that this snakemake was called."""
    program = Path(sys.argv[0])
    snakemake = "snakemake" if shutil.which("snakemake") == str(program) else os.path.relpath(program)
    words = [snakemake, *(("--profile", profile) if profile else ("--cores", str(cores))), target]
    if configfiles:
        words += ["--configfile", *configfiles]
    if config:
        words += ["--config", *(f"{key}={json.dumps(value)}" for key, value in config.items())]
    return shlex.join(words)
