"""What a run's samples say: energy, power and memory from power.csv's rows alone, so that anyone can check a trace.

A window is a stretch between two points at which the device had done all it was given. The primary energy is the
difference of the device's own counter over the window; the paper's method, power samples summed over time, stands
beside it, integrated by the trapezoid rule over the real timestamps with both edges in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, pairwise
from typing import Any

from lora_core.records import PowerRow

MIN_SECONDS = 2.0  # a shorter stretch says nothing: power readings are averages over about a second
LATE = 1.1  # a sample is late when it comes after this share of the interval

Rows = Sequence[PowerRow]


def windows(rows: Iterable[PowerRow], phase: str) -> list[list[PowerRow]]:
    """The windows of a phase in their order: of "train" and "eval", one an epoch."""
    parts = groupby(rows, lambda row: (row.part, row.phase))
    return [list(group) for (_, found), group in parts if found == phase]


def seconds(window: Rows) -> float:
    return window[-1].seconds - window[0].seconds


def counter_joules(window: Rows) -> float | None:
    """The counter's last value less its first; None where one is missing or it ran backwards (a reset)."""
    values = [row.counter_millijoules for row in window]
    if values[0] is None or values[-1] is None:
        return None
    known = [value for value in values if value is not None]
    if any(later < earlier for earlier, later in pairwise(known)):
        return None
    return (known[-1] - known[0]) / 1e3


def trapezoid_joules(window: Rows) -> float | None:
    """Power integrated over the real timestamps, both edges in; None where a sample is missing."""
    total = 0.0
    for before, after in pairwise(window):
        if before.power_watts is None or after.power_watts is None:
            return None
        total += (before.power_watts + after.power_watts) / 2 * (after.seconds - before.seconds)
    return total if len(window) > 1 else None


def source(rows: Rows) -> str | None:
    """What the energy is read from: the counter where the device has one, else the power samples."""
    if any(row.counter_millijoules is not None for row in rows):
        return "counter"
    return "trapezoid" if any(row.power_watts is not None for row in rows) else None


def energy_joules(found: Sequence[Rows], of: str | None) -> float | None:
    """Energy of windows taken together, from the `source` that is told; None where one of them was not measured, or
    where all of them together are shorter than `MIN_SECONDS`."""
    measure = {"counter": counter_joules, "trapezoid": trapezoid_joules}.get(of or "")
    if measure is None or sum(map(seconds, found)) < MIN_SECONDS:
        return None
    parts = [measure(window) for window in found]
    return None if None in parts else sum(part for part in parts if part is not None)


def idle_watts(rows: Rows) -> float | None:
    """What the device takes while nothing runs; None where that was not measured."""
    idle = windows(rows, "idle")
    joules = energy_joules(idle, source(rows))
    return None if joules is None else joules / sum(map(seconds, idle))


@dataclass(frozen=True)
class Sampling:
    """How regular the samples of windows were: those that came late, and the intervals in which none came."""

    samples: int
    late: int
    missed: int
    longest_gap_seconds: float


def sampling(found: Sequence[Rows], interval: float) -> Sampling:
    gaps = [after.seconds - before.seconds for window in found for before, after in pairwise(window)]
    return Sampling(
        samples=sum(map(len, found)),
        late=sum(gap > LATE * interval for gap in gaps),
        missed=sum(max(0, round(gap / interval) - 1) for gap in gaps),
        longest_gap_seconds=max(gaps, default=0.0),
    )


def energy(rows: Rows, interval: float) -> dict[str, Any]:
    """The energy of a run: gross by both methods, net of the idle power, and how it was sampled."""
    train, evaluation = windows(rows, "train"), windows(rows, "eval")
    of = source(rows)
    gross = energy_joules(train, of)
    by = {name: energy_joules(train, name) for name in ("counter", "trapezoid")}
    idle = idle_watts(rows)
    spent = sum(map(seconds, train))
    return {
        "source": of,
        "train_joules": gross,
        "train_net_joules": None if gross is None or idle is None else gross - idle * spent,
        "train_counter_joules": by["counter"],
        "train_trapezoid_joules": by["trapezoid"],
        "counter_over_trapezoid": _ratio(by["counter"], by["trapezoid"]),
        "eval_joules": energy_joules(evaluation, of),
        "power_mean_watts": mean(known((row for window in train for row in window), "power_watts")),
        "idle_watts": idle,
        "idle_seconds": sum(map(seconds, windows(rows, "idle"))),
        "sampling": asdict(sampling(train, interval)),
        "reason": _reason(train, of) if gross is None else None,
    }


def _reason(found: Sequence[Rows], of: str | None) -> str | None:
    """Why a run that a meter read has no energy; None where nothing was read (then the meter knows why)."""
    if of is None:
        return None
    if sum(map(seconds, found)) < MIN_SECONDS:
        return f"training took less than the {MIN_SECONDS:g} s that a meter needs"
    if of == "counter" and all(None not in (w[0].counter_millijoules, w[-1].counter_millijoules) for w in found):
        return "the energy counter ran backwards (the driver was reset)"
    return "a sample is missing (the meter was lost for a while)"


def _ratio(above: float | None, below: float | None) -> float | None:
    return None if above is None or not below else above / below


def known(rows: Iterable[PowerRow], name: str) -> list[float]:
    """A column's values where there are any."""
    return [value for row in rows if (value := getattr(row, name)) is not None]


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def memory(rows: Rows) -> dict[str, float | None]:
    """Mean and peak over the training windows' samples, and what was in use before the model was there."""
    train = known((row for row in rows if row.phase == "train"), "memory_used_mb")
    idle = known((row for row in rows if row.phase == "idle"), "memory_used_mb")
    return {"mean_mb": mean(train), "peak_mb": max(train, default=None), "baseline_mb": mean(idle)}


def conditions(rows: Rows) -> dict[str, Any]:
    """What the device was like while it trained: heat, clock, and the reasons it gave for holding back."""
    train = [row for row in rows if row.phase == "train"]
    heat = known(train, "temperature_celsius")
    reasons = 0
    for row in train:
        reasons |= row.throttle_reasons or 0
    return {
        "temperature_first_celsius": heat[0] if heat else None,
        "temperature_max_celsius": max(heat, default=None),
        "clock_mean_mhz": mean(known(train, "clock_mhz")),
        "throttle_reasons": reasons if known(train, "throttle_reasons") else None,
        "utilization_mean_percent": mean(known(train, "utilization_percent")),
    }
