"""Own LoRA: LoRALinear on every targeted module."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from lora_core.layers import LoRALinear, inject
from lora_core.methods import lowrank
from lora_core.methods.lowrank import save

__all__ = ["apply", "load", "save"]

LIBRARY = "peft"


def apply(model: nn.Module, settings: dict[str, Any], generator: torch.Generator) -> nn.Module:
    """Put a LoRALinear in place of each target; the base is frozen, the adapters are trained."""
    inject(model, settings["targets"], settings["rank"], settings["alpha"], generator)
    for module in model.modules():
        if isinstance(module, LoRALinear):
            module.lora_A.requires_grad_(not settings["freeze_a"])
    return model


def load(model: nn.Module, settings: dict[str, Any], folder: Path, head: bool = True) -> nn.Module:
    """The model with a saved adapter. Raises ValueError where the two do not fit."""
    return lowrank.fill(apply(model, settings, torch.Generator()), folder, head)
