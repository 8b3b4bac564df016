"""Full fine-tuning: every weight is trained that transformers lets be trained."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from lora_core.methods.settings import MethodSettings
from lora_core.models.tensors import read_tensors

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from lora_core.models.base_model import BaseModel


@dataclass(frozen=True)
class Settings(MethodSettings):
    """Full fine-tuning: every weight is trained."""

    title: ClassVar[str] = "Full fine-tuning"
    protocol_column: ClassVar[Literal["full", "adapter"]] = "full"
    cost_table: ClassVar[Literal["table5", "table6"]] = "table5"
    saves_full_weights: ClassVar[bool] = True
    library: ClassVar[Literal["peft", "transformers"] | None] = "transformers"


def apply(model: nn.Module, settings: Settings, generator: torch.Generator) -> nn.Module:
    """Make every parameter trainable but those that the model's class fixes, such as RoFormer's table of positions.

    transformers makes them trainable when it loads weights.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    with torch.device("meta"):
        as_created = AutoModelForSequenceClassification.from_config(deepcopy(model.config))
    for name, parameter in as_created.named_parameters():
        model.get_parameter(name).requires_grad_(parameter.requires_grad)
    return model


def save(model: nn.Module, settings: Settings, folder: Path, base_model: BaseModel) -> None:
    """Write a plain transformers folder."""
    model.save_pretrained(folder)  # type: ignore[operator]


def read_trained_parameters(folder: Path) -> dict[str, torch.Tensor]:
    """Return the saved weights. Raise ValueError if the file cannot be used."""
    return read_tensors(folder / "model.safetensors", "pt")
