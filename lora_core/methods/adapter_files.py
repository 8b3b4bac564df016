"""Low-rank adapters in PEFT's own layout on disk, written and read without PEFT.

`adapter_config.json` and `adapter_model.safetensors` load with `PeftModel.from_pretrained`. Tensors are named
`base_model.model.{module}.lora_A.weight` (rank, in) and `.lora_B.weight` (out, rank); the head is stored as PEFT stores
its `modules_to_save`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lora_core.atomic_files import atomic_file
from lora_core.methods.adapter_config import CONFIG, AdapterConfig, is_plain_lora, read_adapter_config, read_config
from lora_core.models.model import head_parameters
from lora_core.models.tensors import Framework, Tensors, read_tensors
from lora_core.records import write_json

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lora_core.methods.settings import LowRankSettings
    from lora_core.models.base_model import BaseModel

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."


@dataclass(frozen=True)
class Adapter:
    """A plain LoRA adapter. The tensors are torch's or numpy's, as they were asked for.

    Attributes:
        config: Its configuration.
        matrices: A (rank, in) as "{module}.lora_A" and B (out, rank) as "{module}.lora_B".
        saved_modules: The tensors of the modules that are stored whole, by their names in the model.
    """

    config: AdapterConfig
    matrices: Mapping[str, Any]
    saved_modules: Mapping[str, Any]

    @property
    def modules(self) -> list[str]:
        """The names of the modules with an update, sorted."""
        return sorted({name.rpartition(".")[0] for name in self.matrices})

    def check_complete(self, linear: Iterable[str], folder: Path) -> None:
        """Raise ValueError for a module of the configuration that has no tensors; `linear` are the model's modules."""
        config, ends = self.config, tuple(f".{target}" for target in self.config.targets)
        lacking = {name for name in linear if f".{name}".endswith(ends) and not config.saves(f"{name}.weight")}
        lacking = lacking - set(self.modules) if config.on_every_target else set()
        if not self.saved_modules:  # PEFT lists the heads of all models, of which this one has one
            lacking |= set(config.modules_to_save)
        if lacking:
            raise ValueError(f"{folder / WEIGHTS} lacks {min(lacking)!r}, which {CONFIG} names; use a complete adapter")


def save_low_rank(model: nn.Module, settings: LowRankSettings, folder: Path, base_model: BaseModel) -> None:
    """Write A and B of a sequence classifier's LoRA layers, and its head."""
    rank, alpha = settings.scale_settings()
    head = dict(head_parameters(model))
    parts = tuple(sorted({name.split(".")[0] for name in head}))
    config = AdapterConfig(rank, alpha, settings.targets, parts, base_model)
    write_adapter(folder, Adapter(config, _matrices(model), head))


def low_rank_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return what `save_low_rank` writes, also of a model without weights."""
    return {**_matrices(model), **dict(head_parameters(model))}


def _matrices(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p for name, p in model.named_parameters() if name.endswith((".lora_A", ".lora_B"))}


def read_parameters(folder: Path) -> dict[str, torch.Tensor]:
    """Return what `save_low_rank` wrote under the model's own parameter names.

    Raise ValueError if the folder holds no plain LoRA adapter.
    """
    adapter = read_adapter(folder, "pt")
    return {**adapter.matrices, **adapter.saved_modules}


def write_adapter(folder: Path, adapter: Adapter) -> None:
    """Write an adapter of torch tensors."""
    tensors = {f"{PREFIX}{name}.weight": tensor for name, tensor in adapter.matrices.items()}
    tensors |= {f"{PREFIX}{name}": tensor for name, tensor in adapter.saved_modules.items()}
    save_tensors(folder, tensors)
    write_json(folder / CONFIG, adapter.config.to_peft())


def write_trained_parameters(folder: Path, kind: str, model: nn.Module, base_model: BaseModel) -> None:
    """Write what a model trains under the parameters' own names, for methods that PEFT does not have.

    `kind` takes the place of PEFT's type in the configuration.
    """
    save_tensors(folder, {name: p for name, p in model.named_parameters() if p.requires_grad})
    write_json(folder / CONFIG, base_model.to_peft() | {"peft_type": kind})


def save_tensors(folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write an adapter's torch tensors; the umask decides who reads them, which safetensors alone does not heed."""
    from safetensors.torch import save_file

    # Copies, because the format refuses tensors that share storage, as those shared between layers do.
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_file(folder / WEIGHTS) as temp_path:
        save_file(copies, temp_path, {"format": "pt"})


def load_tensors(folder: Path, framework: Framework) -> Tensors:
    """Read an adapter's tensors. Raise ValueError if there are none, or the file cannot be used (`read_tensors`)."""
    tensors = read_tensors(folder / WEIGHTS, framework)
    if not tensors:
        raise ValueError(f"{folder / WEIGHTS} holds no tensors; it is not the adapter that {CONFIG} describes")
    return tensors


def read_adapter(folder: Path, framework: Framework) -> Adapter:
    """Read a plain LoRA adapter.

    The folder may come from anywhere. Raise ValueError if it is incomplete or not plain LoRA, if a matrix does not have
    the configured rank, or if a tensor is neither LoRA's nor of a module to save.
    """
    config = read_adapter_config(folder)
    matrices: Tensors = {}
    saved_modules: Tensors = {}
    for key, tensor in load_tensors(folder, framework).items():
        name = key.removeprefix(PREFIX)
        if _is_matrix(name):
            matrices[name.removesuffix(".weight")] = tensor
        elif config.saves(name):
            saved_modules[name] = tensor
        else:
            raise ValueError(f"{folder / WEIGHTS}: {key!r} is neither a LoRA matrix nor in modules_to_save")
    for name, tensor in matrices.items():
        rank_dimension = 0 if name.endswith(".lora_A") else 1
        if tensor.ndim != 2:
            raise ValueError(
                f"{folder / WEIGHTS}: {name!r} has shape {tuple(tensor.shape)}, so its module is not linear; only PEFT "
                "can read this adapter"
            )
        if tensor.shape[rank_dimension] != config.rank:
            raise ValueError(f"{folder / WEIGHTS}: {name!r} has shape {tuple(tensor.shape)} at rank {config.rank}")
    return Adapter(config, matrices, saved_modules)


def layout(folder: Path) -> Literal["low_rank", "peft", "parameters"]:
    """Return how the tensors of a folder are to be read.

    "low_rank" if `read_adapter` reads all of them; "peft" if they have PEFT's names, but only PEFT understands them, as
    the factors of a convolution, which are no matrices; "parameters" if `write_trained_parameters` named them.
    """
    tensors = load_tensors(folder, "numpy")
    if is_plain_lora(read_config(folder)):
        config = read_adapter_config(folder)
        plain = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
        if all(tensor.ndim == 2 if _is_matrix(name) else config.saves(name) for name, tensor in plain.items()):
            return "low_rank"
    return "peft" if any(name.startswith(PREFIX) for name in tensors) else "parameters"


def _is_matrix(name: str) -> bool:
    return name.endswith((".lora_A.weight", ".lora_B.weight"))
