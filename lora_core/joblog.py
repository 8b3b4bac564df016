"""A job's log: everything it prints goes to its file; the terminal gets progress and, on failure, one sentence."""

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

# Libraries' bars and load reports; set before they are imported.
QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@contextmanager
def job_log(path: str | Path, title: str) -> Iterator[None]:
    """Send standard output and error, those of C libraries too, to `path`.

    An exception is written there with its traceback; the terminal gets `title`, its one sentence and the log's name.
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
        try:
            yield
        except BaseException as error:
            traceback.print_exc()
            what = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            print(f"{title} failed: {what} (log: {path})", file=console, flush=True)
            # The sentence and the log say it all: Snakemake needs only to know that the job failed.
            raise SystemExit(1) from None
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            Progress.console = None
            os.dup2(terminal, 2)
            os.dup2(saved, 1)
            os.close(saved)


class Progress:
    """Lines of progress, at most one in `every` seconds, to the log and to the terminal."""

    console: TextIO | None = None

    def __init__(self, title: str, every: float = 10.0) -> None:
        self.title = title
        self.every = every
        self._last = time.monotonic()

    def step(self, text: str) -> None:
        """Say `text` if the last line is long enough ago."""
        if time.monotonic() - self._last >= self.every:
            self.say(text)

    def say(self, text: str) -> None:
        """Say `text` now."""
        self._last = time.monotonic()
        for stream in (sys.stderr, self.console):
            if stream is not None:
                print(f"{self.title}: {text}", file=stream, flush=True)
