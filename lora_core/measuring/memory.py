"""Where training's memory goes: weights, gradients, optimiser state, and what is kept for the backward pass.

The first three follow from the parameters. The last is counted on a real step, and predicted from shapes alone by the
same count, on the meta device where the method allows it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

ADAM_MOMENTS = 2  # tensors of optimiser state for each trained parameter


class Saved:
    """Bytes kept for backward."""

    def __init__(self) -> None:
        self.bytes = 0

    @property
    def mb(self) -> float:
        return self.bytes / 1e6


@contextmanager
def saved_for_backward(model: nn.Module) -> Iterator[Saved]:
    """Count what autograd keeps for the backward pass of a forward pass in the block.

    Each storage once, however many tensors view it; parameters and buffers, which are there anyway, left out. Of a
    layer under gradient checkpointing its input is kept, by checkpointing itself and not by autograd.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    saved = Saved()
    seen = {_storage(part) for tensor in (*model.parameters(), *model.buffers()) for part in _parts(tensor)}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        for part in _parts(tensor):
            if (storage := _storage(part)) not in seen:
                seen.add(storage)
                saved.bytes += part.untyped_storage().nbytes()
        return tensor

    def pack_input(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        pack(inputs[0])

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    hooks = [layer.register_forward_pre_hook(pack_input) for layer in layers if layer.gradient_checkpointing]
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            yield saved
    finally:
        for hook in hooks:
            hook.remove()


def _parts(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The tensors that a sparse one is made of; a dense one itself."""
    return (tensor._indices(), tensor._values()) if tensor.is_sparse else (tensor,)


def _storage(tensor: torch.Tensor) -> int:
    """What tells a storage from another while both live; on the meta device addresses do not."""
    return tensor.untyped_storage()._cdata


def fixed_mb(model: nn.Module) -> dict[str, float]:
    """Weights, gradients and AdamW's state of a model ready to train."""
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    return {
        "weights_mb": sum(p.nbytes for p in model.parameters()) / 1e6,
        "gradients_mb": trained / 1e6,
        "optimizer_mb": ADAM_MOMENTS * trained / 1e6,
    }


def predict(model: nn.Module, rows: int, tokens: int, precision: str) -> dict[str, float] | None:
    """`fixed_mb` and `saved_for_backward_mb` of a model on the meta device, for a batch (rows, tokens).

    Attention is that of the meta device, which keeps the whole of its probabilities; a fused kernel keeps less.
    None for a model that does not run on shapes alone.
    """
    ids = torch.zeros((rows, tokens), dtype=torch.int64, device="meta")
    fixed = fixed_mb(model)
    if precision == "bf16":  # there is no autocast on the meta device
        model = model.to(torch.bfloat16)
    model.train()
    try:
        with saved_for_backward(model) as saved:
            model(input_ids=ids).logits.float().sum()
    except (NotImplementedError, RuntimeError):
        return None
    return {**fixed, "saved_for_backward_mb": saved.mb}
