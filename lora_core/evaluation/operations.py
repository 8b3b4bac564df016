"""What the operations of a training step compute, move and draw, counted on tensors without data.

A GPU reads and writes each byte once. On a CPU torch does more, and it is counted as that: new memory is cleared by the
system first, integers and booleans take as long as float32 at least, normalizations pass over their tensors twice, and
a product to which a bias is added begins with a copy of the bias.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

RANDOM = {
    "aten::bernoulli_", "aten::bernoulli", "aten::native_dropout", "aten::rand_like", "aten::rand", "aten::random_",
}  # fmt: skip
# Exponential functions and the like that are computed for each element of the result.
FUNCTIONS = {
    "aten::gelu": 1, "aten::gelu_backward": 2, "aten::_softmax": 1, "aten::exp": 1, "aten::tanh": 1, "aten::erf": 1,
    "aten::silu": 1, "aten::silu_backward": 1, "aten::sigmoid": 1,
}  # fmt: skip
NORMALIZATIONS = {
    "aten::native_layer_norm", "aten::native_layer_norm_backward", "aten::_softmax", "aten::_softmax_backward_data",
}  # fmt: skip
LOOKUPS = {"aten::embedding", "aten::index_select", "aten::gather", "aten::index"}  # read as much as they write
WRITE_ONLY = {
    "aten::zeros_like", "aten::ones_like", "aten::full_like", "aten::zero_", "aten::fill_", "aten::bernoulli_",
    "aten::rand_like", "aten::random_",
}  # fmt: skip
DO_NOTHING = {
    "aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty", "aten::detach", "aten::_unsafe_view",
}  # fmt: skip
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        moved_bytes: Read and written.
        flops: Floating-point operations of a product of matrices.
        random_numbers: That are drawn.
        width: The smallest dimension of the matrices.
        functions: Exponential functions and the like that are computed.
        squares: Elements whose squares are added up, for a norm.
        in_place: Whether arrays are changed in place that no cache holds, as in an update.
    """

    moved_bytes: float
    flops: float = 0.0
    random_numbers: float = 0.0
    width: float = math.inf
    functions: float = 0.0
    squares: float = 0.0
    in_place: bool = False


class Recorder(TorchDispatchMode):
    """Records what every operation in the block computes, moves and draws, except for views, which do nothing."""

    def __init__(self, device_type: str) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self._on_cpu = device_type == "cpu"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from torch.utils.flop_counter import flop_registry

        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func._schema.name
        read, written = (_tensors(values) for values in ((args, kwargs), result))
        if func.is_view or name in DO_NOTHING or not written:
            return result
        count, elements = flop_registry.get(func._overloadpacket), float(sum(map(torch.numel, written)))
        moved = self._moved_bytes(name, read, written)
        if name == "aten::addmm" and self._on_cpu:
            self.operations.append(Operation(2 * self._bytes(written)))
        self.operations.append(
            Operation(
                moved_bytes=moved,
                flops=float(count(*args, **kwargs, out_val=result)) if count else 0.0,
                random_numbers=elements if name in RANDOM else 0.0,
                width=_width(read) if count else math.inf,
                functions=FUNCTIONS.get(name, 0) * elements,
            )
        )
        return result

    def _moved_bytes(self, name: str, read: Collection[Tensor], written: Collection[Tensor]) -> float:
        writes = self._bytes(written)
        reads = 0.0 if name in WRITE_ONLY else writes if name in LOOKUPS else self._bytes(read)
        if not self._on_cpu:
            return reads + writes
        passes = 2 if name in NORMALIZATIONS else 1
        return max(passes * (reads + writes), 2 * writes)

    def _bytes(self, tensors: Collection[Tensor]) -> float:
        """The bytes of elements that are stored: of a tensor that is expanded they are read once."""
        return float(sum(_stored_elements(tensor) * self._element_bytes(tensor) for tensor in tensors))

    def _element_bytes(self, tensor: Tensor) -> int:
        is_narrow = self._on_cpu and not tensor.dtype.is_floating_point
        return max(tensor.element_size(), FLOAT_BYTES) if is_narrow else tensor.element_size()


def _width(factors: Collection[Tensor]) -> float:
    """The smallest dimension of the two matrices of a product, the last of what it reads."""
    first, second = [tensor for tensor in factors if tensor.ndim > 1][-2:]
    return float(min(*first.shape[-2:], *second.shape[-2:]))


def _tensors(values: Any) -> list[Tensor]:
    """The tensors among arguments or results, each once."""
    return list({id(leaf): leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)}.values())


def _stored_elements(tensor: Tensor) -> int:
    return math.prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
