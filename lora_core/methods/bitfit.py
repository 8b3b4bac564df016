"""BitFit (Ben Zaken et al. 2022): every bias of the model is trained, and nothing else of it."""

from typing import Any

import torch
from torch import nn


def apply(model: nn.Module, settings: dict[str, Any], generator: torch.Generator) -> nn.Module:
    """Train the biases, those of the layer norms included."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    return model
