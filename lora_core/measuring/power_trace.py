"""Energy, power and memory of a run from the rows of its power.csv alone, so that anyone can check a trace.

A window lies between two points at which the device had finished its work. The primary energy is the difference of the
device's own counter over the window. The paper's method, the sum of power samples over time, is reported next to it:
power integrated by the trapezoid rule over the real timestamps, both edges included. A counter that does not advance
during two seconds of work, one that advances by more than the device can draw, and a power of 0 W for two seconds are
no measurements.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from lora_core.measuring.limits import DeviceLimits
from lora_core.measuring.sampling import Sampling, sampling
from lora_core.records import PowerRow

MIN_SECONDS = 2.0  # shorter windows have no energy: power readings are averages over about a second

ANY_DEVICE = DeviceLimits()

Rows = Sequence[PowerRow]


def windows(rows: Iterable[PowerRow], phase: str) -> list[list[PowerRow]]:
    """Return the windows of a phase in order; "train" and "eval" have one per epoch."""
    groups = groupby(rows, lambda row: (row.part, row.phase))
    return [list(group) for (_, group_phase), group in groups if group_phase == phase]


def seconds(window: Rows) -> float:
    """Return the length of a window."""
    return window[-1].seconds - window[0].seconds


def _stays(pooled: Sequence[Rows], name: str, is_dead: Callable[[float, float], bool]) -> bool:
    """Whether a column is dead, judged by two consecutive values, for `MIN_SECONDS` of the windows or longer."""
    dead_seconds = 0.0
    rows = [(row, number) for number, window in enumerate(pooled) for row in window]
    for (before, window), (after, next_window) in pairwise(rows):
        values = getattr(before, name), getattr(after, name)
        if None in values:
            continue
        if not is_dead(*values):
            dead_seconds = 0.0
        elif window == next_window:  # the time between two windows is not work
            dead_seconds += after.seconds - before.seconds
        if dead_seconds >= MIN_SECONDS:
            return True
    return False


def counter_stands_still(pooled: Sequence[Rows]) -> bool:
    """Return whether the energy counter did not advance over `MIN_SECONDS` of work or longer."""
    return _stays(pooled, "counter_millijoules", lambda before, after: before == after)


def power_is_zero(pooled: Sequence[Rows]) -> bool:
    """Return whether the device reported no power over `MIN_SECONDS` of work or longer."""
    return _stays(pooled, "power_watts", lambda before, after: before <= 0 and after <= 0)


def counter_jumps(window: Rows, limits: DeviceLimits) -> bool:
    """Return whether the energy counter advanced by more than the device can draw, in one step or altogether."""
    known = [(row.seconds, row.counter_millijoules) for row in window if row.counter_millijoules is not None]
    steps = [*pairwise(known), (known[0], known[-1])] if known else []
    return any(not limits.allows_joules((new - old) / 1e3, after - before) for (before, old), (after, new) in steps)


def counter_joules(window: Rows, limits: DeviceLimits = ANY_DEVICE) -> float | None:
    """Return the counter's last value minus its first; None if one is missing or the counter was reset or jumped."""
    values = [row.counter_millijoules for row in window]
    if values[0] is None or values[-1] is None:
        return None
    known = [value for value in values if value is not None]
    if any(later < earlier for earlier, later in pairwise(known)) or counter_jumps(window, limits):
        return None
    return (known[-1] - known[0]) / 1e3


def trapezoid_joules(window: Rows, limits: DeviceLimits = ANY_DEVICE) -> float | None:
    """Return power integrated over the real timestamps, both edges included; None if a sample is missing."""
    total = 0.0
    for before, after in pairwise(map(limits.without_impossible, window)):
        if before.power_watts is None or after.power_watts is None:
            return None
        total += (before.power_watts + after.power_watts) / 2 * (after.seconds - before.seconds)
    return total if len(window) > 1 else None


def energy_source(rows: Rows) -> str | None:
    """Return the source of a run's energy: "counter" if the device has one, else "trapezoid" (the power samples).

    A counter that stands still while the run trains is not used if there is power above zero.
    """
    has_counter = any(row.counter_millijoules is not None for row in rows)
    if not any(row.power_watts is not None for row in rows):
        return "counter" if has_counter else None
    train = windows(rows, "train")
    return "counter" if has_counter and (not counter_stands_still(train) or power_is_zero(train)) else "trapezoid"


def energy_joules(pooled: Sequence[Rows], source: str | None, limits: DeviceLimits = ANY_DEVICE) -> float | None:
    """Return the energy of several windows together, from `source` ("counter" or "trapezoid").

    It is None if one of the windows was not measured, if the source reports nothing while the device works or more than
    it can draw, or if all windows together are shorter than `MIN_SECONDS`.
    """
    measure = {"counter": counter_joules, "trapezoid": trapezoid_joules}.get(source or "")
    if measure is None or sum(map(seconds, pooled)) < MIN_SECONDS:
        return None
    if (counter_stands_still if source == "counter" else power_is_zero)(pooled):
        return None
    parts = [measure(window, limits) for window in pooled]
    return None if None in parts else sum(part for part in parts if part is not None)


