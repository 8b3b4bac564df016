"""The idle baseline of a device: measured by the first run on it, used by the runs of the next hour.

It lies next to the device's lock, and is read and written by whoever holds that: on a machine with several GPUs each
has its own, and all studies of a user share it.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lora_core.measuring import power_trace as trace
from lora_core.measuring.counter_ticks import TICK_SECONDS
from lora_core.measuring.exclusive import device_file
from lora_core.measuring.idle_power import IdlePower
from lora_core.records import read_json, write_json
from lora_core.sealed import seal, unseal
from lora_core.typed_records import name_damaged_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lora_core.measuring.meters import Meter
    from lora_core.measuring.sampler import Sampler

VALID_SECONDS = 3600.0


@dataclass(frozen=True)
class IdleBaseline:
    """The idle power of a device, and how often its energy counter advances.

    Attributes:
        power: The idle power.
        counter_tick_seconds: None if the device has no counter, or if it advances too rarely to tell.
        measured: When (ISO 8601, UTC).
        shared: Another run measured it, or an earlier part of this one that was killed in its first epoch.
    """

    power: IdlePower
    counter_tick_seconds: float | None
    measured: str
    shared: bool

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> IdleBaseline:
        """Return what `asdict` described. Raise KeyError or TypeError if something is missing."""
        return cls(
            IdlePower(**content["power"]),
            content["counter_tick_seconds"],
            content["measured"],
            content["shared"],
        )


def known(meter: Meter, seconds: float, kept: Mapping[str, Any] | None) -> IdleBaseline | None:
    """Return the baseline that a run need not measure; None if it measures for these `seconds` itself.

    `kept` is what an earlier part of the run used. Without it, it is what another run measured within the last hour,
    for as long or longer. What is damaged or cannot be true is not used, and the log says so.
    """
    if kept is not None:
        return IdleBaseline.from_json(kept)
    if meter.device_id is None or meter.reason is not None or not seconds:
        return None
    path = _file(meter.device_id)
    try:
        with name_damaged_file(path):
            baseline = IdleBaseline.from_json(unseal(read_json(path), path) | {"shared": True})
            age = (datetime.now(UTC) - datetime.fromisoformat(baseline.measured)).total_seconds()
            is_true = age >= 0 and _is_possible(baseline, meter)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        is_true = False
    if not is_true:
        print(f"{path} is no idle baseline of this device; it is measured anew", file=sys.stderr, flush=True)
        return None
    return baseline if age < VALID_SECONDS and baseline.power.idle_seconds >= seconds else None


def measured(sampler: Sampler, part: int) -> IdleBaseline | None:
    """Return the baseline that this part of a run measured, and keep it for others; None if it is not complete.

    What was measured next to another process, or while this one was suspended, is for this run alone.
    """
    meter, tick = sampler.meter, sampler.counter_tick_seconds
    if meter.device_id is None:
        return None
    power = trace.idle_power([row for row in sampler.rows if row.part == part], meter.limits, tick)
    baseline = IdleBaseline(power, tick, datetime.now(UTC).isoformat(timespec="seconds"), shared=False)
    if not _is_possible(baseline, meter):
        return None
    if not meter.shared and not sampler.pulse.suspended_seconds():
        try:
            write_json(_file(meter.device_id), seal(asdict(baseline)), sync=False)
        except OSError as error:
            print(f"the idle baseline is not kept for other runs: {error}", file=sys.stderr, flush=True)
    return baseline


def _file(device_id: str) -> Path:
    return device_file(device_id, ".idle.json")


def _is_possible(baseline: IdleBaseline, meter: Meter) -> bool:
    """Whether all that such a meter measures is there, and the device can have it."""
    power, tick = baseline.power, baseline.counter_tick_seconds
    most = meter.details.get("power_limit_watts") or meter.limits.power_watts
    bounds = [(power.idle_watts, most), (power.idle_seconds, math.inf)]
    if meter.has_context:
        bounds.append((power.idle_context_watts, most))
    if tick is not None:
        bounds.append((tick, TICK_SECONDS))
    phase = "idle_context" if meter.has_context else "idle"
    return power.net_of == phase and all(_is_within(*bound) for bound in bounds)


def _is_within(value: float | None, most: float) -> bool:
    """Whether a value is a number above 0 and not above this one; True, a text and NaN are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most and value < math.inf
