"""Own LoRA: LoRALinear on every targeted module."""

from typing import Any

import torch
from torch import nn

from lora_core.layers import LoRALinear
from lora_core.methods.lowrank import load, replace, save

__all__ = ["apply", "load", "save"]


def apply(model: nn.Module, settings: dict[str, Any], generator: torch.Generator) -> None:
    """Put a LoRALinear in place of each target; the base is frozen, the adapters are trained."""
    model.requires_grad_(False)
    replace(model, settings, lambda base: LoRALinear(base, settings["rank"], settings["alpha"], generator))
