"""A model of the training step: what each operation costs, from shapes and a few measured constants of the device.

An operation takes the largest of four times: to launch it, to move its bytes, to do its arithmetic and to draw its
random numbers. Operations follow each other, so a part of the step takes the sum. The term that contributes most is
what the part waits for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lora_core.evaluation.regime_record import BOUNDS
from lora_core.measuring.device_constants import DeviceConstants, rate
from lora_core.measuring.memory import OPTIMIZER_TENSORS
from lora_core.measuring.predicted_memory import FusedAttention, state_without_data
from lora_core.training.steps import compute_loss, forward

PARTS = ("forward", "backward", "update")
FLOAT_BYTES = 4
# Float32 values that an update reads and writes for each trained parameter, beside those of the optimizer's state,
# which are read and written: the gradient for its norm, the gradient clipped in place, then gradient and parameter.
CLIPPED, UPDATED = 3, 3
RANDOM = {
    "aten::bernoulli_", "aten::bernoulli", "aten::native_dropout", "aten::rand_like", "aten::rand", "aten::random_",
}  # fmt: skip
FUNCTIONS = {
    "aten::gelu", "aten::gelu_backward", "aten::_softmax", "aten::exp", "aten::tanh", "aten::erf", "aten::silu",
    "aten::silu_backward", "aten::sigmoid",
}  # fmt: skip
CREATED_EMPTY = {"aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty", "aten::detach"}


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        flops: Floating-point operations of a product of matrices.
        moved_bytes: Read and written.
        random_numbers: That are drawn.
        width: The smallest dimension of the matrices.
        functions: Elements of which an exponential function or the like is computed.
        in_place: Whether arrays are changed in place that no cache holds, as in an update.
    """

    flops: float
    moved_bytes: float
    random_numbers: float = 0.0
    width: float = math.inf
    functions: float = 0.0
    in_place: bool = False


@dataclass(frozen=True)
class LaunchCosts:
    """Seconds of an operation that computes almost nothing, by part; of the update, for each trained tensor."""

    forward: float
    backward: float
    update: float

    @classmethod
    def same(cls, seconds: float) -> LaunchCosts:
        """Return costs that are equal in every part, as those of a CUDA graph."""
        return cls(seconds, seconds, seconds)


# The predicted seconds of a part of a step by what its operations wait for: their sum is the part's time.
Prediction = dict[str, float]


@dataclass(frozen=True)
class StepCount:
    """The operations of a training step by its parts."""

    forward: tuple[Operation, ...]
    backward: tuple[Operation, ...]
    update: tuple[Operation, ...]

    def predict(self, launches: LaunchCosts, device: DeviceConstants) -> dict[str, Prediction]:
        """Return the prediction of each part."""
        return {part: _predict(getattr(self, part), getattr(launches, part), device) for part in PARTS}


def _predict(operations: Iterable[Operation], launch: float, device: DeviceConstants) -> Prediction:
    waited: Prediction = dict.fromkeys(BOUNDS, 0.0)
    for operation in operations:
        terms: Prediction = {
            "launches": launch,
            "bytes": operation.moved_bytes / _bytes_per_second(operation, device),
            "arithmetic": operation.flops / rate(device.flops_per_second, operation.width)
            + operation.functions / device.functions_per_second,
            "random numbers": operation.random_numbers / device.random_numbers_per_second,
        }
        longest = max(BOUNDS, key=terms.__getitem__)
        waited[longest] += terms[longest]
    return waited


def _bytes_per_second(operation: Operation, device: DeviceConstants) -> float:
    if operation.in_place:
        return device.in_place_bytes_per_second
    return rate(device.bytes_per_second, operation.moved_bytes)


