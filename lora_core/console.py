"""The terminal that a job was started from, while the job's output goes to its log."""

from typing import TextIO

from lora_core.plain_text import plain


class Console:
    """The terminal that a job was started from: plain lines, or on a tty also one live line that is overwritten."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line_is_open = False

    @property
    def is_live(self) -> bool:
        """Whether a line can be overwritten."""
        return self._stream.isatty()

    def print(self, text: str) -> None:
        """Write a separate line, or some."""
        self.close_line()
        print(plain(text), file=self._stream, flush=True)

    def overwrite(self, text: str) -> None:
        """Put a line in place of the previous live line."""
        self._line_is_open = True
        print(f"\r{text}\x1b[K", end="", file=self._stream, flush=True)

    def close_line(self) -> None:
        """End the live line, so that what is written next starts on a new one."""
        if self._line_is_open:
            print(file=self._stream, flush=True)
        self._line_is_open = False
