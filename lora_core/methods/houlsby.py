"""Houlsby adapters (Houlsby et al. 2019): a bottleneck after the attention's and the feed-forward's projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Gt

from lora_core.methods.settings import MethodSettings, Targets
from lora_core.models.model import replace_linear

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Settings(MethodSettings):
    """Houlsby adapters (Houlsby et al. 2019) after the linear modules whose names end in one of `targets`."""

    title: ClassVar[str] = "Houlsby adapters"

    bottleneck: Annotated[int, Gt(0)] = 64
    targets: Targets = ("output.dense",)


def apply(model: nn.Module, settings: Settings, generator: torch.Generator) -> nn.Module:
    """Freeze the model, its layer norms included, and put a Bottleneck around each target."""
    from lora_core.methods.bottleneck import Bottleneck

    model.requires_grad_(False)
    replace_linear(model, settings.targets, lambda base: Bottleneck(base, settings.bottleneck, generator))
    return model
