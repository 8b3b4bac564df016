"""Full fine-tuning: every weight is trained."""

from pathlib import Path
from typing import Any

import torch
from torch import nn


def apply(model: nn.Module, settings: dict[str, Any], generator: torch.Generator) -> None:
    """Leave every parameter trainable."""
    model.requires_grad_(True)


def save(model: nn.Module, settings: dict[str, Any], folder: Path, base_model: str) -> None:
    """Write a plain transformers folder."""
    model.save_pretrained(folder)  # type: ignore[operator]
