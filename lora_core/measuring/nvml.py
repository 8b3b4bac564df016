"""The meter of an NVIDIA GPU: power, energy counter, memory and conditions through NVML."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lora_core.measuring.meters import MeterError, Reading

if TYPE_CHECKING:
    from collections.abc import Callable


class NvmlMeter:
    """An NVIDIA GPU, read through pynvml. Raise MeterError if it cannot be read at all.

    `find_uuid` returns the device's UUID. It is called after the processes on every device were listed, because asking
    torch for the UUID may put this process on the device. In a container, `os.getpid()` is not the number in that list.
    """

    name = "nvml"
    boundary: str | None = "the GPU alone, without the host"
    memory_kind = "device"
    simulated = False

    def __init__(self, find_uuid: Callable[[], str | None]) -> None:
        import pynvml

        self._nvml = pynvml
        self.reason: str | None = None
        self.shared: bool | None = None
        self._refusal: str | None = None  # the last error other than "not supported"
        self._is_lost = False
        self._others: set[int] | None = None  # processes on the device before this one, if the driver says so
        self._ours: set[int] | None = None  # this process, by the number that the driver knows it by
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
        self._before = before.get(uuid)
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
        processes = {}
        for index in range(self._nvml.nvmlDeviceGetCount()):
            with suppress(self._nvml.NVMLError):  # another device may be broken
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                processes[self._nvml.nvmlDeviceGetUUID(handle)] = self._processes(handle)
        return processes

    def _processes(self, handle: Any) -> set[int] | None:
        """The processes that compute on a device; None if the driver does not say."""
        try:
            return {process.pid for process in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)}
        except self._nvml.NVMLError:
            return None

    def begin(self) -> None:
        """Note which other processes use the device: those that did before this one touched it, and still do."""
        now = self._processes(self._handle)
        self._others = None if now is None or self._before is None else now & self._before
        self.shared = True if self._others else None

    def settle(self) -> None:
        """Note which of the device's processes this one is."""
        now = self._processes(self._handle)
        if now is None or self._others is None:
            return
        self._ours = now - self._others
        # A process that does not see itself, as in some containers, may not see others either.
        self.shared = bool(self._others) or len(self._ours) > 1 or (False if self._ours else None)

    def read(self) -> Reading:
        """Read everything that the device offers."""
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
        if self._ours is not None and (self._processes(handle) or set()) - self._ours:
            self.shared = True
        return reading

    def _value(self, read: Callable[[], Any]) -> Any:
        """One reading; None if the device does not offer it or may not be asked, and always once it is lost."""
        nvml = self._nvml
        if self._is_lost:
            return None
        try:
            return read()
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
            return None
        except nvml.NVMLError as error:
            self._refusal = f"NVML: {error}"
            lost = (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_UNINITIALIZED, nvml.NVML_ERROR_RESET_REQUIRED)
            if error.value in lost:
                self.reason, self._is_lost = self._refusal, True
            return None

    def close(self) -> None:
        """Release the driver; a lost device may refuse even that."""
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()


class SimulatedNvmlMeter(NvmlMeter):
    """The first device of a stand-in driver, which torch does not know."""

    simulated = True

    def __init__(self) -> None:
        super().__init__(_first_uuid)


def _first_uuid() -> str:
    import pynvml

    return pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(0))
