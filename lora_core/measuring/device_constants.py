"""How fast a device moves bytes, computes and draws random numbers: measured in a second, not looked up.

Its speed changes, by what else runs there or by its temperature. So the constants are measured again between the steps
that they are to predict, and their medians count.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F

from lora_core import device as devices
from lora_core.precision import autocast_type

REPETITIONS = 5  # of which the first two, which load kernels, do not count
CALLS = {"cpu": 1, "cuda": 20}  # in each repetition, so that waiting for a GPU counts little
CALLS_OF_PRODUCTS = {"cpu": 1, "cuda": 4}  # which take longer
# Elements of a copied array. On a CPU small ones fit into its caches, and from 32 MiB on, which lies between the last
# two, the C library maps new pages for every array.
COPIED = {"cpu": (1 << 14, 1 << 18, 1 << 21, 7 << 20, 9 << 20), "cuda": (1 << 26,)}
LARGE = {"cpu": 1 << 27, "cuda": 1 << 26}  # elements of an array that no cache holds
ELEMENTS = {"cpu": 1 << 18, "cuda": 1 << 26}  # of an array for which random numbers, functions or norms are computed
MEMORY_MB = {"cpu": 800, "cuda": 1600}  # that the measurement needs at once, and frees
# Widths of multiplied matrices. On a GPU a small product would measure its launch, which is a constant of its own.
WIDTHS = {"cpu": (8, 16, 32, 64, 256, 1024), "cuda": (4096,)}
BETWEEN = 768  # the width of those between the repetitions
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
        squares_per_second: Elements of a norm.
        launches_ahead: Whether operations are launched while the device works on earlier ones, as on a GPU. If not, a
            launch adds to what an operation takes.
    """

    bytes_per_second: Rates
    in_place_bytes_per_second: float
    flops_per_second: Rates
    functions_per_second: float
    random_numbers_per_second: float
    squares_per_second: float
    launches_ahead: bool


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
    large, elements = torch.ones(LARGE[device.type], device=device), ELEMENTS[device.type]
    values = torch.randn(elements, device=device)
    return DeviceConstants(
        bytes_per_second=[_copies(count, device) for count in COPIED[device.type]],
        in_place_bytes_per_second=2 * large.nbytes / _seconds(lambda: large.mul_(1.0), device),
        flops_per_second=[(width, peak_flops(device, precision, width)) for width in WIDTHS[device.type]],
        functions_per_second=elements / _seconds(lambda: F.gelu(values), device),
        squares_per_second=elements / _seconds(lambda: torch.linalg.vector_norm(values), device),
        random_numbers_per_second=elements / _seconds(_drawing(elements, device), device),
        launches_ahead=device.type == "cuda",
    )


def median_constants(measured: Sequence[DeviceConstants]) -> DeviceConstants:
    """Return the median of each constant over several measurements."""
    return DeviceConstants(
        bytes_per_second=_median_rates([one.bytes_per_second for one in measured]),
        in_place_bytes_per_second=median(one.in_place_bytes_per_second for one in measured),
        flops_per_second=_median_rates([one.flops_per_second for one in measured]),
        functions_per_second=median(one.functions_per_second for one in measured),
        squares_per_second=median(one.squares_per_second for one in measured),
        random_numbers_per_second=median(one.random_numbers_per_second for one in measured),
        launches_ahead=measured[0].launches_ahead,
    )


def _median_rates(measured: Sequence[Rates]) -> Rates:
    return [(same[0][0], median(value for _, value in same)) for same in zip(*measured, strict=True)]


def _copies(elements: int, device: torch.device) -> tuple[float, float]:
    """The bytes that a copy moves, and how many in a second.

    It is a new tensor, as the outputs of operations are: for a large one, a CPU also maps new pages.
    """
    source = torch.ones(elements, device=device)
    moved = 2 * source.nbytes
    repeats = max(1, (1 << 18) // elements)  # of a small array, whose copy takes as long as its call

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
    calls = CALLS_OF_PRODUCTS[device.type]
    seconds = _seconds(lambda: torch.bmm(a, b, out=product), device, calls, after_products=False)
    return 2 * batch * width**3 / seconds


def _drawing(numbers: int, device: torch.device) -> Callable[[], Tensor]:
    """What draws the numbers of a mask: `lora_core.models.dropout` on a CPU, torch's dropout on a GPU."""
    if device.type == "cpu":
        draws = torch.empty(numbers, dtype=torch.int64)
        return lambda: draws.random_(-(2**63), None)
    mask = torch.empty(numbers, device=device)
    return lambda: mask.bernoulli_(0.9)


def _seconds(
    operation: Callable[[], Tensor], device: torch.device, calls: int | None = None, after_products: bool = True
) -> float:
    """The median time of an operation over repetitions, each of so many calls.

    On a CPU a product of matrices comes before each, as in a step: it leaves little of the arrays in the caches.
    """
    times, calls, factor = [], calls or CALLS[device.type], torch.ones(BETWEEN, BETWEEN)
    for _ in range(REPETITIONS):
        if after_products and device.type == "cpu":
            torch.mm(factor, factor)
        devices.synchronize(device)
        started = time.perf_counter()
        for _ in range(calls):
            operation()
        devices.synchronize(device)
        times.append((time.perf_counter() - started) / calls)
    return median(times[2:])
