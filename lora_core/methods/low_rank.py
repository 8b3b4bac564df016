"""What own LoRA and loralib share: saving and loading A and B. Not a method itself."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from lora_core.methods import adapter_files as adapter
from lora_core.models import model as models

LIBRARY = "peft"


def save(model: nn.Module, settings: dict[str, Any], folder: Path, base_model: str) -> None:
    """Write the adapter and the head in PEFT's layout."""
    state = {name: p for name, p in model.named_parameters() if name.endswith((".lora_A", ".lora_B"))}
    adapter.write(
        folder,
        state,
        dict(models.head_parameters(model)),
        rank=settings["rank"],
        alpha=settings["alpha"],
        targets=list(settings["targets"]),
        base_model=base_model,
    )


def stored(folder: Path) -> dict[str, torch.Tensor]:
    """The saved adapter and head, under the model's own names. Raises ValueError for what is no plain LoRA adapter."""
    _, low_rank, head = adapter.read(folder, "pt")
    return low_rank | head
