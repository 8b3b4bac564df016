"""A job's log and its exit record: what it prints goes to a file, how it ended to a JSON file next to that.

A job that says that it is finished is finished: nothing that happens afterwards makes it fail.
"""

import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, NoReturn, TextIO

from lora_core.console import Console
from lora_core.job_records import JobError, JobRecord, JobSource, output_digests, output_sizes
from lora_core.layout import exit_record
from lora_core.local_paths import shorten_paths, shorten_paths_in
from lora_core.plain_text import message
from lora_core.processes import on_processor_time_limit, this_process, wait_for_parent
from lora_core.records import write_json

# Silences the progress bars and load reports of libraries; set before they are imported.
SILENCE_LIBRARIES = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
STUDY_VARIABLE = (
    "LORA_CORE_STUDY"  # names a snakemake process; it sets this variable for all its jobs, also on a cluster
)


class _Job:
    """The job that this process runs: its console and its exit record."""

    def __init__(self, console: Console, log: Path, title: str) -> None:
        self.console = console
        self._log = log
        self.record = JobRecord(title, os.environ.get(STUDY_VARIABLE, ""), "running", this_process())

    def set_state(
        self, state: Literal["running", "waiting", "finished", "failed"], error: JobError | None = None
    ) -> None:
        """Write the record. A disk that is full must not hide the error that is to be recorded."""
        self._write(replace(self.record, state=state, error=error), sync=state == "failed")

    def finish(self, outputs: Iterable[str | Path], source: JobSource | None) -> None:
        """Write the record of a finished job, with what it made. From here on, no signal ends the job.

        Raise ValueError if the job's code was edited in the meantime.
        """
        outputs = list(outputs)
        results = os.path.commonpath([self._log.absolute(), *(Path(output).absolute() for output in outputs)])
        made_from = asdict(source.made_from(results)) if source else None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        sizes, digests = output_sizes(results, outputs), output_digests(results, outputs)
        finished = replace(self.record, state="finished", outputs=sizes, made_from=made_from, digests=digests)
        self._write(finished, sync=True)

    def _write(self, record: JobRecord, sync: bool) -> None:
        self.record = record
        file = exit_record(self._log)
        try:
            write_json(file, asdict(record), sync=sync)
        except OSError as problem:
            print(f"{file} cannot be written: {problem}", file=sys.stderr, flush=True)


_job: _Job | None = None


@contextmanager
def job_log(
    log: str | Path,
    title: str,
    outputs: Iterable[str | Path] = (),
    source: JobSource | None = None,
) -> Iterator[None]:
    """Redirect standard output and standard error of the block, those of C libraries too, to the file `log`.

    An exception is written there with its traceback; the terminal shows one line with `title`, its message and the
    name of the log. `exit_record(log)` gets the job's exit record, with the sizes of `outputs`, the digests of
    small ones, and with `source`. The
    process ends with the block, without the exit handlers of libraries: one that crashes would make Snakemake delete a
    finished result. It also ends when the snakemake that started it does: an orphan would write files that a later job
    also writes.
    """
    global _job
    log = Path(log)
    os.environ.update(SILENCE_LIBRARIES)
    with _redirected_output(log, title) as terminal:
        job = _job = _Job(Console(terminal), log, title)
        job.set_state("running")
        signal.signal(signal.SIGTERM, _raise_system_exit)
        on_processor_time_limit(_raise_system_exit)
        threading.Thread(target=_end_with_snakemake, args=(job,), daemon=True).start()
        try:
            if source:
                source.read()
            yield
            job.finish(outputs, source)
        except BaseException as error:
            with suppress(OSError):  # the log's disk is full
                traceback.print_exc()
            failure = _describe(error)
            job.set_state("failed", failure)
            job.console.print(f"{title} failed: {failure.message} (log: {log})")
            # The line and the log are complete: Snakemake only needs to know that the job failed.
            raise SystemExit(1) from None
        finally:
            job.console.close_line()
            _job = None
    os._exit(0)


@contextmanager
def _redirected_output(log: Path, title: str) -> Iterator[TextIO]:
    """Redirect what the block prints to a file; yield the terminal."""
    opened = _open_log(log, title)
    _flush()
    saved_stderr, saved_stdout = os.dup(2), os.dup(1)
    with opened as stream, os.fdopen(saved_stderr, "w") as terminal:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        try:
            yield terminal
        finally:
            _flush()
            os.dup2(saved_stderr, 2)
            os.dup2(saved_stdout, 1)
            os.close(saved_stdout)
            with suppress(OSError):
                shorten_paths_in(log)


def _open_log(log: Path, title: str) -> TextIO:
    """Open the log of a job. End the process with one sentence if it cannot be written."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        stream = log.open("w", encoding="utf-8")
        stream.write(" " * 4096)  # a disk that is full takes the file, but no content
        stream.flush()
        stream.seek(0)
        stream.truncate()
    except OSError as error:
        print(
            f"{title} failed: its log {log} cannot be written ({error.strerror}); make the folder writable or free "
            "some disk space, then run the same command again",
            file=sys.stderr,
            flush=True,
        )
        raise SystemExit(1) from None
    return stream


def _flush() -> None:
    with suppress(OSError, ValueError):  # a log on a full disk; a library that closed it
        sys.stdout.flush()
        sys.stderr.flush()


def console() -> Console | None:
    """Return the terminal of the job that this process runs; None outside of `job_log`."""
    return _job.console if _job else None


def title() -> str:
    """Return what the job that this process runs is called; empty outside of `job_log`."""
    return _job.record.title if _job else ""


def announce(line: str) -> None:
    """Write a line into the log, and on the terminal that the job was started from."""
    print(line, file=sys.stderr, flush=True)
    if _job:
        _job.console.print(line)


@contextmanager
def waiting() -> Iterator[None]:
    """Let the exit record say "waiting" during the block; without effect outside of `job_log`."""
    job = _job
    if job:
        job.set_state("waiting")
    yield
    if job:
        job.set_state("running")


def _describe(error: BaseException) -> JobError:
    text = message(shorten_paths(" ".join(str(error).split())))
    name = type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        text = "interrupted"
    elif not isinstance(error, ValueError | SystemExit):  # their text is a sentence
        text = f"{name}: {text}" if text else name
    return JobError(name, text, _errno(error))


def _errno(error: BaseException) -> int | None:
    """The number of an operating system's error; libraries written in Rust have it only in their text."""
    if isinstance(error, OSError):
        return error.errno
    match = re.search(r"os error (\d+)\)", str(error))
    return int(match[1]) if match else None


def _raise_system_exit(number: int, frame: Any) -> NoReturn:
    if number != signal.SIGTERM:  # SIGXCPU comes again every second, and must not interrupt the report
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(f"stopped by {signal.Signals(number).name}")


def _end_with_snakemake(job: _Job) -> None:
    """End this process when the snakemake that started it has ended: `kill -9` of snakemake leaves its jobs running."""
    if not wait_for_parent("snakemake"):  # a container may hide it
        return
    if job.record.state == "finished":
        return
    message = "the snakemake that started this job has ended, so the job ends too"
    print(message, file=sys.stderr, flush=True)
    job.set_state("failed", JobError("SnakemakeEnded", message))
    os._exit(1)
