"""Meters of power and energy behind one small interface, and the sampler that reads them while a run trains.

A meter that is not there gives None and says why; nothing here ever gives 0 for what was not measured.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lora_core.records import PowerRow

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Reading:
    """What a meter shows at one moment, named as in power.csv."""

    power_watts: float | None = None
    utilization_percent: float | None = None
    memory_used_mb: float | None = None
    counter_millijoules: float | None = None
    temperature_celsius: float | None = None
    clock_mhz: float | None = None
    throttle_reasons: int | None = None


class Meter(Protocol):
    """Reads a device. `reason` says why there is no energy, None where there is.

    `boundary` says what the energy covers, `memory_kind` whose memory is read; `details` goes into run.json as it is.
    `shared` tells whether another process used the device, None where that cannot be told.

    A meter is made before anything touches the device, told to `begin` when the run has the device to itself, and to
    `settle` once the model is there: a process that has come to the device in between is this one.
    """

    name: str
    boundary: str | None
    memory_kind: str
    reason: str | None
    shared: bool | None
    details: dict[str, Any]

    def read(self) -> Reading: ...

    def begin(self) -> None: ...

    def settle(self) -> None: ...

    def close(self) -> None: ...


class _HostMeter:
    """What meters of the host share. For a run on the CPU the memory is this process's resident memory (MB of 10^6
    bytes); a GPU's memory they do not see."""

    shared: bool | None = None

    def __init__(self, reason: str | None, device_type: str = "cpu") -> None:
        import psutil

        self.reason = reason
        self.details: dict[str, Any] = {}
        self.memory_kind = "resident" if device_type == "cpu" else "device"
        self._process = psutil.Process() if device_type == "cpu" else None

    def _memory_mb(self) -> float | None:
        return self._process.memory_info().rss / 1e6 if self._process else None

    def begin(self) -> None:
        pass

    def settle(self) -> None:
        pass

    def close(self) -> None:
        pass


class NoMeter(_HostMeter):
    """No energy."""

    name = "none"
    boundary: str | None = None

    def read(self) -> Reading:
        return Reading(memory_used_mb=self._memory_mb())


