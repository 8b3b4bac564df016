"""The meter of an NVIDIA GPU: power, energy counter, memory and conditions through NVML."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from lora_core.device import label_of
from lora_core.measuring.driver_thread import DriverThread
from lora_core.measuring.limits import MAX_WATTS, DeviceLimits
from lora_core.measuring.meters import MeterError, Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = TypeVar("Answer")

OPEN_SECONDS = 20.0  # the driver may have to start its devices first
ANSWER_SECONDS = 2.0  # below `sampling.SUSPENDED_SECONDS`; an H200 takes 15 ms at most
PROCESSES_SECONDS = 2.0  # between two looks at the list of processes
# What pynvml raises, besides its own errors, if an answer makes no sense: a name that is no text, an absurd length.
NONSENSE = (ValueError, OverflowError, MemoryError)


class NvmlMeter:
    """An NVIDIA GPU, read through pynvml. Raise MeterError if it cannot be read at all.

    `find_uuid` returns the device's UUID. It is called after the processes on every device were listed, because asking
    torch for the UUID may put this process on the device. In a container, `os.getpid()` is not the number in that list.
    `was_here` says that this process had used CUDA before, as a second run in one process: then one process of the list
    may be this one. A driver that does not answer in time costs the reading: every call to it is made by a
    `DriverThread`.
    """

    name = "nvml"
    boundary: str | None = "the GPU alone, without the host"
    energy_counter: str | None = "nvmlDeviceGetTotalEnergyConsumption"
    memory_kind = "device"
    simulated = False
    has_context = True
    power_is_mean = False

    def __init__(self, find_uuid: Callable[[], str | None], was_here: bool = False) -> None:
        import pynvml

        self._nvml = pynvml
        self._driver = DriverThread()
        self.reason: str | None = None
        self.shared: bool | None = None
        self._refusal: str | None = None  # the last error other than "not supported"
        self._is_lost = False
        self._others: set[int] | None = None  # processes on the device before this one, if the driver says so
        self._ours: set[int] | None = None  # this process, by the number that the driver knows it by
        self._was_here = was_here
        self._listed_at = time.monotonic()
        try:
            before = self._ask(self._start)
            uuid = find_uuid()
            if uuid is None:
                raise MeterError("NVML: the run trained on a CPU")
            if uuid.startswith("MIG-"):
                raise MeterError("the device is a MIG slice: NVML measures no energy for a part of a GPU")
            self._handle = self._ask(lambda: pynvml.nvmlDeviceGetHandleByUUID(uuid))
            self.device_id: str | None = label_of(uuid)
            self._before = before.get(uuid)
            self._ask(self._describe)
        except MeterError:
            self._driver.close()
            raise

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        """The driver's answer while the meter is opened. Raise MeterError if there is none."""
        try:
            return self._driver.call(question, OPEN_SECONDS)
        except TimeoutError as error:
            raise MeterError(_silence(OPEN_SECONDS)) from error
        except (self._nvml.NVMLError, *NONSENSE) as error:
            raise MeterError(_text(error)) from error

    def _start(self) -> dict[str, set[int] | None]:
        self._nvml.nvmlInit()
        return self._processes_by_uuid()

    def _describe(self) -> None:
        """Set the limits and details of the device, and which field its power is read from."""
        limit = self._value(lambda: self._nvml.nvmlDeviceGetEnforcedPowerLimit(self._handle) / 1e3)
        if limit is not None and not 0 < limit <= MAX_WATTS:
            limit = None
        total = self._value(lambda: self._nvml.nvmlDeviceGetMemoryInfo(self._handle).total / 1e6)
        self.limits = DeviceLimits.of(limit, total)
        watts = self._value(self._instant_watts)
        instant = watts is not None and watts <= self.limits.power_watts
        self._power = self._instant_watts if instant else self._average_watts
        self.details = {
            "driver": self._value(self._nvml.nvmlSystemGetDriverVersion),
            # Without an instant field, power is an average over about a second on Ampere (except GA100) and newer.
            "power_field": "instant" if instant else "average",
            "power_limit_watts": limit,
        }

    def _instant_watts(self) -> float | None:
        (field,) = self._nvml.nvmlDeviceGetFieldValues(self._handle, [self._nvml.NVML_FI_DEV_POWER_INSTANT])
        return field.value.uiVal / 1e3 if field.nvmlReturn == self._nvml.NVML_SUCCESS else None

    def _average_watts(self) -> float:
        return self._nvml.nvmlDeviceGetPowerUsage(self._handle) / 1e3

    def _processes_by_uuid(self) -> dict[str, set[int] | None]:
        processes = {}
        for index in range(self._nvml.nvmlDeviceGetCount()):
            with suppress(self._nvml.NVMLError, *NONSENSE):  # another device may be broken
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                processes[self._nvml.nvmlDeviceGetUUID(handle)] = self._processes(handle)
        return processes

    def _processes(self, handle: Any) -> set[int] | None:
        """The processes that compute on a device; None if the driver does not say."""
        try:
            return {process.pid for process in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)}
        except (self._nvml.NVMLError, *NONSENSE):
            return None

    def _processes_now(self) -> set[int] | None:
        try:
            return self._driver.call(lambda: self._processes(self._handle), ANSWER_SECONDS)
        except TimeoutError:
            return None

    def begin(self) -> None:
        """Note which other processes use the device: those that did before this one touched it, and still do."""
        now = self._processes_now()
        before = None if now is None or self._before is None else now & self._before
        self._others = None if before is None else before - self._ours_among(before)
        self.shared = True if self._others else None

    def _ours_among(self, processes: set[int]) -> set[int]:
        """This process, if it was on the device before: by its number, or because there is no other it could be."""
        return _family(processes) or (processes if self._was_here and len(processes) == 1 else set())

    def settle(self) -> None:
        """Note which of the device's processes this one is."""
        now = self._processes_now()
        if now is None or self._others is None:
            return
        self._ours = now - self._others
        # In a container none of the numbers may be known: then one of them is this process.
        strangers = len(self._ours) - (len(_family(self._ours)) or 1)
        # A process that does not see itself, as in some containers, may not see others either.
        self.shared = bool(self._others) or strangers > 0 or (False if self._ours else None)

    def read(self) -> Reading:
        """Read everything that the device offers; nothing while the driver does not answer."""
        return self._answered(self._read)

    def read_edge(self) -> Reading:
        """Read power, energy and memory; nothing while the driver does not answer."""
        return self._answered(self._read_edge)

    def _answered(self, read: Callable[[], Reading]) -> Reading:
        try:
            reading = self._driver.call(read, ANSWER_SECONDS)
        except TimeoutError:
            self._refusal, reading = _silence(ANSWER_SECONDS), Reading()
        if reading.power_watts is None and reading.counter_millijoules is None and self.reason is None:
            self.reason = self._refusal or "NVML: this device offers neither power nor an energy counter"
        return reading

    def _read_edge(self) -> Reading:
        nvml, handle = self._nvml, self._handle
        return Reading(
            power_watts=self._value(self._power),
            memory_used_mb=self._value(lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used / 1e6),
            counter_millijoules=self._value(lambda: float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))),
        )

    def _read(self) -> Reading:
        nvml, handle = self._nvml, self._handle
        reading = replace(
            self._read_edge(),
            utilization_percent=self._value(lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
            temperature_celsius=self._value(
                lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
            ),
            clock_mhz=self._value(lambda: float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))),
            throttle_reasons=self._value(lambda: int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))),
        )
        if time.monotonic() - self._listed_at >= PROCESSES_SECONDS:
            self._listed_at = time.monotonic()
            self._look_for_others(self._processes(handle))
        return reading

    def _look_for_others(self, processes: set[int] | None) -> None:
        if self._ours is None or not (unknown := (processes or set()) - self._ours):
            return
        started = _family(unknown)
        self._ours |= started
        if unknown != started:
            self.shared = True

    def _value(self, read: Callable[[], Any]) -> Any:
        """One reading; None if the device does not offer it or may not be asked, and always once it is lost."""
        nvml = self._nvml
        if self._is_lost:
            return None
        try:
            return read()
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
            return None
        except (nvml.NVMLError, *NONSENSE) as error:
            self._refusal = _text(error)
            lost = (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_UNINITIALIZED, nvml.NVML_ERROR_RESET_REQUIRED)
            if getattr(error, "value", None) in lost:
                self.reason, self._is_lost = self._refusal, True
            return None

    def close(self) -> None:
        """Look for other processes once more, and release the driver; a lost device may refuse even that."""
        self._look_for_others(self._processes_now())
        with suppress(self._nvml.NVMLError, TimeoutError):
            self._driver.call(self._nvml.nvmlShutdown, ANSWER_SECONDS)
        self._driver.close()


class SimulatedNvmlMeter(NvmlMeter):
    """The first device of a stand-in driver, which torch does not know."""

    simulated = True

    def __init__(self) -> None:
        super().__init__(lambda: self._ask(_first_uuid))
        self.device_id = f"simulated-{self.device_id}"


def _first_uuid() -> str:
    import pynvml

    return pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(0))


def _family(processes: set[int]) -> set[int]:
    """This process and those that it started, among some by their numbers."""
    import psutil

    family = {os.getpid()} & processes
    for process in processes - family:
        with suppress(psutil.Error):  # one that cannot be seen from here, or has just ended
            if os.getpid() in (parent.pid for parent in psutil.Process(process).parents()):
                family.add(process)
    return family


def _silence(seconds: float) -> str:
    return f"NVML: the driver did not answer within {seconds:g} s"


def _text(error: BaseException) -> str:
    """What an error says; the driver's own text of it may be broken as well."""
    if isinstance(error, NONSENSE):
        return "NVML: the driver gave an answer that makes no sense"
    try:
        return f"NVML: {error}"
    except NONSENSE:
        return f"NVML: unknown error {getattr(error, 'value', '')}"
