"""Where training's memory goes: weights, gradients, optimizer state, and what autograd saves for the backward pass.

The first three follow from the parameters. The last is counted on a real step, and predicted by the same count on
shapes alone (`predicted_memory`).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

# Tensors of optimizer state for each trained parameter: AdamW's two moments, SGD's momentum.
OPTIMIZER_TENSORS = {"adamw": 2, "sgd": 1}


class SavedForBackward:
    """A count of the bytes that autograd saves for the backward pass: of several forward passes, the most."""

    def __init__(self) -> None:
        self.bytes = 0
        self._of_this_pass = 0

    def begin(self) -> None:
        """Count another pass."""
        self._of_this_pass = 0

    def add(self, count: int) -> None:
        """Add bytes that this pass saves."""
        self._of_this_pass += count
        self.bytes = max(self.bytes, self._of_this_pass)

    @property
    def mb(self) -> float:
        """The count in MB (10^6 bytes)."""
        return self.bytes / 1e6


@contextmanager
def saved_for_backward(model: nn.Module) -> Iterator[SavedForBackward]:
    """Count what autograd saves for the backward pass of a forward pass in the block: of several, in the largest.

    Each storage counts once, however many tensors view it; the model's parameters and buffers do not count, since they
    are in memory anyway. With gradient checkpointing a layer's input counts too, which checkpointing itself saves.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    saved = SavedForBackward()
    always = {_storage_id(part) for tensor in (*model.parameters(), *model.buffers()) for part in _dense_parts(tensor)}
    seen = set(always)

    def begin(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        saved.begin()
        seen.intersection_update(always)  # what earlier passes saved is freed

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        for part in _dense_parts(tensor):
            if (storage := _storage_id(part)) not in seen:
                seen.add(storage)
                saved.add(part.untyped_storage().nbytes())
        return tensor

    def pack_input(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        pack(inputs[0])

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    hooks = [model.register_forward_pre_hook(begin)]
    hooks += [layer.register_forward_pre_hook(pack_input) for layer in layers if layer.gradient_checkpointing]
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            yield saved
    finally:
        for hook in hooks:
            hook.remove()


def _dense_parts(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The indices and values of a sparse tensor; a dense tensor itself."""
    return (tensor._indices(), tensor._values()) if tensor.is_sparse else (tensor,)


def _storage_id(tensor: torch.Tensor) -> int:
    """A number that identifies a living storage, also on the meta device, where all addresses are 0."""
    return tensor.untyped_storage()._cdata


def parameter_memory_mb(model: nn.Module, optimizer: str = "adamw") -> dict[str, float]:
    """Return the MB of the weights, gradients and optimizer state of a model ready to train."""
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    return {
        "weights_mb": sum(p.nbytes for p in model.parameters()) / 1e6,
        "gradients_mb": trained / 1e6,
        "optimizer_mb": OPTIMIZER_TENSORS[optimizer] * trained / 1e6,
    }
