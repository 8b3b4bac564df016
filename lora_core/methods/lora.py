"""Own LoRA: LoRALinear on every targeted module."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from lora_core.layers import LoRALinear
from lora_core.methods import lowrank
from lora_core.methods.lowrank import save
from lora_core.models import replace

__all__ = ["apply", "load", "save"]


def apply(model: nn.Module, settings: dict[str, Any], generator: torch.Generator) -> nn.Module:
    """Put a LoRALinear in place of each target; the base is frozen, the adapters are trained."""
    model.requires_grad_(False)

    def build(base: nn.Linear) -> nn.Module:
        layer = LoRALinear(base, settings["rank"], settings["alpha"], generator)
        layer.lora_A.requires_grad_(not settings["freeze_a"])
        return layer

    replace(model, settings["targets"], build)
    return model


def load(model: nn.Module, settings: dict[str, Any], folder: Path, head: bool = True) -> nn.Module:
    """The model with a saved adapter. Raises ValueError where the two do not fit."""
    return lowrank.fill(apply(model, settings, torch.Generator()), folder, head)
