"""LoRA by the project's own layer, LoRALinear (Algorithm 1 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lora_core.methods.adapter_files import low_rank_tensors, read_parameters, save_low_rank
from lora_core.methods.settings import LowRankSettings, PlainLora

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from lora_core.models.base_model import BaseModel


@dataclass(frozen=True)
class Settings(LowRankSettings):
    """A LoRALinear (Algorithm 1) in place of each module whose name ends in one of `targets`.

    `freeze_a` trains B alone (LoRA-FA, Zhang et al. 2023): the layer's input is not kept for the backward pass.
    """

    title: ClassVar[str] = "LoRA (own)"

    freeze_a: bool = False

    def plain_lora(self) -> PlainLora | None:
        """The rank, alpha and targets, or None if A is frozen."""
        return None if self.freeze_a else super().plain_lora()


def apply(model: nn.Module, settings: Settings, generator: torch.Generator) -> nn.Module:
    """Freeze the model and replace each target by a LoRALinear, whose A and B are trained."""
    from lora_core.methods.layers import inject

    rank, alpha = settings.scale_settings()
    inject(model, settings.targets, rank, alpha, generator)
    if settings.freeze_a:
        for name, parameter in model.named_parameters():
            if name.endswith(".lora_A"):
                parameter.requires_grad_(False)
    return model


def save(model: nn.Module, settings: Settings, folder: Path, base_model: BaseModel) -> None:
    """Write the adapter and the head in PEFT's layout."""
    save_low_rank(model, settings, folder, base_model)


def saved_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors that `save` writes, also of a model without weights."""
    return low_rank_tensors(model)


def read_trained_parameters(folder: Path) -> dict[str, torch.Tensor]:
    """Return the saved adapter and head under the model's own parameter names."""
    return read_parameters(folder)