def idle_watts(rows: Rows, limits: DeviceLimits = ANY_DEVICE) -> float | None:
    """Return the mean power of the device while nothing runs; None if that was not measured."""
    idle = windows(rows, "idle")
    joules = energy_joules(idle, energy_source(rows), limits)
    return None if joules is None else joules / sum(map(seconds, idle))


@dataclass(frozen=True)
class TracedEnergy:
    """A run's energy and power; None where it was not measured.

    Attributes:
        source: What the energy is read from: "counter" or "trapezoid".
        train_joules: All training windows, from this source.
        train_net_joules: The same without the idle power.
        train_counter_joules: By the device's counter.
        train_trapezoid_joules: By the power samples.
        counter_over_trapezoid: The ratio of the two.
        eval_joules: All evaluation windows, from the source.
        power_mean_watts: Mean of the samples while training.
        idle_watts: Mean power before the model was loaded.
        idle_seconds: For how long it was measured.
        sampling: How regular the samples of training were.
        reason: Why there is no energy, if the meter was read.
    """

    source: str | None
    train_joules: float | None
    train_net_joules: float | None
    train_counter_joules: float | None
    train_trapezoid_joules: float | None
    counter_over_trapezoid: float | None
    eval_joules: float | None
    power_mean_watts: float | None
    idle_watts: float | None
    idle_seconds: float
    sampling: Sampling
    reason: str | None


def energy(rows: Rows, interval: float, limits: DeviceLimits = ANY_DEVICE) -> TracedEnergy:
    """Return a run's energy: gross by both methods, net of the idle power, and how it was sampled."""
    rows = [limits.without_impossible(row) for row in rows]
    train, evaluation = windows(rows, "train"), windows(rows, "eval")
    primary = energy_source(rows)
    gross = energy_joules(train, primary, limits)
    by_source = {name: energy_joules(train, name, limits) for name in ("counter", "trapezoid")}
    idle = idle_watts(rows, limits)
    train_seconds = sum(map(seconds, train))
    return TracedEnergy(
        source=primary,
        train_joules=gross,
        train_net_joules=None if gross is None or idle is None else gross - idle * train_seconds,
        train_counter_joules=by_source["counter"],
        train_trapezoid_joules=by_source["trapezoid"],
        counter_over_trapezoid=_ratio(by_source["counter"], by_source["trapezoid"]),
        eval_joules=energy_joules(evaluation, primary, limits),
        power_mean_watts=None
        if power_is_zero(train)
        else mean(present_values((row for window in train for row in window), "power_watts")),
        idle_watts=idle,
        idle_seconds=sum(map(seconds, windows(rows, "idle"))),
        sampling=sampling(train, interval),
        reason=_reason(train, primary, limits) if gross is None else None,
    )


def _reason(train: Sequence[Rows], source: str | None, limits: DeviceLimits) -> str | None:
    """Why a run whose meter was read has no energy; None if nothing was read (then the meter has the reason)."""
    if source is None:
        return None
    if sum(map(seconds, train)) < MIN_SECONDS:
        return f"training took less than the {MIN_SECONDS:g} s that a meter needs"
    if source == "counter" and counter_stands_still(train):
        return f"the energy counter did not advance during {MIN_SECONDS:g} s of training or longer"
    if source == "trapezoid" and power_is_zero(train):
        return f"the device reported 0 W during {MIN_SECONDS:g} s of training or longer"
    if source == "counter" and any(counter_jumps(window, limits) for window in train):
        return f"the energy counter jumped by more than the device can draw ({limits.power_watts:,.0f} W)"
    if source == "counter" and all(None not in (w[0].counter_millijoules, w[-1].counter_millijoules) for w in train):
        return "the energy counter ran backwards (the driver was reset)"
    return "a sample is missing (the meter was lost for a while)"


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    return None if numerator is None or not denominator else numerator / denominator


def present_values(rows: Iterable[PowerRow], name: str) -> list[float]:
    """Return the values of a column, without those that are None."""
    return [value for row in rows if (value := getattr(row, name)) is not None]


def mean(values: Sequence[float]) -> float | None:
    """Return the mean of values; None if there are none."""
    return sum(values) / len(values) if values else None


def memory(rows: Rows) -> dict[str, float | None]:
    """Return the mean and the peak of the samples while training, and the mean of those before the model was loaded."""
    train = present_values((row for row in rows if row.phase == "train"), "memory_used_mb")
    idle = present_values((row for row in rows if row.phase == "idle"), "memory_used_mb")
    return {"mean_mb": mean(train), "peak_mb": max(train, default=None), "baseline_mb": mean(idle)}


def conditions(rows: Rows) -> dict[str, float | None]:
    """Return the device's conditions while it trained: temperature, clock, utilization and throttle reasons."""
    train = [row for row in rows if row.phase == "train"]
    temperatures = present_values(train, "temperature_celsius")
    reasons = 0
    for row in train:
        reasons |= row.throttle_reasons or 0
    return {
        "temperature_first_celsius": temperatures[0] if temperatures else None,
        "temperature_max_celsius": max(temperatures, default=None),
        "clock_mean_mhz": mean(present_values(train, "clock_mhz")),
        "throttle_reasons": reasons if present_values(train, "throttle_reasons") else None,
        "utilization_mean_percent": mean(present_values(train, "utilization_percent")),
    }
