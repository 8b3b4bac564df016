"""A model of the training step: what each operation costs, from shapes and a few measured constants of the device.

An operation takes the largest of three times, to move its bytes, to do its arithmetic and to draw its random numbers;
and its launch, which a CPU does first and a GPU meanwhile, so that the largest of the four counts there. Operations
follow each other, so a part of the step takes the sum. The term that contributes most is what the part waits for.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lora_core.evaluation.operations import FLOAT_BYTES, Operation, Recorder
from lora_core.evaluation.regime_record import BOUNDS
from lora_core.measuring.device_constants import DeviceConstants, rate
from lora_core.measuring.memory import OPTIMIZER_TENSORS
from lora_core.measuring.predicted_memory import FusedAttention, state_without_data
from lora_core.training.steps import compute_loss, forward

PARTS = ("forward", "backward", "update")
# Float32 values that are read and written for each trained parameter: in an update, beside the optimizer's state, the
# gradient that is clipped in place, then gradient and parameter; and where the gradients of micro-batches are added up.
CLIPPED, UPDATED, ADDED = 2, 3, 3


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
            "launches": launch if device.launches_ahead else 0.0,
            "bytes": operation.moved_bytes / _bytes_per_second(operation, device),
            "arithmetic": operation.flops / rate(device.flops_per_second, operation.width)
            + operation.functions / device.functions_per_second
            + operation.squares / device.squares_per_second,
            "random numbers": operation.random_numbers / device.random_numbers_per_second,
        }
        longest = max(BOUNDS, key=terms.__getitem__)
        waited[longest] += terms[longest]
        if not device.launches_ahead:
            waited["launches"] += launch
    return waited


def _bytes_per_second(operation: Operation, device: DeviceConstants) -> float:
    if operation.in_place:
        return device.in_place_bytes_per_second
    return rate(device.bytes_per_second, operation.moved_bytes)


def count_step(
    model: nn.Module,
    batch: tuple[int, int],
    device_type: str,
    precision: str,
    optimizer: str = "adamw",
    clips: bool = True,
) -> StepCount | None:
    """Return the operations of a step on a batch (rows, tokens) without padding, on "cpu" or "cuda", from shapes alone.

    The model may be on the meta device; on CUDA its attention is the fused one. `clips` says whether gradients are
    clipped to a norm. None for a model that does not run on shapes alone.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    device, step = torch.device(device_type), _Loss(model.train(), precision)

    state = state_without_data(step, mode, device)
    try:
        with mode, FusedAttention() if device_type == "cuda" else nullcontext():
            ids = torch.zeros(batch, dtype=torch.int64, device=device)
            with Recorder(device_type) as first:
                loss = torch.func.functional_call(step, state, (ids,))
            with Recorder(device_type) as second:
                loss.backward()
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return None
    return StepCount(tuple(first.operations), tuple(second.operations), _update(_trained(model), optimizer, clips))


def count_divided_step(
    model: nn.Module,
    batch: tuple[int, int],
    micro: int,
    device_type: str,
    precision: str,
    optimizer: str = "adamw",
    clips: bool = True,
) -> StepCount | None:
    """Return the operations of a step whose batch (rows, tokens) is computed in micro-batches; see `count_step`.

    Each micro-batch, the last of which may be smaller, has a forward and a backward pass, and from the second on adds
    its gradients to those before; then comes one update.
    """
    rows, tokens = batch
    whole, rest = divmod(rows, micro)
    sizes = [micro] * whole + ([rest] if rest else [])
    counts = {
        size: count_step(model, (size, tokens), device_type, precision, optimizer, clips)
        for size in dict.fromkeys(sizes)
    }
    known = [count for size in sizes if (count := counts[size]) is not None]
    if len(known) < len(sizes):
        return None
    forwards, backwards = ([one for count in known for one in getattr(count, part)] for part in PARTS[:2])
    added = [Operation(FLOAT_BYTES * ADDED * count, in_place=True) for count in _trained(model)]
    return StepCount(tuple(forwards), (*backwards, *added * (len(sizes) - 1)), known[0].update)


def _trained(model: nn.Module) -> list[int]:
    """The elements of each trained tensor."""
    return [p.numel() for p in model.parameters() if p.requires_grad]


def _update(trained: Iterable[int], optimizer: str, clips: bool) -> tuple[Operation, ...]:
    """For each trained tensor the norm of its gradient, if gradients are clipped; then it is clipped and updated."""
    values = CLIPPED * clips + UPDATED + 2 * OPTIMIZER_TENSORS[optimizer]
    operations = []
    for count in trained:
        if clips:
            operations.append(Operation(FLOAT_BYTES * count, squares=count))
        operations.append(Operation(FLOAT_BYTES * values * count, in_place=True))
    return tuple(operations)


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
