"""The constants of a device that predict its steps, measured again and again between these steps."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING

from lora_core.evaluation.step_model import PARTS, LaunchCosts
from lora_core.evaluation.step_timing import LaunchTimer
from lora_core.measuring.device_constants import DeviceConstants, measure_constants, median_constants

if TYPE_CHECKING:
    import torch

    from lora_core.records import JsonObject
    from lora_core.training.spec import RunSpec


@dataclass(frozen=True)
class Constants:
    """What a device does in a second, and what a launch costs there by execution."""

    device: DeviceConstants
    launches: Mapping[str, LaunchCosts]

    def to_json(self) -> JsonObject:
        """Return them as regimes.json has them."""
        launches = {execution: asdict(costs) for execution, costs in self.launches.items()}
        return asdict(self.device) | {"launches": launches}


def median_of(measured: Sequence[Constants]) -> Constants:
    """Return the median of each constant over several measurements."""
    launches = {
        execution: LaunchCosts(
            *(median(getattr(one.launches[execution], part) for one in measured) for part in PARTS)
        )
        for execution in measured[0].launches
    }  # fmt: skip
    return Constants(median_constants([one.device for one in measured]), launches)


class ConstantsMeter:
    """Measures the constants of a device, each time in about a second.

    A device may be faster in one minute than in the next, by what else runs there or by its temperature, so that
    constants of the first minute would be wrong for the steps of the second.

    Attributes:
        measured: What was measured until now.
        seconds: How long the last measurement took.
    """

    def __init__(self, spec: RunSpec, device: torch.device) -> None:
        self._precision, self._device = spec.precision, device
        self._launch_timer = LaunchTimer(spec, device)
        self.measured: list[Constants] = []
        self.seconds = 0.0

    def measure(self) -> Constants:
        """Return the constants of this moment."""
        started = time.monotonic()
        device = measure_constants(self._device, self._precision)
        self.measured.append(Constants(device, self._launch_timer.costs()))
        self.seconds = time.monotonic() - started
        return self.measured[-1]
