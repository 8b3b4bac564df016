"""What own LoRA and loralib share: finding the targets, saving and loading A and B. Not a method itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lora_core import adapter
from lora_core.models import head_parameters


def replace(model: nn.Module, settings: dict[str, Any], build: Callable[[nn.Linear], nn.Module]) -> None:
    """Replace every linear module of the base model whose name ends in one of the targets.

    Raises ValueError where no module does.
    """
    base = getattr(model, "base_model", model)
    linear = {name: module for name, module in base.named_modules() if isinstance(module, nn.Linear)}
    found = [name for name in linear if any(f".{name}".endswith(f".{target}") for target in settings["targets"])]
    if not found:
        known = sorted({name.rpartition(".")[2] for name in linear})
        raise ValueError(f"no linear module is called {settings['targets']}; this model has {known}")
    for name in found:
        parent, _, child = name.rpartition(".")
        setattr(base.get_submodule(parent), child, build(linear[name]))


def save(model: nn.Module, settings: dict[str, Any], folder: Path, base_model: str) -> None:
    """Write the adapter and the head in PEFT's layout."""
    state = {name: p for name, p in model.named_parameters() if name.endswith((".lora_A", ".lora_B"))}
    adapter.write(
        folder,
        state,
        dict(head_parameters(model)),
        rank=settings["rank"],
        alpha=settings["alpha"],
        targets=list(settings["targets"]),
        base_model=base_model,
    )


@torch.no_grad()
def load(model: nn.Module, settings: dict[str, Any], folder: Path) -> None:
    """Fill a model that `apply` prepared from a saved adapter. Raises ValueError where the two do not fit."""
    _, low_rank, head = adapter.read(folder, "pt")
    own = {name: p for name, p in model.named_parameters() if name.endswith((".lora_A", ".lora_B"))}
    own |= dict(head_parameters(model))
    stored = low_rank | head
    if own.keys() != stored.keys() or any(own[name].shape != stored[name].shape for name in own):
        raise ValueError(f"the adapter in {folder} was made for another model or other settings")
    for name, parameter in own.items():
        parameter.copy_(stored[name])
