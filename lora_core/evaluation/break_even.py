"""Break-even: how many times as many epochs an adapter may take before it costs more than full fine-tuning."""

from typing import Literal, TypeVar

Quantity = Literal["time", "energy"]
QUANTITIES: tuple[Quantity, ...] = ("time", "energy")
# The column of `frames.read_costs` that has the cost up to the threshold.
TO_THRESHOLD: dict[Quantity, str] = {"time": "seconds_to_threshold", "energy": "energy"}

Cost = TypeVar("Cost")


def break_even(full: Cost, adapter: Cost) -> Cost:
    """Return the break-even from what an epoch of full fine-tuning costs, and one of the adapter.

    The adapter costs less in total where its epochs, relative to those of full fine-tuning, stay below it. Costs are
    numbers, or arrays of them.
    """
    return full / adapter  # type: ignore[operator]
