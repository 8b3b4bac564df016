"""Full fine-tuning: every weight is trained."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lora_core.methods.settings import MethodSettings
from lora_core.models.model import head_parameters, stored_tensors
from lora_core.models.tensors import read_tensors

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn


@dataclass(frozen=True)
class Settings(MethodSettings):
    """Full fine-tuning: every weight is trained."""

    title: ClassVar[str] = "Full fine-tuning"
    protocol_column: ClassVar[Literal["full", "adapter"]] = "full"
    cost_table: ClassVar[Literal["table5", "table6"]] = "table5"
    saves_full_weights: ClassVar[bool] = True
    library: ClassVar[Literal["peft", "transformers"] | None] = "transformers"


def apply(model: nn.Module, settings: Settings, generator: torch.Generator) -> nn.Module:
    """Return the model as it is: all is trainable but what transformers fixes, such as RoFormer's sinusoidal table."""
    return model


def save(model: nn.Module, settings: Settings, folder: Path, base_model: str) -> None:
    """Write a plain transformers folder."""
    model.save_pretrained(folder)  # type: ignore[operator]


def saved_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors that `save` writes, also of a model without weights."""
    return stored_tensors(model)


def load(model: nn.Module, settings: Settings, folder: Path, with_head: bool = True) -> nn.Module:
    """Copy saved weights into a model; without `with_head` all but the head's.

    transformers reads them, because some classes of models save tensors under other names than they have in memory.
    Raise ValueError if the file cannot be used, or its tensors are those of another model.
    """
    import torch

    stored = read_tensors(folder / "model.safetensors", "pt")
    transformers_class: Any = type(model)
    saved, report = transformers_class.from_pretrained(
        None, config=copy.deepcopy(model.config), state_dict=stored, dtype=torch.float32, ignore_mismatched_sizes=True,
        output_loading_info=True,
    )  # fmt: skip
    left_out = set() if with_head else {name for name, _ in head_parameters(model)}
    mismatched = {name for name, *_ in report["mismatched_keys"]}
    if (mismatched | set(report["missing_keys"]) | set(report["unexpected_keys"])) - left_out:
        raise ValueError(f"the weights in {folder} were made for another model or other settings")
    tensors = model.state_dict()
    for name in tensors.keys() - left_out:
        tensors[name].copy_(saved.state_dict()[name])
    return model
