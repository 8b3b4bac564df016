"""Dropout that is fast on a CPU. There, drawing the masks of torch's dropout takes a quarter of a LoRA step."""

from typing import Any

import torch
from torch import Tensor, nn

ATTENTION = "sdpa_quick_dropout"  # the name of the attention below in transformers' registry
STEPS = 2**16  # probabilities are rounded to multiples of 1 / STEPS: 0.1 becomes 0.100006


def install(model: nn.Module) -> None:
    """Replace every dropout of a transformers model by `Dropout`, and its attention by `attention`."""
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


def set_probability(model: nn.Module, p: float) -> None:
    """Set every dropout probability of a transformers model: of its modules, and those that layers hold as numbers."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = p
        for name, value in list(vars(module).items()):
            if "drop" in name and "layerdrop" not in name and type(value) in (int, float):
                setattr(module, name, p)


class Dropout(nn.Dropout):
    """torch's dropout with a mask from `noise`."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of x with probability p in training; return x in evaluation."""
        if not self.training or self.p == 0:
            return x
        return x * noise(x, self.p)


def noise(like: Tensor, p: float) -> Tensor:
    """Return a tensor of 0 with probability p, else 1 / (1 - p), of the shape, dtype and device of `like`.

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
    """Map query, key and value (batch, heads, tokens, size) to (batch, tokens, heads, size), for transformers.

    Without dropout, and for all but an encoder's plain attention, it is transformers' `sdpa`. Nothing is lost with
    dropout, for torch has no fused kernel with dropout on a CPU; under bf16 autocast torch keeps probabilities in
    float32, which this does not.
    """
    if dropout == 0 or not _is_plain(module, attention_mask, kwargs):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    scores = (query * (scaling or query.shape[-1] ** -0.5)) @ key.transpose(2, 3)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    probabilities = scores.softmax(-1)
    return ((probabilities * noise(probabilities, dropout)) @ value).transpose(1, 2).contiguous(), None


def _is_plain(module: nn.Module, attention_mask: Tensor | None, kwargs: dict[str, Any]) -> bool:
    """Whether every token attends to every other that the mask allows, with one key and value per head and no bias."""
    causal = kwargs.get("is_causal")
    return (
        not (getattr(module, "is_causal", True) if causal is None else causal)
        and (attention_mask is None or attention_mask.dtype == torch.bool)
        and getattr(module, "num_key_value_groups", 1) == 1
        and kwargs.get("position_bias") is None
    )
