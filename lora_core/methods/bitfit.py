"""BitFit (Ben Zaken et al. 2022): every bias of the model is trained, and nothing else of it."""

from typing import Any

import torch
from torch import nn

from lora_core.models import model as models


def apply(model: nn.Module, settings: dict[str, Any], generator: torch.Generator) -> nn.Module:
    """Train the biases, those of the layer norms included. Raises ValueError for an encoder that has none."""
    biases = {name for name, _ in model.named_parameters() if name.endswith("bias")}
    if not biases - dict(models.head_parameters(model)).keys():
        raise ValueError("this model has no bias to train")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in biases)
    return model
