"""LoRALinear: Algorithm 1 of the paper."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
        out = F.linear(x, self.weight, self.bias)
        if self.merged:
            return out
        down = F.linear(x, self.lora_A)  # (..., rank)
        return out + F.linear(down, self.lora_B) * self.scale
