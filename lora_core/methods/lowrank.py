"""What own LoRA and loralib share: saving and loading A and B. Not a method itself."""

from pathlib import Path
from typing import Any

from torch import nn

from lora_core import adapter, models


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


def fill(model: nn.Module, folder: Path, head: bool) -> nn.Module:
    """A model that `apply` prepared, with a saved adapter. Raises ValueError where the two do not fit."""
    _, low_rank, stored_head = adapter.read(folder, "pt")
    return models.fill(model, low_rank | stored_head, folder, head)
