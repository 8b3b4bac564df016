"""What a device can report: what lies outside of these limits is no reading."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from lora_core.measuring.meters import Reading
    from lora_core.records import PowerRow

    Row = TypeVar("Row", Reading, PowerRow)

MAX_WATTS = 10_000.0  # no single device draws more
# A device exceeds its power limit for moments only; an H200 with a limit of 700 W reported at most 698 W.
OVER_LIMIT = 1.5
# On average over this time a device keeps to its limit, but for the accuracy of both. A CPU may draw more for 28 s
# (Intel's default); where it may for longer, its limit here is the higher one.
SUSTAINED, SUSTAINED_SECONDS = 1.1, 30.0
# A counter may advance only this often (`power_trace.counter_stands_still`), so a step holds up to that much more.
COUNTER_STEP_SECONDS = 2.0


@dataclass(frozen=True)
class DeviceLimits:
    """The highest values that a device can report.

    Attributes:
        power_watts: Its power, also on average over a short time.
        memory_mb: All of its memory.
        sustained_watts: Its mean power over `SUSTAINED_SECONDS` or longer.
    """

    power_watts: float = MAX_WATTS
    memory_mb: float = math.inf
    sustained_watts: float = MAX_WATTS

    @classmethod
    def of(cls, power_limit_watts: float | None, memory_total_mb: float | None = None) -> DeviceLimits:
        """Return the limits of a device by its power limit and its memory; None if one is not known."""
        limit = power_limit_watts or MAX_WATTS
        power, sustained = (min(MAX_WATTS, factor * limit) for factor in (OVER_LIMIT, SUSTAINED))
        return cls(power, memory_total_mb or math.inf, sustained)

    def impossible(self, row: Row) -> dict[str, float]:
        """Return the values of a reading or sample that the device cannot have, by name."""
        bounds = {
            "power_watts": (0.0, self.power_watts),
            "utilization_percent": (0.0, 100.0),
            "memory_used_mb": (0.0, self.memory_mb),
            "counter_millijoules": (0.0, float(2**64)),
            "temperature_celsius": (-50.0, 150.0),
            "clock_mhz": (0.0, 10_000.0),
        }
        values = {name: getattr(row, name) for name in bounds}
        return {
            name: value
            for name, value in values.items()
            if value is not None and not bounds[name][0] <= value <= bounds[name][1]
        }

    def without_impossible(self, row: Row) -> Row:
        """Return a reading or sample with None for each value that the device cannot have."""
        nothing: dict[str, Any] = dict.fromkeys(self.impossible(row))
        return replace(row, **nothing) if nothing else row

    def allows_joules(self, joules: float, seconds: float) -> bool:
        """Return whether an energy counter can have advanced by this much."""
        return joules <= self.power_watts * (seconds + COUNTER_STEP_SECONDS)

    def sustains(self, joules: float, seconds: float) -> bool:
        """Return whether the device can have drawn this energy in this time of work."""
        return seconds < SUSTAINED_SECONDS or joules <= self.sustained_watts * (seconds + COUNTER_STEP_SECONDS)
