"""Memory and conditions of a device while a run trained, from the rows of its power.csv."""

from collections.abc import Iterable, Sequence

from lora_core.records import PowerRow


def _present_values(rows: Iterable[PowerRow], name: str) -> list[float]:
    """Return the values of a column, without those that are None."""
    return [value for row in rows if (value := getattr(row, name)) is not None]


def _mean(values: Sequence[float]) -> float | None:
    """Return the mean of values; None if there are none."""
    return sum(values) / len(values) if values else None


def memory(rows: Sequence[PowerRow]) -> dict[str, float | None]:
    """Return the mean and the peak of the samples while training, and the mean of those before the model was loaded.

    All are None if nothing but 0 was read while the model trained, which then is no reading.
    """
    train = _present_values((row for row in rows if row.phase == "train"), "memory_used_mb")
    idle = _present_values((row for row in rows if row.phase == "idle"), "memory_used_mb")
    if train and not any(train):
        train = idle = []
    return {"mean_mb": _mean(train), "peak_mb": max(train, default=None), "baseline_mb": _mean(idle)}


def conditions(rows: Sequence[PowerRow]) -> dict[str, float | None]:
    """Return the device's conditions while it trained: temperature, clock, utilization and throttle reasons."""
    train = [row for row in rows if row.phase == "train"]
    temperatures = _present_values(train, "temperature_celsius")
    reasons = 0
    for row in train:
        reasons |= row.throttle_reasons or 0
    return {
        "temperature_first_celsius": temperatures[0] if temperatures else None,
        "temperature_max_celsius": max(temperatures, default=None),
        "clock_mean_mhz": _mean(_present_values(train, "clock_mhz")),
        "throttle_reasons": reasons if _present_values(train, "throttle_reasons") else None,
        "utilization_mean_percent": _mean(_present_values(train, "utilization_percent")),
    }
