"""BitFit (Ben Zaken et al. 2022): train every bias of the model, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lora_core.methods.settings import MethodSettings
from lora_core.models.model import head_parameters

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Settings(MethodSettings):
    """BitFit (Ben Zaken et al. 2022): train the biases only."""

    title: ClassVar[str] = "BitFit"

    def can_merge(self) -> bool:
        """Return True: the trained biases replace the base model's."""
        return True


def apply(model: nn.Module, settings: Settings, generator: torch.Generator) -> nn.Module:
    """Train the biases, those of the layer norms included. Raise ValueError if the encoder has none."""
    biases = {name for name, _ in model.named_parameters() if name.endswith("bias")}
    if not biases - dict(head_parameters(model)).keys():
        raise ValueError("this model has no bias to train")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in biases)
    return model
