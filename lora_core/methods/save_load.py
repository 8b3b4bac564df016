"""Save the adapter of any torch model with LoRALinear layers, and load one into a fresh base model."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from lora_core.methods.adapter_config import AdapterConfig
from lora_core.methods.adapter_files import Adapter, read_adapter, write_adapter
from lora_core.methods.layers import LoRALinear, allow_fused_path
from lora_core.models.base_model import BaseModel

Model = TypeVar("Model", bound=nn.Module)


def save_adapter(model: nn.Module, folder: Path | str, base_model: str | None = None) -> None:
    """Write A and B of every LoRALinear, and whatever else is trained, in PEFT's layout.

    `load_adapter` and PEFT's `PeftModel.from_pretrained(base, folder)` read the folder. `base_model` is the base
    model's name, for readers of the folder. What is trained outside the LoRALinears, such as a head, is stored by whole
    modules without LoRALinears. Raise ValueError if there is no such module, if the model has no LoRALinear, or if its
    LoRALinears differ in rank, alpha or dropout.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}
    if not layers or "" in layers:
        raise ValueError("there is no LoRALinear inside this model; call inject first")
    shared = {(layer.rank, layer.alpha, layer.dropout.p if layer.dropout else 0.0) for layer in layers.values()}
    if len(shared) > 1:
        raise ValueError(
            f"the (rank, alpha, dropout) of the layers differ: {sorted(shared)}; one adapter has one of each"
        )
    ((rank, alpha, dropout),) = shared
    matrices = {
        f"{name}.{matrix}": parameter
        for name, layer in layers.items()
        for matrix, parameter in (("lora_A", layer.lora_A), ("lora_B", layer.lora_B))
    }
    saved = _trained_modules(model, set(layers))
    base = BaseModel(base_model) if base_model else None
    config = AdapterConfig(rank, alpha, tuple(layers), tuple(saved), base, dropout, task_type=None)
    tensors = {name: tensor for name, tensor in model.state_dict().items() if config.saves(name)}
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_adapter(Path(folder), Adapter(config, matrices, tensors))


def _trained_modules(model: nn.Module, layers: set[str]) -> list[str]:
    """The largest modules that are trained and hold none of these layers."""
    modules = set()
    for name, parameter in model.named_parameters():
        parent = name.rpartition(".")[0]
        if not parameter.requires_grad or parent in layers:
            continue
        parts = parent.split(".")
        ancestors = [".".join(parts[: depth + 1]) for depth in range(len(parts))]
        free = [a for a in ancestors if a and not any(layer == a or layer.startswith(f"{a}.") for layer in layers)]
        if not free:
            raise ValueError(f"{name} is trained, but no module with it is free of LoRALinears; it cannot be saved")
        modules.add(free[0])
    return sorted(modules)


def load_adapter(model: Model, folder: Path | str) -> Model:
    """Put a plain LoRA adapter that `save_adapter` or PEFT wrote into a fresh base model.

    The model is changed in place and returned. It is frozen, except for A, B and the modules that were stored whole,
    so that training can continue. Raise ValueError, before anything is changed, if the folder holds no plain LoRA
    adapter or the adapter does not fit the model.
    """
    adapter = read_adapter(Path(folder), "pt")
    linear = {name: _linear(model, adapter, name) for name in adapter.modules}
    adapter.check_complete(
        [name for name, module in model.named_modules() if isinstance(module, nn.Linear)], Path(folder)
    )
    state = model.state_dict(keep_vars=True)
    for name, tensor in adapter.saved_modules.items():
        if name not in state or state[name].shape != tensor.shape:
            raise ValueError(f"the adapter in {folder} holds {name!r}, which this model lacks or has in another shape")
    model.requires_grad_(False)
    with torch.no_grad():
        for name, base in linear.items():
            layer = LoRALinear(base, adapter.config.rank, adapter.config.alpha, dropout=adapter.config.dropout)
            layer.lora_A.copy_(adapter.matrices[f"{name}.lora_A"])
            layer.lora_B.copy_(adapter.matrices[f"{name}.lora_B"])
            model.set_submodule(name, layer.train(base.training))
        for name, tensor in adapter.saved_modules.items():
            state[name].copy_(tensor)
            if isinstance(state[name], nn.Parameter):
                state[name].requires_grad_(True)
    allow_fused_path(model, False)
    return model


def _linear(model: nn.Module, adapter: Adapter, name: str) -> nn.Linear:
    """The linear module of the model that A and B of this name fit."""
    try:
        module = model.get_submodule(name)
    except AttributeError:
        module = None
    a: Tensor | None = adapter.matrices.get(f"{name}.lora_A")
    b: Tensor | None = adapter.matrices.get(f"{name}.lora_B")
    if not isinstance(module, nn.Linear) or a is None or b is None:
        raise ValueError(f"the adapter's {name!r} does not fit this model, or lacks one of its two matrices")
    if module.weight.shape != (b.shape[0], a.shape[1]):
        raise ValueError(f"the adapter's {name!r} is for a weight of shape {(b.shape[0], a.shape[1])}, "
                         f"but this model's has {tuple(module.weight.shape)}")  # fmt: skip
    return module
