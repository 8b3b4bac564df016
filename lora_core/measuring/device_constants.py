"""How fast a device moves bytes, computes and draws random numbers: measured in seconds, not looked up."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lora_core import device as devices
from lora_core.precision import autocast_type

REPETITIONS = 7  # of which the first two, which load kernels, do not count
CALLS = 5  # in each repetition, so that waiting for a GPU counts little
# Elements of a copied array: on a CPU also of arrays that fit into its caches; and of other arrays, larger than those.
COPIED = {"cpu": (1 << 14, 1 << 18, 1 << 21, 1 << 24), "cuda": (1 << 28,)}
LARGE, DRAWN = {"cpu": 1 << 27, "cuda": 1 << 28}, {"cpu": 1 << 22, "cuda": 1 << 26}
# Widths of multiplied matrices. On a GPU a small product would measure its launch, which is a constant of its own.
WIDTHS = {"cpu": (8, 16, 32, 64, 256, 1024), "cuda": (8192,)}
BATCHED_WIDTH = 256  # narrower products are batches of as much arithmetic, because one would measure its call

# Pairs of a size and what is done in a second at it, by rising size.
Rates = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class DeviceConstants:
    """What bounds an operation apart from its launch.

    Attributes:
        bytes_per_second: Of a copy, read and written bytes together, by their number.
        in_place_bytes_per_second: Of an array larger than any cache that is changed in place.
        flops_per_second: Of products of square matrices in the precision of training, by their width.
        functions_per_second: Elements of an activation function.
        random_numbers_per_second: As dropout draws them on this device: 64 bits each on a CPU, where four elements of
            a mask share one.
    """

    bytes_per_second: Rates
    in_place_bytes_per_second: float
    flops_per_second: Rates
    functions_per_second: float
    random_numbers_per_second: float


def rate(rates: Rates, size: float) -> float:
    """Return what is done in a second at a size: a line between those measured, on logarithmic axes."""
    below, above = rates[0], rates[-1]
    if size <= below[0]:
        return below[1]
    for above in rates:
        if size < above[0]:
            share = math.log(size / below[0]) / math.log(above[0] / below[0])
            return float(below[1] * (above[1] / below[1]) ** share)
        below = above
    return above[1]


def measure_constants(device: torch.device, precision: str) -> DeviceConstants:
    """Measure the constants; TF32 must have been allowed before, where it is the precision."""
    large, drawn = torch.ones(LARGE[device.type], device=device), DRAWN[device.type]
    values = torch.randn(drawn, device=device)
    return DeviceConstants(
        bytes_per_second=[_copies(elements, device) for elements in COPIED[device.type]],
        in_place_bytes_per_second=2 * large.nbytes / _seconds(lambda: large.mul_(1.0), device),
        flops_per_second=[(width, peak_flops(device, precision, width)) for width in WIDTHS[device.type]],
        functions_per_second=drawn / _seconds(lambda: F.gelu(values), device),
        random_numbers_per_second=drawn / _seconds(_drawing(drawn, device), device),
    )


def _copies(elements: int, device: torch.device) -> tuple[float, float]:
    """The bytes that a copy moves, and how many in a second.

    It is a new tensor, as the outputs of operations are: for a large one, a CPU also maps new pages.
    """
    source = torch.ones(elements, device=device)
    moved = 2 * source.nbytes
    repeats = max(1, COPIED[device.type][-1] // elements // 8)  # a small array stays in the cache

    def copy() -> Tensor:
        for _ in range(repeats - 1):
            source.clone()
        return source.clone()

    return moved, repeats * moved / _seconds(copy, device)


def peak_flops(device: torch.device, precision: str, width: int) -> float:
    """Return the operations per second of products of two square matrices; TF32 must have been allowed before."""
    kind, batch = autocast_type(precision) or torch.float32, max(1, (BATCHED_WIDTH // width) ** 3)
    # Random numbers, because a GPU draws less power for equal ones, and is then faster than in training.
    a, b = (torch.randn(batch, width, width, device=device).to(kind) for _ in range(2))
    product = torch.empty_like(a)
    return 2 * batch * width**3 / _seconds(lambda: torch.bmm(a, b, out=product), device)


def _drawing(numbers: int, device: torch.device) -> Callable[[], Tensor]:
    """What draws the numbers of a mask: `lora_core.models.dropout` on a CPU, torch's dropout on a GPU."""
    if device.type == "cpu":
        draws = torch.empty(numbers, dtype=torch.int64)
        return lambda: draws.random_(-(2**63), None)
    mask = torch.empty(numbers, device=device)
    return lambda: mask.bernoulli_(0.9)


def _seconds(operation: Callable[[], Tensor], device: torch.device) -> float:
    """The least time of an operation: what the device can do, not what others leave of it."""
    times = []
    for _ in range(REPETITIONS):
        devices.synchronize(device)
        started = time.perf_counter()
        for _ in range(CALLS):
            operation()
        devices.synchronize(device)
        times.append((time.perf_counter() - started) / CALLS)
    return min(times[2:])
