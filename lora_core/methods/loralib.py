"""The reference implementation: the package `loralib` in the same training loop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lora_core.methods.adapter_files import low_rank_tensors, read_parameters, save_low_rank
from lora_core.methods.settings import LowRankSettings
from lora_core.models.model import replace_linear

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from lora_core.models.base_model import BaseModel


@dataclass(frozen=True)
class Settings(LowRankSettings):
    """The reference package `loralib` on the modules whose names end in one of `targets`."""

    title: ClassVar[str] = "LoRA (loralib)"


def apply(model: nn.Module, settings: Settings, generator: torch.Generator) -> nn.Module:
    """Freeze the model and replace each target by a loralib.Linear, whose A and B are trained.

    `merge_weights` is False, because the layer otherwise merges itself in `eval()`, and a second time after loading
    what was saved then. The layer draws A, and a weight that is thrown away, from the global generator; A is therefore
    drawn again from `generator`.
    """
    import loralib
    from torch import nn

    rank, alpha = settings.scale_settings()

    def build(base: nn.Linear) -> nn.Module:
        layer = loralib.Linear(
            base.in_features,
            base.out_features,
            r=rank,
            lora_alpha=alpha,
            merge_weights=False,
            bias=base.bias is not None,
            device=base.weight.device,
            dtype=base.weight.dtype,
        )
        layer.weight, layer.bias = base.weight, base.bias
        nn.init.kaiming_uniform_(layer.lora_A, a=math.sqrt(5), generator=generator)
        return layer

    model.requires_grad_(False)
    replace_linear(model, settings.targets, build)
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
