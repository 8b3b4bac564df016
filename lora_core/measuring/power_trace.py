"""Energy, power and memory of a run from the rows of its power.csv alone, so that anyone can check a trace.

A window lies between two points at which the device had finished its work. The primary energy is the difference of the
device's own counter over the window; windows that follow each other share the reading at their common edge, so that the
training windows add up to the last reading minus the first minus what lies between them. The paper's method, the sum of
power samples over time, is reported next to it: power integrated by the trapezoid rule over the real timestamps, both
edges included. Where power follows from the counter itself, as on a CPU, each sample has the mean since the sample
before, the first of a window has none, and the sum is that of these intervals. A counter that does not advance during
two seconds of work, one that advances by more than the device can draw, and a power of 0 W for two seconds are no
measurements. Neither are a counter and samples that contradict each other, and a mean power above the device's limit.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, pairwise

from lora_core.measuring import counter_ticks
from lora_core.measuring.idle_power import IdlePower
from lora_core.measuring.limits import COUNTER_STEP_SECONDS, DeviceLimits
from lora_core.measuring.sampling import sampling
from lora_core.measuring.traced_energy import TracedEnergy
from lora_core.records import PowerRow

# Shorter windows have no energy, because power readings are averages over about a second. A counter whose tick is known
# is judged by that instead (`counter_ticks.is_too_short`).
MIN_SECONDS = 2.0

# The counter and the samples of the same work contradict each other if their energies differ by more than this factor.
# Windows are compared that are long enough and have enough samples for the trapezoid rule to be right to a third, even
# if the device reports no power at their edges, and in which the counter's ticks account for a quarter at most.
CONTRADICTION = 2.0
COMPARED_SAMPLES = 5
COMPARED_ERROR = 0.25

LESS_THAN_IDLE = "the device drew no more while it trained than when it was idle"
ANY_DEVICE = DeviceLimits()

Rows = Sequence[PowerRow]


def all_windows(rows: Iterable[PowerRow]) -> list[list[PowerRow]]:
    """Return all windows in order."""
    return [list(group) for _, group in groupby(rows, lambda row: (row.part, row.phase))]


def windows(rows: Iterable[PowerRow], phase: str) -> list[list[PowerRow]]:
    """Return the windows of a phase in order; "train" and "eval" have one per epoch."""
    return [window for window in all_windows(rows) if window[0].phase == phase]


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
    pooled = [counter_ticks.with_power_at_both_edges(window) for window in pooled]
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
    window = [limits.without_impossible(row) for row in window]
    if counter_ticks.has_mean_power(window):
        return counter_ticks.sum_of_means(window)
    total = 0.0
    for before, after in pairwise(window):
        if before.power_watts is None or after.power_watts is None:
            return None
        total += (before.power_watts + after.power_watts) / 2 * (after.seconds - before.seconds)
    return total if len(window) > 1 else None


def energy_source(rows: Rows, limits: DeviceLimits = ANY_DEVICE, tick: float | None = None) -> str | None:
    """Return the source of a run's energy: "counter" if the device has one, else "trapezoid" (the power samples).

    A counter that stands still while the run trains is not used if there is power above zero. None if nothing was read,
    or if what was read of the training cannot be true (`contradiction`).
    """
    return None if contradiction(rows, limits, tick) else _energy_source(rows)


def _energy_source(rows: Rows) -> str | None:
    has_counter = any(row.counter_millijoules is not None for row in rows)
    if not any(row.power_watts is not None for row in rows):
        return "counter" if has_counter else None
    train = windows(rows, "train")
    return "counter" if has_counter and (not counter_stands_still(train) or power_is_zero(train)) else "trapezoid"


def contradiction(rows: Rows, limits: DeviceLimits = ANY_DEVICE, tick: float | None = None) -> str | None:
    """Return why what was read of a run's training cannot be true, although each reading can; None if it can."""
    train, source = windows(rows, "train"), _energy_source(rows)
    compared = [window for window in train if seconds(window) >= MIN_SECONDS and len(window) >= COMPARED_SAMPLES]
    error = counter_ticks.edge_seconds(len(compared), tick or COUNTER_STEP_SECONDS)
    if source == "counter" and error <= COMPARED_ERROR * sum(map(seconds, compared)):
        counted, sampled = (energy_joules(compared, name, limits, tick) for name in ("counter", "trapezoid"))
        ratio = _ratio(counted, sampled)
        if ratio is not None and not 1 / CONTRADICTION <= ratio <= CONTRADICTION:
            return (
                f"the energy counter and the power samples of the same training contradict each other ({counted:.4g} "
                f"and {sampled:.4g} J)"
            )
    joules, train_seconds = energy_joules(train, source, limits, tick), sum(map(seconds, train))
    if joules is not None and not limits.sustains(joules, train_seconds):
        return (
            f"the device reported {joules / train_seconds:,.0f} W on average, but cannot draw more than "
            f"{limits.sustained_watts:,.0f} W for long"
        )
    return None


def is_too_short(pooled: Sequence[Rows], source: str | None, tick: float | None = None) -> bool:
    """Return whether several windows together are too short to be measured from `source`."""
    total = sum(map(seconds, pooled))
    if source == "counter" and tick is not None:
        return counter_ticks.is_too_short(total, len(pooled), tick)
    return total < MIN_SECONDS


