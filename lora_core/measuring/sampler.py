"""A thread that reads a meter while a run trains, and the windows that its samples belong to."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lora_core.measuring.meters import Meter
from lora_core.measuring.pulse import Pulse, now
from lora_core.records import PowerRow


class Sampler:
    """Reads a meter every `interval` seconds while a window is open, and at both ends of every window.

    `rows` holds the samples, as power.csv has them; for a resumed run (`part` above 0) it begins with those of the
    earlier parts. `rejected` has by name the highest value that was read and is beyond the meter's limits. `on_sample`
    is called with each new sample. `pulse` notices a suspension that falls between two samples. Leaving the `with`
    block closes the meter.
    """

    def __init__(
        self,
        meter: Meter,
        device_label: str,
        interval: float,
        part: int = 0,
        rows: Sequence[PowerRow] = (),
        on_sample: Callable[[PowerRow], None] | None = None,
    ) -> None:
        self.meter = meter
        self.rows = list(rows)
        self.rejected: dict[str, float] = {}
        self.pulse = Pulse()
        self._device_label = device_label
        self._interval = interval
        self._part = part
        self._on_sample = on_sample
        self._start = self._last = now()
        self._phase: str | None = None
        self._is_ending = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> "Sampler":
        """Start the threads."""
        self.pulse.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the threads and close the meter."""
        self._stop.set()
        self._thread.join()
        self.pulse.__exit__()
        self.meter.close()

    @contextmanager
    def window(self, phase: str) -> Iterator[list[PowerRow]]:
        """Measure the block as one window of `phase` ("idle", "train", "eval").

        The list is filled with the window's samples when the block ends.
        """
        window: list[PowerRow] = []
        with self._lock:
            first = len(self.rows)
            self._phase = phase
            self._sample()
        try:
            yield window
        finally:
            ended, self._is_ending = now(), True  # the thread takes no sample after that
            with self._lock:
                self._sample(asked=ended)
                self._phase, self._is_ending = None, False
                window += self.rows[first:]

    def measure_idle(self, seconds: float) -> None:
        """Measure for some seconds in which nothing runs; without a meter there is no wait."""
        with self.window("idle"):
            if self.meter.reason is None:
                time.sleep(seconds)

    def _loop(self) -> None:
        due = now() + self._interval
        while not self._stop.wait(max(0.0, due - now())):
            with self._lock:
                if self._phase is not None and not self._is_ending:
                    self._sample(asked=now())
            due = max(due + self._interval, now())

    def _sample(self, asked: float | None = None) -> None:
        """Take a sample that was `asked` for at this time; None at the start of a window, which begins with it."""
        assert self._phase is not None
        # The clock is read before and after, because a driver may take its time to answer. If it does not answer at
        # all, the wait for it is not part of the window.
        before = now()
        reading = self.meter.read()
        after = now()
        if reading.power_watts is not None or reading.counter_millijoules is not None:
            read_at = (before + after) / 2
        else:
            read_at = after if asked is None else asked
        self._last = max(read_at, self._last)
        for name, value in self.meter.limits.impossible(reading).items():
            self.rejected[name] = max(value, self.rejected.get(name, value))
        reading = self.meter.limits.without_impossible(reading)
        row = PowerRow(self._last - self._start, self._part, self._phase, self._device_label, **vars(reading))
        self.rows.append(row)
        if self._on_sample:
            self._on_sample(row)
