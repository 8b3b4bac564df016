"""A job's log and its end: what it prints goes to a file; the terminal gets progress and, on failure, one sentence."""

import errno
import json
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from lora_core.records import atomic_file

# Libraries' bars and load reports; set before they are imported.
QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
STUDY = "LORA_CORE_STUDY"  # set by a snakemake for all its jobs, on a cluster too
# The first line of every log, why a job failed, and the last line of all but a killed job's.
FOR, FAILED, ENDED = "-- for ", "-- failed: ", "-- the job has ended"
AGAIN = "the same command goes on from what is there"
KILLED = (
    "killed from outside: by kill -9, or by the system for want of memory (then give it more, on a cluster by "
    f"resources.*.mem_mb); {AGAIN}"
)


@contextmanager
def job_log(path: str | Path, title: str) -> Iterator[None]:
    """Send standard output and error, those of C libraries too, to `path`.

    An exception is written there with its traceback; the terminal gets `title`, its one sentence and the log's name.
    A job ends with the snakemake that started it: an orphan's work would be taken for another's.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.environ.update(QUIET)
    sys.stdout.flush()
    sys.stderr.flush()
    terminal, saved = os.dup(2), os.dup(1)
    with path.open("w", encoding="utf-8") as log, os.fdopen(terminal, "w") as console:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        Progress.console = console
        print(FOR + os.environ.get(STUDY, ""), flush=True)
        signal.signal(signal.SIGTERM, _stop)
        threading.Thread(target=_end_with_snakemake, daemon=True).start()
        try:
            yield
            print(ENDED)
        except BaseException as error:
            traceback.print_exc()
            print(f"{FAILED}{sentence(error)}\n{ENDED}")
            Progress.close()
            print(f"{title} failed: {sentence(error)} (log: {path})", file=console, flush=True)
            # The sentence and the log say it all: Snakemake needs only to know that the job failed.
            raise SystemExit(1) from None
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            Progress.close()
            Progress.console = None
            os.dup2(terminal, 2)
            os.dup2(saved, 1)
            os.close(saved)
            _forget_places(path)


def _forget_places(path: Path) -> None:
    """Results may be shared: what a log says of this machine's folders is shortened, where that can be done."""
    with suppress(OSError, RuntimeError):  # no room; no home
        text = path.read_text(encoding="utf-8", errors="replace")
        places = {os.getcwd(): ".", sys.prefix: "ENVIRONMENT", sys.base_prefix: "PYTHON", str(Path.home()): "~"}
        for place, short in places.items():
            if len(place) > 1:
                text = re.sub(re.escape(place) + r"(?![\w.-])", short, text)
        with atomic_file(path) as temp_path:
            temp_path.write_text(text, encoding="utf-8")


def reason(log: Path) -> str | None:
    """Why a job failed, by its log; empty where it ended well, None where it has no end: the job runs or was killed."""
    text = log.read_text(encoding="utf-8", errors="replace")
    if not text.endswith(f"{ENDED}\n"):
        return None
    return next((line.removeprefix(FAILED) for line in text.splitlines() if line.startswith(FAILED)), "")


def failures(logs: Path, study: str) -> dict[Path, str]:
    """The logs of the jobs that the snakemake of this `study` (as in the environment's STUDY) began and that failed or
    were killed, and why."""
    begun = [log for log in sorted(logs.rglob("*.log")) if _first_line(log) == f"{FOR}{study}"]
    why = {log: KILLED if (found := reason(log)) is None else found for log in begun}
    return {log: found for log, found in why.items() if found}


def _first_line(log: Path) -> str:
    with log.open(encoding="utf-8", errors="replace") as stream:
        return stream.readline().rstrip("\n")


def again(target: str, cores: int, configfiles: list[str], config: dict[str, Any], profile: str | None = None) -> str:
    """The command that makes a target of a study anew, as this snakemake was called."""
    program = Path(sys.argv[0])
    called = "snakemake" if shutil.which("snakemake") == str(program) else os.path.relpath(program)
    words = [called, *(("--profile", profile) if profile else ("--cores", str(cores))), target]
    if configfiles:
        words += ["--configfile", *configfiles]
    if config:
        words += ["--config", *(f"{key}={json.dumps(value)}" for key, value in config.items())]
    return shlex.join(words)


def sentence(error: BaseException) -> str:
    """What happened and what to do, in one sentence."""
    text = " ".join(str(error).split())
    if isinstance(error, ValueError):
        return text
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted; {AGAIN}"
    if isinstance(error, SystemExit):
        return f"{text}; {AGAIN}"
    if isinstance(error, MemoryError) or ("alloc" in text and "memory" in text.lower()):
        return f"out of memory ({text or 'MemoryError'}); give it more, or lower batch_size or max_length"
    if type(error).__name__ == "SafetensorError" and "os error" not in text:
        return f"a file of tensors is damaged ({text}; the log's traceback says which); delete it and run again"
    number = error.errno if isinstance(error, OSError) else None
    for code, advice in (
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EFBIG, "raise the limit of file sizes (ulimit -f)"),
        (errno.EROFS, "make the folder writable"),
        (errno.EACCES, "make the folder writable"),
    ):
        if number == code or f"os error {code})" in text:  # as libraries written in Rust have it
            return f"{text}; {advice}, then {AGAIN}"
    return f"{type(error).__name__}: {text}"


def _stop(number: int, frame: Any) -> None:
    raise SystemExit(f"stopped by {signal.Signals(number).name}")


def _end_with_snakemake() -> None:
    """End this process when the snakemake that started it has: `kill -9` of snakemake leaves its jobs running."""
    import psutil

    def alive(process: psutil.Process) -> bool:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE

    with suppress(psutil.Error):
        # Not the parent, which may be a shell that outlives it. None where a container hides it.
        found = [p for p in psutil.Process().parents() if "snakemake" in [Path(word).name for word in p.cmdline()]]
        while found and alive(found[0]):
            time.sleep(0.5)
        if not found:
            return
    print("snakemake is gone; this job ends with it", file=sys.stderr, flush=True)
    os._exit(1)


class Progress:
    """Lines of progress, at most one in `every` seconds, to the log; on a terminal one line that is written over."""

    console: TextIO | None = None
    _open = False  # the terminal's line has no end yet

    def __init__(self, title: str, every: float = 10.0) -> None:
        self.title = title
        self.every = every
        self._last = self._shown = time.monotonic()

    def step(self, text: str) -> None:
        """Say `text` where the last line is long enough ago."""
        if self._late():
            self.say(text)
        elif self.due():
            self._show(text)

    def due(self) -> bool:
        """Whether `step` would say anything now: what makes its text in a hot loop need not else."""
        return self._late() or (self._live() and time.monotonic() - self._shown >= 1)

    def _late(self) -> bool:
        return time.monotonic() - self._last >= self.every

    def say(self, text: str) -> None:
        """Say `text` now."""
        self._last = time.monotonic()
        print(f"{self.title}: {text}", file=sys.stderr, flush=True)
        if self._live():
            self._show(text)
        elif self.console is not None:
            print(f"{self.title}: {text}", file=self.console, flush=True)

    def _live(self) -> bool:
        return self.console is not None and self.console.isatty()

    def _show(self, text: str) -> None:
        self._shown = time.monotonic()
        Progress._open = True
        print(f"\r{self.title}: {text}\x1b[K", end="", file=self.console, flush=True)

    @classmethod
    def close(cls) -> None:
        """End the terminal's line."""
        if cls._open and cls.console is not None:
            print(file=cls.console, flush=True)
        cls._open = False
