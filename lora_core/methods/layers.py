"""LoRALinear, Algorithm 1 of the paper, and how it gets into a model and out again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lora_core.models.model import replace_linear

Model = TypeVar("Model", bound=nn.Module)


def inject(
    model: Model,
    targets: Sequence[str],
    rank: int = 8,
    alpha: float = 8,
    generator: torch.Generator | None = None,
    dropout: float = 0.0,
) -> Model:
    """Freeze a model and replace each linear module whose name ends in one of `targets` by a LoRALinear.

    The model is changed in place and returned; only A and B are trained afterwards. `dropout` is the dropout
    probability of the low-rank path's input. Raise ValueError if no module has such a name, if the rank is below 1, and
    for the output projection of torch's MultiheadAttention, which would ignore the update.
    """
    if rank < 1:
        raise ValueError(f"rank is {rank}; it must be a whole number of at least 1")
    attention = [name for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)]
    for name in attention:
        if any(f".{name}.out_proj".endswith(f".{target}") for target in targets):
            raise ValueError(f"{name}.out_proj belongs to torch's MultiheadAttention, which reads its weight directly")
    model.requires_grad_(False)
    replace_linear(model, targets, lambda base: LoRALinear(base, rank, alpha, generator, dropout))
    allow_fused_path(model, False)
    return model


@torch.no_grad()
def merge(model: Model) -> Model:
    """Add every LoRALinear's update to its weight and put the original linear layers back.

    The model is changed in place and returned. What inject replaced are the same module objects as before, of their
    own class, and their `weight` and `bias` are the same Parameter objects: the update is added in place, without a
    second copy of W. Everything stays frozen as it was. A LoRALinear that is the model itself cannot be put back in
    place; the linear layer is returned. To take an update out again, use `LoRALinear.toggle_merge` instead.

    Raise ValueError if another module shares a weight that would change.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}
    uses = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    for name, layer in layers.items():
        if uses[id(layer.weight)] > 1:
            raise ValueError(f"{name}: another module shares this layer's weight, and merging would change it too")
    for name, layer in layers.items():
        if not name:
            return cast(Model, layer.unwrap())
        model.set_submodule(name, layer.unwrap())
    if layers:
        allow_fused_path(model, True)
    return model


