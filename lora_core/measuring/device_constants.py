"""How fast a device moves bytes, multiplies matrices and draws random numbers: measured in seconds, not looked up."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from lora_core import device as devices
from lora_core.precision import autocast_type

REPETITIONS = 7  # of which the first two, which load kernels, do not count
# Elements of the copied array and of an array of random numbers, and the width of multiplied matrices. A copy is larger
# than any cache; on a GPU the matrices are large enough for its peak.
COPIED, DRAWN = {"cpu": 1 << 24, "cuda": 1 << 28}, {"cpu": 1 << 22, "cuda": 1 << 26}
WIDTH = {"cpu": 1024, "cuda": 8192}


@dataclass(frozen=True)
class DeviceConstants:
    """What bounds an operation apart from its launch.

    Attributes:
        bytes_per_second: Of a copy, read and written bytes together.
        flops_per_second: Of a product of square matrices, in the precision of training.
        random_numbers_per_second: Of a dropout mask.
    """

    bytes_per_second: float
    flops_per_second: float
    random_numbers_per_second: float


def measure_constants(device: torch.device, precision: str) -> DeviceConstants:
    """Measure the constants; TF32 must have been allowed before, where it is the precision."""
    copied, drawn, width = (sizes[device.type] for sizes in (COPIED, DRAWN, WIDTH))
    source = torch.ones(copied, device=device)
    target, mask = torch.empty_like(source), torch.empty(drawn, device=device)
    kind = autocast_type(precision) or torch.float32
    factors = torch.ones(width, width, device=device, dtype=kind)
    product = torch.empty_like(factors)
    return DeviceConstants(
        bytes_per_second=2 * source.nbytes / _seconds(lambda: target.copy_(source), device),
        flops_per_second=2 * width**3 / _seconds(lambda: torch.mm(factors, factors, out=product), device),
        random_numbers_per_second=drawn / _seconds(lambda: mask.bernoulli_(0.9), device),
    )


def _seconds(operation: Callable[[], Tensor], device: torch.device) -> float:
    """The median time of an operation."""
    times = []
    for _ in range(REPETITIONS):
        devices.synchronize(device)
        started = time.perf_counter()
        operation()
        devices.synchronize(device)
        times.append(time.perf_counter() - started)
    return median(times[2:])
