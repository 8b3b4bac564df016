"""Own LoRA: LoRALinear on every targeted module."""

from typing import Any

import torch
from torch import nn

from lora_core.methods.layers import inject
from lora_core.methods.low_rank import LIBRARY, save, stored

__all__ = ["LIBRARY", "apply", "save", "stored"]


def apply(model: nn.Module, settings: dict[str, Any], generator: torch.Generator) -> nn.Module:
    """Put a LoRALinear in place of each target; the base is frozen, the adapters are trained."""
    inject(model, settings["targets"], settings["rank"], settings["alpha"], generator)
    if settings["freeze_a"]:
        for name, parameter in model.named_parameters():
            if name.endswith(".lora_A"):
                parameter.requires_grad_(False)
    return model
