"""The meter of a CPU: the energy counters of its packages (RAPL)."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_core.measuring.limits import COUNTER_STEP_SECONDS, DeviceLimits
from lora_core.measuring.meters import HostMeter, MeterError, Reading
from lora_core.measuring.sampling import SUSPENDED_SECONDS
from lora_core.processes import current_place

POWERCAP = Path("/sys/class/powercap")
# Two zones of one package count the same if their counts differ by no more than this or a thousandth of their range.
SAME_MICROJOULES = 1_000_000
# What a package is taken to draw at most, where the kernel does not say it, when a counter may have wrapped unseen.
WRAP_WATTS = 1500.0


@dataclass
class Counter:
    """The energy counter of a zone of the kernel, in microjoules.

    Attributes:
        zone: Its folder.
        name: As the kernel names it: "package-0", or "package-0-die-1" for a die of it.
        top: Its highest value, after which it starts again from 0.
        watts: The most that the package may draw; None if the kernel does not say it.
        last: Its value at the last reading.
        advanced_at: When a reading last showed another value.
        is_left_out: Another counter that is added up shows the same count.
        left_out: How much was left out of the sum because of that.
    """

    zone: Path
    name: str
    top: int
    watts: float | None
    last: int
    advanced_at: float
    is_left_out: bool = False
    left_out: int = 0

    @property
    def limits(self) -> DeviceLimits:
        """What the package can draw."""
        return DeviceLimits.of(self.watts)

    @property
    def margin(self) -> int:
        """By how much equal counts may differ."""
        return min(SAME_MICROJOULES, self.top // 1000)

    def read(self) -> int:
        """Return its value now. Raise OSError or ValueError if it cannot be read."""
        return int((self.zone / "energy_uj").read_text())

    def between(self, earlier: int, later: int) -> int:
        """Return by how much it advanced from one value to another."""
        return (later - earlier) % (self.top + 1)

    def counts_with(self, other: "Counter") -> bool:
        """Return whether another counter is of the same package and shows the same count now.

        This one is read before and after it, because the package draws power in the meantime.
        """
        packages = [re.match(r"package-(\d+)", counter.name) for counter in (self, other)]
        numbers = {match and match[1] for match in packages}
        if len(numbers) > 1 or None in numbers or self.top != other.top:
            return False
        before, value, after = self.read(), other.read(), self.read()
        return self.between(before - self.margin, value) <= self.between(before, after) + 2 * self.margin

    def __str__(self) -> str:
        return f"{self.zone.name} {self.name}"


class RaplMeter(HostMeter):
    """The energy counters of the CPU packages (RAPL), read from the kernel's powercap files.

    The counters wrap around. Power is the mean since the last reading. Where a package has a zone for each of its dies,
    all of them may show the one counter of the package (AMD Zen 1 and 2): zones of one package whose counts are equal,
    now and at later readings, are added up once. Raise MeterError if the counters cannot be read.

    A package whose counter stands still while those of others advance ends the energy: without it, the sum would be
    that of the others. So does a package that draws more than it can, if the kernel says what it can draw.
    """

    name = "rapl"
    boundary: str | None = "the CPU packages, whatever else runs on them, without memory and disk"
    power_is_mean = True

    def __init__(self, root: Path = POWERCAP, device_type: str = "cpu") -> None:
        super().__init__(None, device_type)
        self.device_id = f"cpu-{current_place().host}"
        self._root = root
        self._read_at = time.monotonic()
        try:
            self._zones = _zones(root)
            self._counters = list(_counters(self._zones, self._read_at))
            for number, counter in enumerate(self._counters):
                counter.is_left_out = any(other.counts_with(counter) for other in self._counters[:number])
        except PermissionError as error:
            raise MeterError("RAPL: only root may read the energy counters") from error
        except (OSError, ValueError) as error:
            raise MeterError(f"RAPL: {error}") from error
        if not self._counters:
            raise MeterError(f"RAPL: {root} has no intel-rapl package")
        if broken := [counter.zone.name for counter in self._counters if counter.top <= 0]:
            raise MeterError(f"RAPL: the energy counter of {broken[0]} has no range (max_energy_range_uj)")
        self._total_microjoules = 0
        self._describe()

    def _describe(self) -> None:
        """Set the limits and the details: both follow from which counters are added up."""
        added, left_out = self._added(), [counter for counter in self._counters if counter.is_left_out]
        known = [counter.watts for counter in added]
        total = sum(watts for watts in known if watts is not None) if None not in known else None
        self.limits = DeviceLimits.of(total)
        self.energy_counter = " + ".join(map(str, added))
        self.details |= {
            "same_counter": ", ".join(map(str, left_out)) or None,
            "power_field": "mean",
            "power_limit_watts": total,
        }

    def _added(self) -> list[Counter]:
        """The counters that are added up."""
        return [counter for counter in self._counters if not counter.is_left_out]

    def read(self) -> Reading:
        """Read the counters of all packages together, and the memory."""
        reading = None if self.reason else self._read_counters()
        return reading or Reading(memory_used_mb=self.memory_mb())

    def _read_counters(self) -> Reading | None:
        """Power, energy and memory; None with a reason if the counters' values are no measurement."""
        try:
            if _zones(self._root) != self._zones:
                raise ValueError("packages came or went")
            values = [counter.read() for counter in self._counters]
            read_at = time.monotonic()
            self.reason = self._problem(values, read_at) or self._differing()
        except (OSError, ValueError) as error:
            self.reason = f"RAPL: {error}"
        if self.reason is not None:
            return None
        seconds = read_at - self._read_at
        used = 0
        for counter, value in zip(self._counters, values, strict=True):
            if counter.is_left_out:
                counter.left_out += counter.between(counter.last, value)
            else:
                used += counter.between(counter.last, value)
            counter.last = value
        self._read_at = read_at
        # A count that starts again is no energy, for a window that it lies in.
        self._total_microjoules = 0 if self._may_have_wrapped_twice(seconds) else self._total_microjoules + used
        return Reading(
            power_watts=used / 1e6 / seconds if seconds > 0 else None,
            memory_used_mb=self.memory_mb(),
            counter_millijoules=self._total_microjoules / 1e3,
        )

    def _problem(self, values: Sequence[int], read_at: float) -> str | None:
        """Why the counters' values are no measurement; None if they are one."""
        for counter, value in zip(self._counters, values, strict=True):
            if not 0 <= value <= counter.top:
                return f"RAPL: the energy counter of {counter.zone.name} is outside of its range"
            joules = counter.between(counter.last, value) / 1e6
            if not counter.limits.allows_joules(joules, read_at - self._read_at):
                return (
                    f"RAPL: the energy counter of {counter.zone.name} jumped by more than it can draw "
                    f"({counter.limits.power_watts:,.0f} W)"
                )
            if value != counter.last:
                counter.advanced_at = read_at
        advanced_last = max(counter.advanced_at for counter in self._counters)
        for counter in self._counters:
            if advanced_last - counter.advanced_at >= COUNTER_STEP_SECONDS:
                return f"RAPL: the energy counter of {counter.zone.name} stands still while others advance"
        return None

    def _differing(self) -> str | None:
        """Add up from now on what was left out and shows another count by now; a reason if that is too late."""
        for counter in [counter for counter in self._counters if counter.is_left_out]:
            if any(other.counts_with(counter) for other in self._added()):
                continue
            if counter.left_out > counter.margin:
                return f"RAPL: {counter} was taken for the counter of another zone, but now it shows another count"
            counter.is_left_out = False
            self._describe()
        return None

    def _may_have_wrapped_twice(self, seconds: float) -> bool:
        """Whether a counter may have wrapped more than once since the last reading, because the run was suspended."""
        return seconds > SUSPENDED_SECONDS and any(
            seconds * (counter.limits.power_watts if counter.watts else WRAP_WATTS) > counter.top / 1e6
            for counter in self._counters
        )


def _zones(root: Path) -> list[Path]:
    """The zones of the kernel that are no part of another one."""
    # intel-rapl:0 is a package. intel-rapl:0:1 is a part of it, which it includes; psys is the whole platform.
    return sorted(zone for zone in root.glob("intel-rapl:*") if zone.name.count(":") == 1)


def _counters(zones: Sequence[Path], read_at: float) -> Iterator[Counter]:
    """The counters of the packages. Raise OSError or ValueError if one cannot be read."""
    for zone in zones:
        name = (zone / "name").read_text().strip()
        if name.startswith("package"):
            top = int((zone / "max_energy_range_uj").read_text())
            value = int((zone / "energy_uj").read_text())
            yield Counter(zone, name, top, _max_watts(zone), value, advanced_at=read_at)


def _max_watts(zone: Path) -> float | None:
    """The most that a package may draw; None if the kernel does not say it.

    That is its largest long-term limit, or a higher limit that is set now: many computers allow more for some seconds,
    or forever.
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
