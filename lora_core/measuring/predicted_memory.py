"""Where training's memory goes, predicted from shapes: a forward pass of tensors with a device and a type but no data.

It takes the paths that the device takes: autocast casts as it does there, dropout keeps a mask of one byte an element
on CUDA, and attention is the one that the model really uses.
"""

import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lora_core.measuring.memory import SavedForBackward, parameter_memory_mb, saved_for_backward

# The logits of a model for its inputs by their names.
Forward = Callable[[nn.Module, Mapping[str, Tensor]], Tensor]
# To how many elements CUDA's memory-efficient attention pads the rows of a mask.
MASK_ALIGNMENT = 16


def predicted_memory_mb(
    model: nn.Module, batch: tuple[int, int], device_type: str, forward: Forward, optimizer: str = "adamw"
) -> dict[str, float] | None:
    """Return `parameter_memory_mb` and `saved_for_backward_mb` for a padded batch (rows, tokens) on "cpu" or "cuda".

    The model may be on the meta device, and no GPU is needed. The result is None for a model that does not run on
    shapes alone; standard error has the reason.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    # Tensors that are no parameters or buffers, such as the numbers of a prompt's tokens, are converted at their use.
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    device, step = torch.device(device_type), _Step(model.train(), forward)
    try:
        state = state_without_data(step, mode, device)
        with mode, FusedAttention() if device_type == "cuda" else nullcontext():
            ids = torch.zeros(batch, dtype=torch.int64, device=device)
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            saved = torch.func.functional_call(step, state, (inputs,))
    except Exception as error:  # of any type; a finished run must not fail because its estimate does
        print(f"memory is not predicted, because the model does not run on shapes alone: {error}", file=sys.stderr)
        return None
    return {**parameter_memory_mb(model, optimizer), "saved_for_backward_mb": saved.mb}


def state_without_data(module: nn.Module, mode: Any, device: torch.device) -> dict[str, Tensor]:
    """Return a module's parameters and buffers as tensors of a FakeTensorMode: on a device, but without data."""
    from torch._subclasses.fake_tensor import FakeTensor

    return {
        name: FakeTensor(mode, tensor.detach().to("meta"), device).requires_grad_(tensor.requires_grad)
        for name, tensor in chain(module.named_parameters(), module.named_buffers())
    }


class _Step(nn.Module):
    """A forward pass that counts what it saves, as a module, so that its parameters can be replaced for one call."""

    def __init__(self, model: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.model = model
        self._forward = forward

    def forward(self, inputs: Mapping[str, Tensor]) -> SavedForBackward:
        with saved_for_backward(self.model) as saved:
            self._forward(self.model, inputs).float().sum()
        return saved


class FusedAttention(TorchFunctionMode):
    """Within this mode torch's attention is the kernel that CUDA has, also where torch was built without CUDA.

    It is the memory-efficient kernel, which a mask of padding requires. It keeps a sum for each row of the attention
    matrix, the output and the mask. Flash attention, which torch takes for batches without padding, keeps no mask.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return _efficient_attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _efficient_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    **options: Any,
) -> Tensor:
    """Map query, key and value (rows, heads, tokens, size) to (rows, heads, tokens, size)."""
    if torch.is_autocast_enabled("cuda"):
        query, key, value = (tensor.to(torch.get_autocast_dtype("cuda")) for tensor in (query, key, value))
    bias = None
    if attn_mask is not None:
        keys = attn_mask.shape[-1]
        bias = F.pad(torch.zeros_like(attn_mask, dtype=query.dtype), (0, -keys % MASK_ALIGNMENT))[..., :keys]
        bias = bias.expand(*query.shape[:3], keys)
    attend = torch.ops.aten._scaled_dot_product_efficient_attention
    output: Tensor = attend(query, key, value, bias, True, dropout_p, **options)[0]
    return output
