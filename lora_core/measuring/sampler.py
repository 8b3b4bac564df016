"""A thread that reads a meter while a run trains, and the windows that its samples belong to."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from lora_core.measuring.counter_ticks import TICK_SECONDS, mean_watts, measure_tick
from lora_core.measuring.meters import Meter, Reading
from lora_core.measuring.pulse import Pulse, now
from lora_core.records import PowerRow

if TYPE_CHECKING:
    from lora_core.measuring.idle_baseline import IdleBaseline

# A window that starts so soon after another begins with the reading that the other ended with.
SAME_EDGE_SECONDS = 0.02


class Sampler:
    """Reads a meter every `interval` seconds while a window is open, and at both ends of every window.

    Windows that follow each other share the reading at their common edge. Power that follows from the meter's counter
    is the mean of a part of the window, so that the first sample of a window has none. `rows` holds the samples, as
    power.csv has them; for a resumed run (`part` above 0) it begins with those of the earlier parts. `rejected` has by
    name the highest value that was read and is beyond the meter's limits; `counter_tick_seconds` is how often the
    energy counter advances, None before that was measured; `baseline` is the idle power that the run uses. `on_sample`
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
        self.counter_tick_seconds: float | None = None
        self.baseline: IdleBaseline | None = None
        self._device_label = device_label
        self._interval = interval
        self._part = part
        self._on_sample = on_sample
        self._start = self._last = now()
        self._phase: str | None = None
        self._first = 0  # the number of the first row of the window
        self._is_ending = False
        self._ended: float | None = None  # when the last row, the end of a window, was read
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
        """Measure the block as one window of `phase` ("train", "eval"; `PowerRow` has all of them).

        The list is filled with the window's samples when the block ends.
        """
        window: list[PowerRow] = []
        with self._lock:
            first = self._first = len(self.rows)
            self._phase = phase
            self._start_window(phase)
        try:
            yield window
        finally:
            ended, self._is_ending = now(), True  # the thread takes no sample after that
            with self._lock:
                self._sample(self.meter.read_edge, asked=ended)
                self._phase, self._is_ending = None, False
                self._ended = now()
                window += self.rows[first:]

    def use(self, baseline: "IdleBaseline | None") -> None:
        """Use an idle baseline that is known already, if there is one."""
        if baseline is not None:
            self.baseline, self.counter_tick_seconds = baseline, baseline.counter_tick_seconds

    def measure_idle(self, seconds: float, phase: str = "idle") -> None:
        """Measure for some seconds in which nothing runs, and the counter's tick.

        Without a meter, or with a baseline that is known already, there is no wait: only the memory is read.
        """
        seconds = 0.0 if self.baseline else seconds
        with self.window(phase):
            end = now() + seconds
            if self.meter.reason is None and self.counter_tick_seconds is None:
                self.counter_tick_seconds = self._measure_tick(min(seconds, TICK_SECONDS))
            if self.meter.reason is None:
                time.sleep(max(0.0, end - now()))

    def _measure_tick(self, seconds: float) -> float | None:
        """How often the meter's energy counter advances; None if it has none, or if it advances too rarely to tell."""

        def read() -> float | None:
            with self._lock:  # a meter is read by one thread at a time
                return self.meter.read_edge().counter_millijoules

        return measure_tick(read, seconds)

    def _start_window(self, phase: str) -> None:
        """Take the sample that a window starts with, unless one has just ended with what the meter says."""
        last = self.rows[-1] if self._ended is not None and now() - self._ended < SAME_EDGE_SECONDS else None
        if last is not None and (self.meter.reason is not None or last.counter_millijoules is not None):
            last = replace(last, power_watts=None) if self.meter.power_is_mean else last
            self._append(replace(last, phase=phase))
        else:
            self._sample(self.meter.read_edge)
        self._ended = None

    def _loop(self) -> None:
        due = now() + self._interval
        while not self._stop.wait(max(0.0, due - now())):
            with self._lock:
                if self._phase is not None and not self._is_ending:
                    self._sample(self.meter.read, asked=now())
            due = max(due + self._interval, now())

    def _sample(self, read: Callable[[], Reading], asked: float | None = None) -> None:
        """Take a sample that was `asked` for at this time; None at the start of a window, which begins with it."""
        assert self._phase is not None
        # The clock is read before and after, because a driver may take its time to answer. If it does not answer at
        # all, the wait for it is not part of the window.
        before = now()
        reading = read()
        after = now()
        if reading.power_watts is not None or reading.counter_millijoules is not None:
            read_at = (before + after) / 2
        else:
            read_at = after if asked is None else asked
        self._last = max(read_at, self._last)
        row = PowerRow(self._last - self._start, self._part, self._phase, self._device_label, **vars(reading))
        if self.meter.power_is_mean:
            row = replace(row, power_watts=mean_watts(self.rows[self._first :], row))
        for name, value in self.meter.limits.impossible(row).items():
            self.rejected[name] = max(value, self.rejected.get(name, value))
        self._append(self.meter.limits.without_impossible(row))

    def _append(self, row: PowerRow) -> None:
        self.rows.append(row)
        if self._on_sample:
            self._on_sample(row)
