"""The reference: the package `loralib` in the same training loop.

`merge_weights=False`, else the layer merges itself in `eval()`, and twice once saved there; `lora_alpha` is given, for
its default of 1 means a scale of 1/rank. The layer draws a base weight that it throws away, from the global
generator, so A is drawn again from ours.
"""

import math
from typing import Any

import torch
from torch import nn

from lora_core.methods.low_rank import LIBRARY, save, stored
from lora_core.models.model import replace

__all__ = ["LIBRARY", "apply", "save", "stored"]


def apply(model: nn.Module, settings: dict[str, Any], generator: torch.Generator) -> nn.Module:
    """Put a loralib.Linear in place of each target; the base is frozen, the adapters are trained."""
    import loralib

    def build(base: nn.Linear) -> nn.Module:
        layer = loralib.Linear(
            base.in_features,
            base.out_features,
            r=settings["rank"],
            lora_alpha=settings["alpha"],
            merge_weights=False,
            bias=base.bias is not None,
            device=base.weight.device,
            dtype=base.weight.dtype,
        )
        layer.weight, layer.bias = base.weight, base.bias
        nn.init.kaiming_uniform_(layer.lora_A, a=math.sqrt(5), generator=generator)
        return layer

    model.requires_grad_(False)
    replace(model, settings["targets"], build)
    return model