def count_step(
    model: nn.Module, batch: tuple[int, int], device_type: str, precision: str, optimizer: str = "adamw"
) -> StepCount | None:
    """Return the operations of a step on a batch (rows, tokens) without padding, on "cpu" or "cuda", from shapes alone.

    The model may be on the meta device; on CUDA its attention is the fused one. None for a model that does not run on
    shapes alone.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    device, step = torch.device(device_type), _Loss(model.train(), precision)

    state = state_without_data(step, mode, device)
    try:
        with mode, FusedAttention() if device_type == "cuda" else nullcontext():
            ids = torch.zeros(batch, dtype=torch.int64, device=device)
            with Recorder() as first:
                loss = torch.func.functional_call(step, state, (ids,))
            with Recorder() as second:
                loss.backward()
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return None
    trained = [p.numel() for p in model.parameters() if p.requires_grad]
    return StepCount(tuple(first.operations), tuple(second.operations), _update(trained, optimizer))


def count_divided_step(
    model: nn.Module, batch: tuple[int, int], micro: int, device_type: str, precision: str, optimizer: str = "adamw"
) -> StepCount | None:
    """Return the operations of a step whose batch (rows, tokens) is computed in micro-batches; see `count_step`.

    Each micro-batch, the last of which may be smaller, has a forward and a backward pass; then comes one update.
    """
    rows, tokens = batch
    whole, rest = divmod(rows, micro)
    sizes = [micro] * whole + ([rest] if rest else [])
    counts = {
        size: count_step(model, (size, tokens), device_type, precision, optimizer) for size in dict.fromkeys(sizes)
    }
    known = [count for size in sizes if (count := counts[size]) is not None]
    if len(known) < len(sizes):
        return None
    forwards, backwards = ([one for count in known for one in getattr(count, part)] for part in PARTS[:2])
    return StepCount(tuple(forwards), tuple(backwards), known[0].update)


def _update(trained: Iterable[int], optimizer: str) -> tuple[Operation, ...]:
    """One operation for each trained tensor: it is clipped and updated."""
    values = CLIPPED + UPDATED + 2 * OPTIMIZER_TENSORS[optimizer]
    return tuple(Operation(0.0, values * FLOAT_BYTES * count, in_place=True) for count in trained)


class _Loss(nn.Module):
    """A model with its loss, as a module, so that its parameters can be replaced for one call."""

    def __init__(self, model: nn.Module, precision: str) -> None:
        super().__init__()
        self.model = model
        self._precision = precision

    def forward(self, ids: Tensor) -> Tensor:
        logits = forward(self.model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, self._precision)
        labels = torch.zeros(len(ids), device=ids.device, dtype=torch.float32 if logits.shape[1] == 1 else torch.int64)
        return compute_loss(logits, labels)


class Recorder(TorchDispatchMode):
    """Records what every operation in the block computes, moves and draws, except for views, which do nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from torch.utils.flop_counter import flop_registry

        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func._schema.name
        if func.is_view or name in CREATED_EMPTY:
            return result
        read, written = (_tensors(values) for values in ((args, kwargs), result))
        if not written:
            return result
        count, elements = flop_registry.get(func._overloadpacket), float(sum(map(torch.numel, written.values())))
        self.operations.append(
            Operation(
                flops=float(count(*args, **kwargs, out_val=result)) if count else 0.0,
                moved_bytes=float(sum(map(_bytes, [*read.values(), *written.values()]))),
                random_numbers=elements if name in RANDOM else 0.0,
                width=_width(list(read.values())) if count else math.inf,
                functions=elements if name in FUNCTIONS else 0.0,
            )
        )
        return result


def _width(factors: list[Tensor]) -> float:
    """The smallest dimension of the two matrices of a product, the last of what it reads."""
    first, second = [tensor for tensor in factors if tensor.ndim > 1][-2:]
    return float(min(*first.shape[-2:], *second.shape[-2:]))


def _tensors(values: Any) -> dict[int, Tensor]:
    return {id(leaf): leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)}


def _bytes(tensor: Tensor) -> int:
    """The bytes of a tensor's elements that are stored: one that is expanded is read once."""
    stored = [size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride]
    return math.prod(stored) * tensor.element_size()