class NvmlMeter:
    """An NVIDIA device through pynvml. Raises MeterError where it cannot be read at all.

    `find_uuid` names the device. It is asked after the processes on every device were listed, for asking torch may
    put this process on the device, and in a container its number there is another than here.
    """

    name = "nvml"
    boundary: str | None = "the GPU alone, without the host"
    memory_kind = "device"

    def __init__(self, find_uuid: Callable[[], str | None]) -> None:
        import pynvml

        self._nvml = pynvml
        self.reason: str | None = None
        self._refusal: str | None = None  # the last error that was no "not supported"
        self._gone = False
        try:
            pynvml.nvmlInit()
            before = self._processes_by_uuid()
            uuid = find_uuid()
            if uuid is None:
                raise MeterError("NVML: the run trained on a CPU")
            if uuid.startswith("MIG-"):
                raise MeterError("the device is a MIG slice: NVML measures no energy for a part of a GPU")
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        except pynvml.NVMLError as error:
            raise MeterError(f"NVML: {error}") from error
        self._before: set[int] | None = before.get(uuid)
        self._own: set[int] | None = None
        self.shared: bool | None = None
        instant = self._value(self._instant_watts) is not None
        self._power = self._instant_watts if instant else self._average_watts
        self.details = {
            "driver": self._value(pynvml.nvmlSystemGetDriverVersion),
            # Without an instant field, power is an average over about a second on Ampere (except GA100) and newer.
            "power_field": "instant" if instant else "average",
            "power_limit_watts": self._value(lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(self._handle) / 1e3),
        }

    def _instant_watts(self) -> float | None:
        (field,) = self._nvml.nvmlDeviceGetFieldValues(self._handle, [self._nvml.NVML_FI_DEV_POWER_INSTANT])
        return field.value.uiVal / 1e3 if field.nvmlReturn == self._nvml.NVML_SUCCESS else None

    def _average_watts(self) -> float:
        return self._nvml.nvmlDeviceGetPowerUsage(self._handle) / 1e3

    def _processes_by_uuid(self) -> dict[str, set[int] | None]:
        found = {}
        for index in range(self._nvml.nvmlDeviceGetCount()):
            with suppress(self._nvml.NVMLError):  # another device that is broken is none of this one's business
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                found[self._nvml.nvmlDeviceGetUUID(handle)] = self._processes(handle)
        return found

    def _processes(self, handle: Any) -> set[int] | None:
        """The processes that compute on a device, None where the driver does not say."""
        try:
            return {process.pid for process in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)}
        except self._nvml.NVMLError:
            return None

    def begin(self) -> None:
        """Whoever was there before this process touched the device, and still is, is another."""
        now = self._processes(self._handle)
        self._others = None if now is None or self._before is None else now & self._before
        self.shared = True if self._others else None

    def settle(self) -> None:
        now = self._processes(self._handle)
        if now is None or self._others is None:
            return
        self._own = now - self._others
        # A process that does not see itself, as in some containers, may not see others either.
        self.shared = bool(self._others) or len(self._own) > 1 or (False if self._own else None)

    def read(self) -> Reading:
        nvml, handle = self._nvml, self._handle
        reading = Reading(
            power_watts=self._value(self._power),
            utilization_percent=self._value(lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
            memory_used_mb=self._value(lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used / 1e6),
            counter_millijoules=self._value(lambda: float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))),
            temperature_celsius=self._value(
                lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
            ),
            clock_mhz=self._value(lambda: float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))),
            throttle_reasons=self._value(lambda: int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))),
        )
        if reading.power_watts is None and reading.counter_millijoules is None and self.reason is None:
            self.reason = self._refusal or "NVML: this device offers neither power nor an energy counter"
        if self._own is not None and (self._processes(handle) or set()) - self._own:
            self.shared = True
        return reading

    def _value(self, read: Callable[[], Any]) -> Any:
        """One reading; None where the device does not offer it or may not give it, and for good once it is lost."""
        if self._gone:
            return None
        try:
            return read()
        except (self._nvml.NVMLError_NotSupported, self._nvml.NVMLError_FunctionNotFound):
            return None
        except self._nvml.NVMLError as error:
            self._refusal = f"NVML: {error}"
            if error.value in (self._nvml.NVML_ERROR_GPU_IS_LOST, self._nvml.NVML_ERROR_UNINITIALIZED,
                               self._nvml.NVML_ERROR_RESET_REQUIRED):  # fmt: skip
                self.reason, self._gone = self._refusal, True
            return None

    def close(self) -> None:
        with suppress(self._nvml.NVMLError):  # a lost device may refuse even this
            self._nvml.nvmlShutdown()


