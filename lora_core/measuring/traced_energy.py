"""The energy and power of a run, as run.json has them."""

from dataclasses import dataclass

from lora_core.measuring.idle_power import IdlePower
from lora_core.measuring.sampling import Sampling


@dataclass(frozen=True)
class TracedEnergy(IdlePower):
    """A run's energy and power; None where it was not measured.

    Attributes:
        source: What the energy is read from: "counter" or "trapezoid".
        train_joules: All training windows, from this source.
        train_net_joules: The same without the idle power.
        train_counter_joules: By the device's counter.
        train_trapezoid_joules: By the power samples.
        counter_over_trapezoid: The ratio of the two.
        counter_tick_seconds: How often the counter advances; None if that was not measured.
        uncertainty_joules: By how much `train_joules` may be wrong, because the counter advances in ticks.
        eval_joules: All evaluation windows, from the source.
        power_mean_watts: `train_joules` / seconds of training.
        sampling: How regular the samples of training were.
        reason: Why there is no energy, if the meter was read.
        net_reason: Why there is none without the idle power, if both were measured.
    """

    source: str | None
    train_joules: float | None
    train_net_joules: float | None
    train_counter_joules: float | None
    train_trapezoid_joules: float | None
    counter_over_trapezoid: float | None
    counter_tick_seconds: float | None
    uncertainty_joules: float | None
    eval_joules: float | None
    power_mean_watts: float | None
    sampling: Sampling
    reason: str | None
    net_reason: str | None
