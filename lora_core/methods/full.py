"""Full fine-tuning: every weight is trained."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

LIBRARY = "transformers"


def apply(model: nn.Module, settings: dict[str, Any], generator: torch.Generator) -> nn.Module:
    """Leave every parameter trainable."""
    return model.requires_grad_(True)


def save(model: nn.Module, settings: dict[str, Any], folder: Path, base_model: str) -> None:
    """Write a plain transformers folder."""
    model.save_pretrained(folder)  # type: ignore[operator]


def stored(folder: Path) -> dict[str, torch.Tensor]:
    """The saved weights."""
    return load_file(folder / "model.safetensors")
