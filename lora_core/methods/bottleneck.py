"""The layer of Houlsby adapters (Houlsby et al. 2019)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INITIAL_STD = 1e-3  # of the first weights, as in Houlsby et al.'s code: the layer starts near the identity


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
            nn.init.normal_(layer.weight, 0.0, INITIAL_STD, generator)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to the adapted output (..., size)."""
        h = self.base(x)
        return h + self.up(F.gelu(self.down(h)))
