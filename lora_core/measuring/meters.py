"""Meters of power and energy behind one small interface.

A meter that cannot be read returns None and gives a reason; what was not measured is never 0. A new meter is
a class and an entry in `METERS`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

from lora_core.device import uuid
from lora_core.measuring.limits import DeviceLimits
from lora_core.records import JsonObject

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


@dataclass(frozen=True)
class MeterSettings:
    """How a run's power, energy and memory are read.

    Attributes:
        meter: "auto", a name in `METERS`, or "none".
        sample_seconds: Seconds between two samples.
        idle_seconds: Seconds of rest before training, from which the idle power follows.
    """

    meter: str
    sample_seconds: float
    idle_seconds: float

    def to_params(self) -> JsonObject:
        """Return the settings as plain values, with `simulated`, a property of the meter that run.json records."""
        return asdict(self) | {"simulated": self.meter in METERS and METERS[self.meter].simulated}

    @classmethod
    def from_params(cls, params: JsonObject) -> MeterSettings:
        """Return the settings that `to_params` described."""
        return cls(**{name: value for name, value in params.items() if name != "simulated"})


@dataclass(frozen=True)
class Reading:
    """What a meter shows at one moment; the names are those of power.csv."""

    power_watts: float | None = None
    utilization_percent: float | None = None
    memory_used_mb: float | None = None
    counter_millijoules: float | None = None
    temperature_celsius: float | None = None
    clock_mhz: float | None = None
    throttle_reasons: int | None = None

    def watts_since(self, earlier: Reading, seconds: float) -> float | None:
        """Return the mean power since a reading that was taken `seconds` earlier, by the energy counter."""
        if self.counter_millijoules is None or earlier.counter_millijoules is None:
            return None
        return (self.counter_millijoules - earlier.counter_millijoules) / 1e3 / seconds


class Meter(Protocol):
    """Reads the power, energy and memory of a device.

    A meter is created before anything touches the device. `begin` is called when the run has the device to itself, and
    `settle` once the model is on it: a process that came to the device in between is this one.

    Attributes:
        name: The meter's name in the configuration and in records.
        boundary: What the energy covers, as text; None without energy.
        energy_counter: The name of the counter that its energy is read from, if the device has one.
        memory_kind: Whose memory is read: "device", or "resident" for this process's memory on the host.
        simulated: The driver is a stand-in: nothing that it reports was measured.
        reason: Why there is no energy; None if there is.
        shared: Whether another process used the device; None if that is not known.
        device_id: What its energy covers, by a name that nothing else has; None if it reads no energy.
        has_context: This process's context on the device draws power by itself, so that idle power is measured with it,
            too.
        power_is_mean: The power follows from the energy counter: it is the mean since the last reading.
        limits: What the device can report; the sampler records nothing that lies outside of them.
        details: Facts for run.json.
    """

    name: str
    boundary: str | None
    energy_counter: str | None
    memory_kind: str
    simulated: bool
    reason: str | None
    shared: bool | None
    device_id: str | None
    has_context: bool
    power_is_mean: bool
    limits: DeviceLimits
    details: JsonObject

    def read(self) -> Reading:
        """Read everything that the meter offers; what it does not offer is None."""
        ...

    def read_edge(self) -> Reading:
        """Read what the edge of a window needs, power, energy and memory; the device waits for that."""
        ...

    def begin(self) -> None:
        """Note which other processes use the device."""
        ...

    def settle(self) -> None:
        """Note that this process is on the device now."""
        ...

    def close(self) -> None:
        """Release the driver."""
        ...


class MeterError(RuntimeError):
    """A meter cannot be read; the message says why."""


class HostMeter:
    """What meters of the host share.

    For a run on the CPU, the memory is this process's resident memory in MB (10^6 bytes). They do not see the memory
    of a GPU.
    """

    simulated = False
    energy_counter: str | None = None
    shared: bool | None = None
    device_id: str | None = None
    has_context = False
    power_is_mean = False
    limits = DeviceLimits()

    def __init__(self, reason: str | None, device_type: str) -> None:
        import psutil

        self.reason = reason
        self.details: JsonObject = {}
        self.memory_kind = "resident" if device_type == "cpu" else "device"
        self._process = psutil.Process() if device_type == "cpu" else None

    def memory_mb(self) -> float | None:
        """Return this process's resident memory; None for a run on a GPU."""
        return self._process.memory_info().rss / 1e6 if self._process else None

    def read(self) -> Reading:
        """Read the memory alone."""
        return Reading(memory_used_mb=self.memory_mb())

    def read_edge(self) -> Reading:
        """Read everything: it takes microseconds."""
        return self.read()

    def begin(self) -> None:
        """Do nothing: other processes on the host are not counted."""

    def settle(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class NoMeter(HostMeter):
    """Measures no energy, for `reason`."""

    name = "none"
    boundary: str | None = None

    def __init__(self, reason: str, device_type: str = "cpu") -> None:
        super().__init__(reason, device_type)


def _open_rapl(device: torch.device) -> Meter:
    from lora_core.measuring.rapl import RaplMeter

    return RaplMeter(device_type=device.type)


def _open_nvml(device: torch.device) -> Meter:
    import torch

    from lora_core.measuring.nvml import NvmlMeter

    return NvmlMeter(lambda: uuid(device), was_here=torch.cuda.is_initialized())


def _open_simulated_nvml(device: torch.device) -> Meter:
    from lora_core.measuring.nvml import SimulatedNvmlMeter

    return SimulatedNvmlMeter()


@dataclass(frozen=True)
class MeterKind:
    """A meter that the configuration can choose.

    Attributes:
        open: Opens the meter of a device. Raise MeterError if it cannot be read.
        automatic_for: The types of devices for which "auto" takes it.
        simulated: The driver is a stand-in. `measure.simulated` chooses this meter instead of the real one.
    """

    open: Callable[[torch.device], Meter]
    automatic_for: tuple[str, ...] = ()
    simulated: bool = False


METERS = {
    "nvml": MeterKind(_open_nvml, automatic_for=("cuda",)),
    "rapl": MeterKind(_open_rapl, automatic_for=("cpu",)),
    "simulated_nvml": MeterKind(_open_simulated_nvml, simulated=True),
}
# The values of `measure.meter`.
METER_CHOICES = ("auto", *(name for name, kind in METERS.items() if not kind.simulated), "none")


def open_meter(name: str, device: torch.device) -> Meter:
    """Open a meter by its name in `METERS`; "auto" takes the one for the device that trains, "none" measures nothing.

    A meter that cannot be read becomes a NoMeter with the reason, and training continues without energy.
    """
    if name == "auto":
        name = next((name for name, kind in METERS.items() if device.type in kind.automatic_for), "none")
        if name == "none":
            return NoMeter(f"there is no meter for a device of type {device.type}", device.type)
    if name == "none":
        return NoMeter("measure.meter is none", device.type)
    try:
        return METERS[name].open(device)
    except MeterError as error:
        return NoMeter(str(error), device.type)
