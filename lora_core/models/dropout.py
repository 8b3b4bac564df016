"""Dropout that is quick on a CPU: torch's draws one random number after the other, a quarter of a LoRA step."""

from typing import Any

import torch
from torch import Tensor, nn

ATTENTION = "sdpa_quick_dropout"  # what transformers knows the attention below by
STEPS = 2**16  # probabilities are kept to so many steps: 0.1 becomes 0.100006


def install(model: nn.Module) -> None:
    """Put `Dropout` in place of every dropout of a transformers model, that of its attention included."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p))
    if model.config._attn_implementation == "sdpa":  # type: ignore[union-attr]
        AttentionInterface.register(ATTENTION, attention)
        AttentionMaskInterface.register(ATTENTION, sdpa_mask)
        model.set_attn_implementation(ATTENTION)  # type: ignore[operator]


class Dropout(nn.Dropout):
    """torch's dropout with `noise` for its mask."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return x * noise(x, self.p)


def noise(like: Tensor, p: float) -> Tensor:
    """0 with probability p, else 1 / (1 - p): a tensor of the shape, dtype and device of `like`.

    Four elements share one draw of 64 bits.
    """
    dropped = round(p * STEPS)
    draws = torch.empty((like.numel() + 3) // 4, dtype=torch.int64, device=like.device).random_(-(2**63), None)
    keep = draws.view(torch.int16)[: like.numel()].view(like.shape) >= dropped - STEPS // 2
    return keep.to(like.dtype).mul_(STEPS / max(1, STEPS - dropped))


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention for transformers: query, key, value (batch, heads, tokens, size) -> (batch, tokens, heads, size).

    It is `sdpa` without dropout, and for all but an encoder's plain attention. torch has no fused kernel that drops out
    on a CPU, so there is none to lose; under bf16 autocast torch's keeps probabilities in float32, this does not.
    """
    if dropout == 0 or not _plain(module, attention_mask, kwargs):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    scores = (query * (scaling or query.shape[-1] ** -0.5)) @ key.transpose(2, 3)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    probabilities = scores.softmax(-1)
    return ((probabilities * noise(probabilities, dropout)) @ value).transpose(1, 2).contiguous(), None


def _plain(module: nn.Module, attention_mask: Tensor | None, kwargs: dict[str, Any]) -> bool:
    """Whether every token sees every other that the mask leaves, by its own key and value."""
    causal = kwargs.get("is_causal")
    return (
        not (getattr(module, "is_causal", True) if causal is None else causal)
        and (attention_mask is None or attention_mask.dtype == torch.bool)
        and getattr(module, "num_key_value_groups", 1) == 1
        and kwargs.get("position_bias") is None
    )
