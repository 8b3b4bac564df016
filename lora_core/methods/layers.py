"""LoRALinear, Algorithm 1 of the paper, and how a model gets it."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lora_core.models.model import replace_linear

Model = TypeVar("Model", bound=nn.Module)


def inject(
    model: Model, targets: Sequence[str], rank: int = 8, alpha: float = 8, generator: torch.Generator | None = None
) -> Model:
    """Freeze a model and put a LoRALinear in place of each linear module whose name ends in one of `targets`.

    The model is changed and returned; A and B are all that it trains then. Raises ValueError where no module is called
    so, and for one that torch's MultiheadAttention would pass by.
    """
    if rank < 1:
        raise ValueError(f"rank is {rank}; it is a whole number from 1 on")
    inside = [name for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)
              and any(f".{name}.out_proj".endswith(f".{target}") for target in targets)]  # fmt: skip
    if inside:
        raise ValueError(f"{inside[0]}.out_proj belongs to torch's MultiheadAttention, which reads its weight directly")
    model.requires_grad_(False)
    replace_linear(model, targets, lambda base: LoRALinear(base, rank, alpha, generator))
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # else torch's fused path reads the weights alone, without the update
    return model


def merge(model: Model, merged: bool = True) -> Model:
    """Fold every LoRALinear's update into its weight, or with `merged` False take it out again, exactly."""
    for module in model.modules():
        if isinstance(module, LoRALinear):
            module.toggle_merge(merged)
    return model


class LoRALinear(nn.Module):
    """A linear layer with a frozen weight and a trained low-rank update (Section 3.1, Algorithm 1).

    h = x Wᵀ + β + (x Aᵀ Bᵀ) · alpha / rank, with W (out, in) and β (out) taken from `base` and frozen,
    A (rank, in) Kaiming-uniform with a = sqrt(5) from `generator`, and B (out, rank) zero: at the start h is the
    base layer's. Merging is explicit (`toggle_merge`), never a side effect of `eval()`.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(base.weight.data, requires_grad=False)
        self.bias = None if base.bias is None else nn.Parameter(base.bias.data, requires_grad=False)
        self.scale = alpha / rank
        self.lora_A = nn.Parameter(self.weight.new_empty(rank, base.in_features))
        self.lora_B = nn.Parameter(self.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5), generator=generator)
        self._unmerged: Tensor | None = None

    @property
    def merged(self) -> bool:
        return self._unmerged is not None

    @torch.no_grad()
    def delta(self) -> Tensor:
        """BA · scale in at least float32, (out, in)."""
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        return (self.lora_B.to(dtype) @ self.lora_A.to(dtype)) * self.scale

    @torch.no_grad()
    def toggle_merge(self, merge: bool) -> None:
        """Put the update into the weight, or restore the weight exactly. Asking twice changes nothing."""
        if merge == self.merged:
            return
        if merge:
            self._unmerged = self.weight.detach().clone()
            delta = self.delta()
            self.weight.copy_(self.weight.to(delta.dtype) + delta)
        else:
            assert self._unmerged is not None
            self.weight.copy_(self._unmerged)
            self._unmerged = None

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        if self.merged:
            return F.linear(x, self.weight, self.bias)
        tensors: Any = (x, self.weight, self.bias, self.lora_A, self.lora_B)
        kind = x.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):  # which stops at a Function
            dtype = torch.get_autocast_dtype(kind)
            tensors = (None if tensor is None else tensor.to(dtype) for tensor in tensors)
        return _LowRankLinear.apply(*tensors, self.scale)


class _LowRankLinear(torch.autograd.Function):
    """x Wᵀ + β + (x Aᵀ Bᵀ) · scale, W and β frozen, in as few passes over its (rows, out) result as there are products.

    Kept for the backward pass: x Aᵀ, which has a rank's columns, and x, unless A is frozen too (LoRA-FA).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])  # (rows, in)
        down = rows @ a.T  # (rows, rank)
        out = F.linear(rows, weight, bias).addmm_(down, b.T, alpha=scale)  # (rows, out)
        ctx.save_for_backward(rows if ctx.needs_input_grad[3] else None, weight, a, b, down)
        ctx.scale, ctx.shape = scale, x.shape
        return out.view(*x.shape[:-1], out.shape[-1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, a, b, down = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1])  # (rows, out)
        up = (grad @ b).mul_(ctx.scale)  # (rows, rank)
        grad_x = (grad @ weight).addmm_(up, a).view(ctx.shape) if ctx.needs_input_grad[0] else None
        grad_a = None if rows is None else up.T @ rows
        return grad_x, None, None, grad_a, (grad.T @ down).mul_(ctx.scale), None