def allow_fused_path(model: nn.Module, allowed: bool) -> None:
    """Allow or forbid the fused path of torch's TransformerEncoderLayer, which reads weights without their update."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            activation: Any = module.activation
            is_relu = activation is F.relu or isinstance(activation, nn.ReLU)
            is_gelu = activation is F.gelu or isinstance(activation, nn.GELU)
            module.activation_relu_or_gelu = (1 if is_relu else 2 if is_gelu else 0) if allowed else 0


class LoRALinear(nn.Module):
    """A linear layer with a frozen weight and a trained low-rank update (Section 3.1, Algorithm 1).

    h = x Wᵀ + β + (dropout(x) Aᵀ Bᵀ) · alpha / rank. W (out, in) and β (out) are the parameters of `base`, which are
    frozen. A (rank, in) is Kaiming-uniform with a = sqrt(5), drawn from `generator`; B (out, rank) is zero, so that h
    starts as the base layer's output. Merging is explicit (`toggle_merge`), never a side effect of `eval()`.
    """

    lora_A: nn.Parameter
    lora_B: nn.Parameter
    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        base: nn.Linear,
        rank: int,
        alpha: float,
        generator: torch.Generator | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = base.in_features, base.out_features
        self.rank, self.alpha, self.scale = rank, alpha, alpha / rank
        self._base = (
            base,
        )  # in a tuple, so that torch does not register a submodule: its parameters are this module's
        base.requires_grad_(False)
        self.weight = cast(nn.Parameter, base.weight)
        self.bias = cast("nn.Parameter | None", base.bias)
        self.lora_A = nn.Parameter(self.weight.new_empty(rank, base.in_features))
        self.lora_B = nn.Parameter(self.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5), generator=generator)
        self.dropout = nn.Dropout(dropout) if dropout else None
        self._unmerged: Tensor | None = None

    def extra_repr(self) -> str:
        """Sizes, rank, alpha and whether the update is merged, for `print(model)`."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, rank={self.rank}, alpha={self.alpha}, "
            f"merged={self.merged}"
        )

    @property
    def merged(self) -> bool:
        """Whether the weight contains the update."""
        return self._unmerged is not None

    @torch.no_grad()
    def delta(self) -> Tensor:
        """Return B A · alpha / rank in at least float32, (out, in)."""
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        return (self.lora_B.to(dtype) @ self.lora_A.to(dtype)) * self.scale

    @torch.no_grad()
    def toggle_merge(self, merge: bool) -> None:
        """Add the update to the weight, or restore the weight exactly. A second call with the same value does nothing.

        While the layer is merged it keeps a copy of W, to restore it.
        """
        if merge == self.merged:
            return
        if self._unmerged is None:
            self._unmerged = self.weight.detach().clone()
            self._add_update()
        else:
            self.weight.copy_(self._unmerged)
            self._unmerged = None

    @torch.no_grad()
    def unwrap(self) -> nn.Linear:
        """Add the update to the weight for good, and return the linear layer that this one was made from."""
        if not self.merged:
            self._add_update()
        (base,) = self._base
        # Not always the objects that `base` has: moving a module to another device may replace its parameters.
        base.weight, base.bias = self.weight, self.bias  # type: ignore[assignment]
        base.train(self.training)
        return base

    def _add_update(self) -> None:
        delta = self.delta()
        self.weight.copy_(self.weight.to(delta.dtype) + delta)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to h (..., out)."""
        if self.merged:
            return F.linear(x, self.weight, self.bias)
        if self.dropout is not None and self.training:
            update = F.linear(F.linear(self.dropout(x), self.lora_A), self.lora_B)
            return F.linear(x, self.weight, self.bias) + update * self.scale
        tensors: Any = (x, self.weight, self.bias, self.lora_A, self.lora_B)
        device = x.device.type
        # There is no autocast on the meta device. Not `is_autocast_available`, which breaks a graph of torch.compile in
        # some versions of torch.
        if device != "meta" and torch.is_autocast_enabled(device):
            # Autocast does not reach into an autograd.Function.
            dtype = torch.get_autocast_dtype(device)
            tensors = (None if tensor is None else tensor.to(dtype) for tensor in tensors)
        return _LowRankLinear.apply(*tensors, self.scale)


class _LowRankLinear(torch.autograd.Function):
    """Compute x Wᵀ + β + (x Aᵀ Bᵀ) · scale, with W and β frozen, without a pass over (rows, out) for the sum.

    Kept for the backward pass are x Aᵀ, which has only `rank` columns, and x, unless A is frozen too (LoRA-FA).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])  # (rows, in)
        down = rows @ a.T  # (rows, rank)
        out = F.linear(rows, weight, bias).addmm_(down, b.T, alpha=scale)  # (rows, out)
        ctx.save_for_backward(rows if ctx.needs_input_grad[3] else None, weight, a, b, down)
        ctx.scale, ctx.shape = scale, x.shape
        # Not `view`: what a Function returns may be changed in place (nn.ReLU(inplace=True)) only if it is no view.
        return torch.ops.aten._unsafe_view(out, [*x.shape[:-1], out.shape[-1]])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, a, b, down = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1])  # (rows, out)
        up = (grad @ b).mul_(ctx.scale)  # (rows, rank)
        grad_x = (grad @ weight).addmm_(up, a).view(ctx.shape) if ctx.needs_input_grad[0] else None
        grad_a = None if rows is None else up.T @ rows
        return grad_x, None, None, grad_a, (grad.T @ down).mul_(ctx.scale), None
