"""BitFit (Ben Zaken et al. 2022): every bias of the model is trained, and nothing else of it."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from lora_core import adapter, models

LIBRARY = None


def apply(model: nn.Module, settings: dict[str, Any], generator: torch.Generator) -> nn.Module:
    """Train the biases, those of the layer norms included."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    return model


def save(model: nn.Module, settings: dict[str, Any], folder: Path, base_model: str) -> None:
    """Write the biases and the head."""
    adapter.write_trained(folder, "BITFIT", model, base_model)


def load(model: nn.Module, settings: dict[str, Any], folder: Path, head: bool = True) -> nn.Module:
    """The model with saved biases. Raises ValueError where they are another model's."""
    stored = adapter.load_tensors(folder, "pt")
    return models.fill(apply(model, settings, torch.Generator()), stored, folder, head)
