"""The meter of a CPU: the energy counters of its packages (RAPL)."""

import time
from collections.abc import Sequence
from pathlib import Path

from lora_core.measuring.limits import COUNTER_STEP_SECONDS, DeviceLimits
from lora_core.measuring.meters import HostMeter, MeterError, Reading
from lora_core.processes import current_place

POWERCAP = Path("/sys/class/powercap")


class RaplMeter(HostMeter):
    """The energy counters of the CPU packages (RAPL), read from the kernel's powercap files.

    The counters wrap around. Power is the difference between two readings. A package whose counter stands still while
    those of others advance ends the energy: without it, the sum would be that of the others. Raise MeterError if the
    counters cannot be read.

    A package that draws more than it can ends the energy too, if the kernel says what it can draw.
    """

    name = "rapl"
    boundary: str | None = "the CPU packages, whatever else runs on them, without memory and disk"

    def __init__(self, root: Path = POWERCAP, device_type: str = "cpu") -> None:
        super().__init__(None, device_type)
        self.device_id = f"cpu-{current_place().host}"
        # intel-rapl:0 is a package. intel-rapl:0:1 is a part of it, which it includes; psys is the whole platform.
        zones = sorted(zone for zone in root.glob("intel-rapl:*") if zone.name.count(":") == 1)
        try:
            self._zones = [zone for zone in zones if (zone / "name").read_text().startswith("package")]
            self._range = [int((zone / "max_energy_range_uj").read_text()) for zone in self._zones]
            self._last = [int((zone / "energy_uj").read_text()) for zone in self._zones]
        except PermissionError as error:
            raise MeterError("RAPL: only root may read the energy counters") from error
        except (OSError, ValueError) as error:
            raise MeterError(f"RAPL: {error}") from error
        if not self._zones:
            raise MeterError(f"RAPL: {root} has no intel-rapl package")
        if broken := [zone.name for zone, top in zip(self._zones, self._range, strict=True) if top <= 0]:
            raise MeterError(f"RAPL: the energy counter of {broken[0]} has no range (max_energy_range_uj)")
        known = [_max_watts(zone) for zone in self._zones]
        self._zone_limits = [DeviceLimits.of(watts) for watts in known]
        total = sum(watts for watts in known if watts is not None) if None not in known else None
        self.limits = DeviceLimits.of(total)
        self.details["power_limit_watts"] = total
        self._total_microjoules = 0
        self._read_at = time.monotonic()
        self._advanced_at = [self._read_at] * len(self._zones)

    def read(self) -> Reading:
        """Read the counters of all packages together, and the memory."""
        if self.reason is not None:
            return Reading(memory_used_mb=self.memory_mb())
        try:
            values = [int((zone / "energy_uj").read_text()) for zone in self._zones]
        except (OSError, ValueError) as error:
            self.reason = f"RAPL: {error}"
            return Reading(memory_used_mb=self.memory_mb())
        read_at = time.monotonic()
        self.reason = self._problem(values, read_at)
        if self.reason is not None:
            return Reading(memory_used_mb=self.memory_mb())
        used = sum(self._used(values))
        watts = used / 1e6 / (read_at - self._read_at) if read_at > self._read_at else None
        self._last, self._read_at = values, read_at
        self._total_microjoules += used
        return Reading(
            power_watts=watts, memory_used_mb=self.memory_mb(), counter_millijoules=self._total_microjoules / 1e3
        )

    def _used(self, values: Sequence[int]) -> list[int]:
        """The microjoules of each package since the last reading."""
        return [(new - old) % (top + 1) for new, old, top in zip(values, self._last, self._range, strict=True)]

    def _problem(self, values: Sequence[int], read_at: float) -> str | None:
        """Why the counters' values are no measurement; None if they are one."""
        used = self._used(values)
        for i, (zone, value) in enumerate(zip(self._zones, values, strict=True)):
            if not 0 <= value <= self._range[i]:
                return f"RAPL: the energy counter of {zone.name} is outside of its range"
            if not self._zone_limits[i].allows_joules(used[i] / 1e6, read_at - self._read_at):
                watts = self._zone_limits[i].power_watts
                return f"RAPL: the energy counter of {zone.name} jumped by more than it can draw ({watts:,.0f} W)"
            if value != self._last[i]:
                self._advanced_at[i] = read_at
        advanced_last = max(self._advanced_at)
        for zone, advanced_at in zip(self._zones, self._advanced_at, strict=True):
            if advanced_last - advanced_at >= COUNTER_STEP_SECONDS:
                return f"RAPL: the energy counter of {zone.name} stands still while others advance"
        return None


def _max_watts(zone: Path) -> float | None:
    """The most that a package may draw; None if the kernel does not say it.

    That is its largest long-term limit, or a higher limit that is set now: many computers allow more for some seconds,
    or for ever.
    """
    if not (largest := _microwatts(zone / "constraint_0_max_power_uw")):
        return None
    set_now = (_microwatts(file) for file in zone.glob("constraint_*_power_limit_uw"))
    return max([largest, *(value for value in set_now if value)]) / 1e6


def _microwatts(file: Path) -> int | None:
    """The value in a file of the kernel; None if there is none or it is not above 0."""
    try:
        value = int(file.read_text())
    except (OSError, ValueError):
        return None
    return value if value > 0 else None