def energy_joules(
    pooled: Sequence[Rows], source: str | None, limits: DeviceLimits = ANY_DEVICE, tick: float | None = None
) -> float | None:
    """Return the energy of several windows together, from `source` ("counter" or "trapezoid").

    It is None if one of the windows was not measured, if the source reports nothing while the device works or more than
    it can draw, or if all windows together are too short; `tick` is the counter's, None if it is not known.
    """
    measure = {"counter": counter_joules, "trapezoid": trapezoid_joules}.get(source or "")
    if measure is None or is_too_short(pooled, source, tick):
        return None
    if (counter_stands_still if source == "counter" else power_is_zero)(pooled):
        return None
    parts = [part for window in pooled if (part := measure(window, limits)) is not None]
    total = sum(parts)
    return total if len(parts) == len(pooled) and total > 0 else None


def uncertainty_joules(
    pooled: Sequence[Rows], joules: float | None, tick: float | None, watts_between: float | None
) -> float | None:
    """Return by how much the counter's energy of several windows may be wrong; None if that is not known."""
    if joules is None or tick is None:
        return None
    return counter_ticks.uncertainty_joules(joules, sum(map(seconds, pooled)), len(pooled), tick, watts_between)


def phase_watts(rows: Rows, phase: str, limits: DeviceLimits = ANY_DEVICE, tick: float | None = None) -> float | None:
    """Return the mean power of the device in the windows of a phase; None if that was not measured."""
    found = windows(rows, phase)
    joules = energy_joules(found, energy_source(rows, limits, tick), limits, tick)
    return None if joules is None else joules / sum(map(seconds, found))


def idle_power(rows: Rows, limits: DeviceLimits = ANY_DEVICE, tick: float | None = None) -> IdlePower:
    """Return the idle power that a run measured itself."""
    return IdlePower(
        idle_watts=phase_watts(rows, "idle", limits, tick),
        idle_context_watts=phase_watts(rows, "idle_context", limits, tick),
        idle_seconds=sum(map(seconds, windows(rows, "idle"))),
        net_of="idle_context" if any(row.phase == "idle_context" for row in rows) else "idle",
    )


def energy(
    rows: Rows,
    interval: float,
    limits: DeviceLimits = ANY_DEVICE,
    tick: float | None = None,
    idle: IdlePower | None = None,
) -> TracedEnergy:
    """Return a run's energy: gross by both methods, net of the idle power, and how it was sampled.

    `idle` is the idle power that the run used; None takes what its rows say.
    """
    rows = [limits.without_impossible(row) for row in rows]
    train, evaluation = windows(rows, "train"), windows(rows, "eval")
    primary = energy_source(rows, limits, tick)
    gross = energy_joules(train, primary, limits, tick)
    by_source = {name: energy_joules(train, name, limits, tick) for name in ("counter", "trapezoid")}
    idle = idle or idle_power(rows, limits, tick)
    train_seconds = sum(map(seconds, train))
    net = net_joules(gross, idle, train_seconds)
    return TracedEnergy(
        source=primary,
        train_joules=gross,
        train_net_joules=net,
        train_counter_joules=by_source["counter"],
        train_trapezoid_joules=by_source["trapezoid"],
        counter_over_trapezoid=_ratio(by_source["counter"], by_source["trapezoid"]),
        counter_tick_seconds=tick,
        uncertainty_joules=uncertainty_joules(
            train, gross, tick if primary == "counter" else None, phase_watts(rows, "eval", limits, tick)
        ),
        eval_joules=energy_joules(evaluation, primary, limits, tick),
        power_mean_watts=_ratio(gross, train_seconds),
        **vars(idle),
        sampling=sampling(train, interval),
        reason=_reason(rows, primary, limits, tick) if gross is None else None,
        net_reason=LESS_THAN_IDLE if net is None and gross is not None and idle.net_watts is not None else None,
    )


def net_joules(joules: float | None, idle: IdlePower, train_seconds: float) -> float | None:
    """Return an energy without the idle power; None if one was not measured, or if nothing is left."""
    if joules is None or idle.net_watts is None:
        return None
    net = joules - idle.net_watts * train_seconds
    return net if net > 0 else None


def _reason(rows: Rows, source: str | None, limits: DeviceLimits, tick: float | None) -> str | None:
    """Why a run whose meter was read has no energy; None if nothing was read (then the meter has the reason)."""
    if source is None:
        return contradiction(rows, limits, tick)
    train = windows(rows, "train")
    if is_too_short(train, source, tick):
        if source == "trapezoid" or tick is None:
            return f"training took less than the {MIN_SECONDS:g} s that a meter needs"
        trained = sum(map(seconds, train))
        return f"training took {trained:.2g} s, too short for an energy counter that advances every {tick:.2g} s"
    if source == "counter" and counter_stands_still(train):
        return f"the energy counter did not advance during {MIN_SECONDS:g} s of training or longer"
    if source == "trapezoid" and power_is_zero(train):
        return f"the device reported 0 W during {MIN_SECONDS:g} s of training or longer"
    if source == "counter" and any(counter_jumps(window, limits) for window in train):
        return f"the energy counter jumped by more than the device can draw ({limits.power_watts:,.0f} W)"
    if any((counter_joules if source == "counter" else trapezoid_joules)(window, limits) is None for window in train):
        edges = [row.counter_millijoules for window in train for row in (window[0], window[-1])]
        if source == "counter" and None not in edges:
            return "the energy counter ran backwards (the driver was reset, or a CPU's counter may have wrapped unseen)"
        return "a sample is missing (the meter was lost for a while)"
    return "the energy counter did not advance while the run trained"


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    return None if numerator is None or not denominator else numerator / denominator
