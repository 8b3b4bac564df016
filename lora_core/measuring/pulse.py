"""A clock that a thread reads twice a second: where it leaps, the process did not run."""

import threading
import time

from lora_core.measuring.sampling import SUSPENDED_SECONDS

BEAT_SECONDS = 0.5
# On Linux, time.monotonic stands still while the machine is asleep: a leap of this clock shows that it was.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


def now() -> float:
    """Return seconds of a monotonic clock, those in which the machine was asleep included if the system counts them."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


class Pulse:
    """Notices in a `with` block that the process was stopped or the machine was asleep, however rarely a meter is read.

    It sees what lasts for `BEAT_SECONDS` and `SUSPENDED_SECONDS` together or longer.
    """

    def __init__(self) -> None:
        self._last = now()
        self._suspended_seconds = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> "Pulse":
        """Start the thread."""
        self._last = now()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def suspended_seconds(self) -> float:
        """Return for how long the process did not run in all, up to now."""
        with self._lock:
            read_at = now()
            missed = read_at - self._last - BEAT_SECONDS
            if missed > SUSPENDED_SECONDS:
                self._suspended_seconds += missed
            self._last = read_at
            return self._suspended_seconds

    def _loop(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            self.suspended_seconds()