class RaplMeter(_HostMeter):
    """The CPU packages' energy counters in the powercap files. Raises MeterError where they cannot be read.

    The counters wrap around; power is the difference between two readings.
    """

    name = "rapl"
    boundary: str | None = "the CPU packages, whatever else runs on them, without memory and disk"

    def __init__(self, root: Path = POWERCAP, device_type: str = "cpu") -> None:
        super().__init__(None, device_type)
        # intel-rapl:0 is a package; intel-rapl:0:1 a part of it, already counted, and psys the whole platform.
        zones = sorted(zone for zone in root.glob("intel-rapl:*") if zone.name.count(":") == 1)
        try:
            self._zones = [zone for zone in zones if (zone / "name").read_text().startswith("package")]
            self._range = [int((zone / "max_energy_range_uj").read_text()) for zone in self._zones]
            self._last = [int((zone / "energy_uj").read_text()) for zone in self._zones]
        except PermissionError as error:
            raise MeterError("RAPL: the energy counters can be read by root alone") from error
        except (OSError, ValueError) as error:
            raise MeterError(f"RAPL: {error}") from error
        if not self._zones:
            raise MeterError(f"RAPL: {root} has no intel-rapl package")
        self._total_microjoules = 0
        self._read_at = time.monotonic()

    def read(self) -> Reading:
        if self.reason is not None:
            return Reading(memory_used_mb=self._memory_mb())
        try:
            now = [int((zone / "energy_uj").read_text()) for zone in self._zones]
        except (OSError, ValueError) as error:
            self.reason = f"RAPL: {error}"
            return Reading(memory_used_mb=self._memory_mb())
        at = time.monotonic()
        used = sum((new - old) % (top + 1) for new, old, top in zip(now, self._last, self._range, strict=True))
        watts = used / 1e6 / (at - self._read_at) if at > self._read_at else None
        self._last, self._read_at = now, at
        self._total_microjoules += used
        return Reading(
            power_watts=watts, memory_used_mb=self._memory_mb(), counter_millijoules=self._total_microjoules / 1e3
        )


class MeterError(RuntimeError):
    """A meter that cannot be read, with the reason in words."""


def open_meter(choice: str, device_type: str, find_uuid: Callable[[], str | None], simulated: bool = False) -> Meter:
    """The meter that `measure.meter` names; "auto" takes that of the device that trains ("cpu", "cuda").

    `find_uuid` names a CUDA device to NVML. Over a `simulated` driver, which no torch knows, the first device is
    taken. A meter that cannot be read becomes NoMeter with the reason: training goes on.
    """
    if choice == "none":
        return NoMeter("measure.meter is none", device_type)
    if choice == "auto":
        choice = "rapl" if device_type == "cpu" else "nvml"
    try:
        if choice == "rapl":
            return RaplMeter(device_type=device_type)
        return NvmlMeter(_first_uuid if simulated else find_uuid)
    except MeterError as error:
        return NoMeter(str(error), device_type)


def _first_uuid() -> str:
    import pynvml

    return pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(0))


class Sampler:
    """Reads a meter every `interval` seconds in a thread while a window is open, and at both ends of every window.

    `rows` holds the samples: power.csv. A run that goes on begins with those of the parts before; `keep` is told each
    new one.
    """

    def __init__(
        self,
        meter: Meter,
        device: str,
        interval: float,
        part: int = 0,
        rows: Sequence[PowerRow] = (),
        keep: Callable[[PowerRow], None] | None = None,
    ) -> None:
        self.meter = meter
        self.rows = list(rows)
        self._device, self._interval, self._part, self._keep = device, interval, part, keep
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
    def window(self, phase: str) -> Iterator[list[PowerRow]]:
        """Measure the block as one window of `phase` ("idle", "train", "eval"); its samples are in the list then."""
        found: list[PowerRow] = []
        with self._lock:
            first = len(self.rows)
            self._phase = phase
            self._sample()
        try:
            yield found
        finally:
            with self._lock:
                self._sample()
                self._phase = None
                found += self.rows[first:]

    def idle(self, seconds: float) -> None:
        """A window in which nothing runs: its power is what the device takes anyway. Instant without a meter."""
        with self.window("idle"):
            if self.meter.reason is None:
                time.sleep(seconds)

    def _loop(self) -> None:
        due = time.monotonic() + self._interval
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            with self._lock:
                if self._phase is not None:
                    self._sample()
            due = max(due + self._interval, time.monotonic())

    def _sample(self) -> None:
        assert self._phase is not None
        # The clock is read on both sides: a driver may take its time to answer.
        before = time.monotonic()
        reading = self.meter.read()
        seconds = (before + time.monotonic()) / 2 - self._start
        row = PowerRow(seconds, self._part, self._phase, self._device, **vars(reading))
        self.rows.append(row)
        if self._keep:
            self._keep(row)
