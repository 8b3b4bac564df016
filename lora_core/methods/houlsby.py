"""Houlsby adapters (Houlsby et al. 2019): a bottleneck after the attention's and the feed-forward's projection."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lora_core.models import model as models

NEAR_IDENTITY = 1e-3  # standard deviation of the first weights, as in Houlsby et al.'s code


class Bottleneck(nn.Module):
    """h + U gelu(D h + d) + u on the output h (..., size) of `base`; D (bottleneck, size), U (size, bottleneck)."""

    def __init__(self, base: nn.Linear, bottleneck: int, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.down, self.up = (
            nn.Linear(*sizes, device=base.weight.device, dtype=base.weight.dtype)
            for sizes in ((base.out_features, bottleneck), (bottleneck, base.out_features))
        )
        for layer in (self.down, self.up):
            nn.init.normal_(layer.weight, 0.0, NEAR_IDENTITY, generator)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.base(x)
        return h + self.up(F.gelu(self.down(h)))


def apply(model: nn.Module, settings: dict[str, Any], generator: torch.Generator) -> nn.Module:
    """Put a Bottleneck around each target; the base, its layer norms included, is frozen."""
    model.requires_grad_(False)
    models.replace(model, settings["targets"], lambda base: Bottleneck(base, settings["bottleneck"], generator))
    return model
