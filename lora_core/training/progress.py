"""How far a running job is: lines in its log and on the terminal, and progress.json for other programs."""

import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from lora_core import job
from lora_core.processes import ProcessIdentity, this_process
from lora_core.records import read_json, write_json

LOG_SECONDS = 10.0  # at least, between two lines in the log
CONSOLE_SECONDS = 60.0  # at least, between two lines on a terminal whose lines cannot be overwritten
REFRESH_SECONDS = 1.0  # at least, between two updates of progress.json and of the terminal's live line


@dataclass(frozen=True)
class RunProgress:
    """How far a training run is.

    Attributes:
        step: Steps that are done, of `steps` in all epochs.
        score: The last epoch's score by `metric`; None in the first epoch.
        seconds_left: Estimate of what training and evaluation still take.
    """

    method: str
    task: str
    seed: int
    epoch: int
    epochs: int
    step: int
    steps: int
    metric: str
    score: float | None
    tokens_per_second: float
    seconds_left: float

    def line(self) -> str:
        """Return the progress as a line for people."""
        score = "" if self.score is None else f", {self.metric} {self.score:.3f}"
        minutes, seconds = divmod(int(self.seconds_left), 60)
        return (
            f"epoch {self.epoch}/{self.epochs}, step {self.step}/{self.steps}{score}, "
            f"{self.tokens_per_second:,.0f} tokens/s, {minutes}:{seconds:02d} left"
        )


@dataclass(frozen=True)
class ProgressRecord:
    """A progress.json: how far the run of a process was at the time `updated` (ISO 8601, UTC)."""

    progress: RunProgress
    process: ProcessIdentity
    updated: str


class Progress:
    """Shows how far a job is, by the job's own title; `title` is for what runs outside of a job.

    The log gets a line every `LOG_SECONDS`. A terminal gets the first of them and then one every `CONSOLE_SECONDS`, or,
    where a line can be overwritten, one line that is always up to date. The file `path`, if there is one, holds the
    last `RunProgress`.
    """

    def __init__(self, title: str, path: Path | None = None) -> None:
        self._title = job.title() or title
        self._path = path
        self._process = this_process()
        self._logged = self._refreshed = time.monotonic()
        self._printed: float | None = None  # when a line was last put on the terminal

    def due(self) -> bool:
        """Whether `update` would do anything now; lets a hot loop skip composing the status."""
        refreshes = self._path is not None or self._is_live()
        now = time.monotonic()
        return now - self._logged >= LOG_SECONDS or (refreshes and now - self._refreshed >= REFRESH_SECONDS)

    def update(self, status: str | RunProgress) -> None:
        """Report a status if the last report is long enough ago."""
        if time.monotonic() - self._logged >= LOG_SECONDS:
            self.report(status)
        elif self.due():
            self._refresh(status)

    def report(self, status: str | RunProgress) -> None:
        """Report a status now, also as a line in the log."""
        now = self._logged = time.monotonic()
        line = self._line(status)
        print(line, file=sys.stderr, flush=True)
        console = job.console()
        is_due = self._printed is None or now - self._printed >= CONSOLE_SECONDS
        if console is not None and not console.is_live and is_due:
            self._printed = now
            console.print(line)
        self._refresh(status)

    def _refresh(self, status: str | RunProgress) -> None:
        self._refreshed = time.monotonic()
        console = job.console()
        if console is not None and console.is_live:
            console.overwrite(self._line(status))
        if self._path is not None and isinstance(status, RunProgress):
            updated = datetime.now(UTC).isoformat(timespec="seconds")
            with suppress(OSError):  # a full disk must not end a run for the sake of its progress
                record = asdict(status) | {"process": asdict(self._process), "updated": updated}
                write_json(self._path, record, sync=False)

    def _line(self, status: str | RunProgress) -> str:
        return f"{self._title}: {status if isinstance(status, str) else status.line()}"

    def _is_live(self) -> bool:
        console = job.console()
        return console is not None and console.is_live

    def remove(self) -> None:
        """Delete the file: the job is done."""
        if self._path is not None:
            with suppress(OSError):  # what is finished must not fail for the sake of its progress
                self._path.unlink(missing_ok=True)


def read_progress(path: Path) -> ProgressRecord:
    """Read a progress.json. Raise ValueError that names the file if it is damaged."""
    content = read_json(path)
    try:
        progress = RunProgress(**{field.name: content[field.name] for field in fields(RunProgress)})
        return ProgressRecord(progress, ProcessIdentity(**content["process"]), content["updated"])
    except (KeyError, TypeError) as problem:
        raise ValueError(f"{path} is damaged ({problem!r}); delete it") from problem
