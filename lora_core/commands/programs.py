"""What other programs answer within a few seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from typing import IO

TIMEOUT_SECONDS = 5.0


def output_of(*command: str, seconds: float = TIMEOUT_SECONDS) -> str:
    """Return what a program prints.

    Raise OSError if it cannot be started, CalledProcessError if it fails, and TimeoutExpired if it takes longer.
    """
    # A file: a pipe would be read until every process that the program started has closed it, however long that takes.
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=printed, stderr=errors, start_new_session=True
        )
        try:
            status = process.wait(seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        output, error = (_read(file) for file in (printed, errors))
    if status:
        raise subprocess.CalledProcessError(status, command, output, error)
    return output


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
