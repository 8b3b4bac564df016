"""Meters of power and energy behind one small interface, and the sampler that reads them while a run trains.

A meter that is not there gives None and says why; nothing here ever gives 0 for what was not measured.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from lora_core.records import PowerRow

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Reading:
    """What a meter shows at one moment."""

    power_watts: float | None = None
    utilization_percent: float | None = None
    memory_used_mb: float | None = None
    counter_millijoules: float | None = None


class Meter(Protocol):
    """Reads a device. `reason` says why there is no energy, None where there is."""

    name: str
    reason: str | None

    def read(self) -> Reading: ...

    def close(self) -> None: ...


class NoMeter:
    """No energy; the memory is this process's resident memory (MB of 10^6 bytes)."""

    name = "none"

    def __init__(self, reason: str) -> None:
        import psutil

        self.reason: str | None = reason
        self._process = psutil.Process()

    def read(self) -> Reading:
        return Reading(memory_used_mb=self._process.memory_info().rss / 1e6)

    def close(self) -> None:
        pass


class NvmlMeter:
    """An NVIDIA device by its UUID, through pynvml. Raises MeterError where it cannot be read at all."""

    name = "nvml"

    def __init__(self, uuid: str) -> None:
        import pynvml

        self._nvml = pynvml
        self.reason: str | None = None
        if uuid.startswith("MIG-"):
            raise MeterError("the device is a MIG slice: NVML gives no energy for a part of a GPU")
        try:
            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            self._counter = pynvml.nvmlDeviceGetTotalEnergyConsumption
        except pynvml.NVMLError as error:
            raise MeterError(f"NVML: {error}") from error

    def read(self) -> Reading:
        if self.reason is not None:
            return Reading()
        return Reading(
            self._value(lambda: self._nvml.nvmlDeviceGetPowerUsage(self._handle) / 1e3),
            self._value(lambda: float(self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu)),
            self._value(lambda: self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used / 1e6),
            self._value(lambda: float(self._counter(self._handle))),
        )

    def _value(self, read):  # type: ignore[no-untyped-def]
        """One reading; None where the device does not offer it, and the meter ends where the device is gone."""
        try:
            return read()
        except self._nvml.NVMLError_NotSupported:
            return None
        except self._nvml.NVMLError as error:
            self.reason = f"NVML: {error}"
            return None

    def close(self) -> None:
        self._nvml.nvmlShutdown()


class RaplMeter:
    """The CPU packages' energy counters in the powercap files. Raises MeterError where they cannot be read.

    The counters wrap around; power is the difference between two readings.
    """

    name = "rapl"

    def __init__(self, root: Path = POWERCAP) -> None:
        import psutil

        self.reason: str | None = None
        self._process = psutil.Process()
        # intel-rapl:0 is a package; intel-rapl:0:1 a part of it, already counted.
        self._zones = sorted(zone for zone in root.glob("intel-rapl:*") if zone.name.count(":") == 1)
        if not self._zones:
            raise MeterError(f"RAPL: {root} has no intel-rapl package")
        try:
            self._range = [int((zone / "max_energy_range_uj").read_text()) for zone in self._zones]
            self._last = [int((zone / "energy_uj").read_text()) for zone in self._zones]
        except PermissionError as error:
            raise MeterError("RAPL: the energy counters can be read by root alone") from error
        except (OSError, ValueError) as error:
            raise MeterError(f"RAPL: {error}") from error
        self._total_microjoules = 0
        self._read_at = time.monotonic()

    def read(self) -> Reading:
        memory = self._process.memory_info().rss / 1e6
        if self.reason is not None:
            return Reading(memory_used_mb=memory)
        try:
            now = [int((zone / "energy_uj").read_text()) for zone in self._zones]
        except (OSError, ValueError) as error:
            self.reason = f"RAPL: {error}"
            return Reading(memory_used_mb=memory)
        at = time.monotonic()
        used = sum((new - old) % (top + 1) for new, old, top in zip(now, self._last, self._range, strict=True))
        watts = used / 1e6 / (at - self._read_at) if at > self._read_at else None
        self._last, self._read_at = now, at
        self._total_microjoules += used
        return Reading(watts, None, memory, self._total_microjoules / 1e3)

    def close(self) -> None:
        pass


class MeterError(RuntimeError):
    """A meter that cannot be read, with the reason in words."""


def open_meter(choice: str, uuid: str | None) -> Meter:
    """The meter that `measure.meter` names; "auto" takes that of the device that trains (`uuid` None: a CPU).

    A meter that cannot be read becomes NoMeter with the reason: training goes on.
    """
    if choice == "none":
        return NoMeter("measure.meter is none")
    if choice == "auto":
        choice = "rapl" if uuid is None else "nvml"
    try:
        if choice == "rapl":
            return RaplMeter()
        if uuid is None:
            raise MeterError("NVML: the run trained on a CPU")
        return NvmlMeter(uuid)
    except MeterError as error:
        return NoMeter(str(error))


@dataclass(frozen=True)
class Window:
    """One stretch of a run between two synchronised points; energy None where nothing measured it."""

    seconds: float
    energy_joules: float | None


class Sampler:
    """Reads a meter every `interval` seconds in a thread, and at both ends of every window.

    `rows` holds the samples: power.csv.
    """

    def __init__(self, meter: Meter, device: str, interval: float, part: int = 0) -> None:
        self.meter = meter
        self.rows: list[PowerRow] = []
        self._device, self._interval, self._part = device, interval, part
        self._start = time.monotonic()
        self._phase: str | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self.meter.close()

    @contextmanager
    def window(self, phase: str) -> Iterator[list[Window]]:
        """Measure the block as one window of `phase` ("train", "eval"); it stands in the list afterwards."""
        result: list[Window] = []
        with self._lock:
            first = len(self.rows)
            self._phase = phase
            self._sample()
        try:
            yield result
        finally:
            with self._lock:
                self._sample()
                self._phase = None
                rows = self.rows[first:]
        result.append(Window(rows[-1].seconds - rows[0].seconds, energy_joules(rows)))

    def _loop(self) -> None:
        due = time.monotonic() + self._interval
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            with self._lock:
                if self._phase is not None:
                    self._sample()
            due = max(due + self._interval, time.monotonic())

    def _sample(self) -> None:
        assert self._phase is not None
        seconds = time.monotonic() - self._start
        r = self.meter.read()
        self.rows.append(
            PowerRow(seconds, self._part, self._phase, self._device, r.power_watts, r.utilization_percent,
                     r.memory_used_mb, r.counter_millijoules)
        )  # fmt: skip


def energy_joules(rows: list[PowerRow]) -> float | None:
    """Energy of one window: the counter's difference, else the trapezoid; None where neither was read throughout."""
    counted = counter_joules(rows)
    return trapezoid_joules(rows) if counted is None else counted


def counter_joules(rows: list[PowerRow]) -> float | None:
    """The energy counter's last value less its first; None where one is missing or it ran backwards (a reset)."""
    values = [row.counter_millijoules for row in rows]
    if None in (values[0], values[-1]):
        return None
    known = [value for value in values if value is not None]
    if any(later < earlier for earlier, later in pairwise(known)):
        return None
    return (known[-1] - known[0]) / 1e3


def trapezoid_joules(rows: list[PowerRow]) -> float | None:
    """Power integrated over the real timestamps, both edges included; None where a sample is missing."""
    total = 0.0
    for before, after in pairwise(rows):
        if before.power_watts is None or after.power_watts is None:
            return None
        total += (before.power_watts + after.power_watts) / 2 * (after.seconds - before.seconds)
    return total if len(rows) > 1 else None
