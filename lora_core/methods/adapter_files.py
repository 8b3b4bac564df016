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

from lora_core.models.model import head_parameters
from lora_core.models.tensors import Framework, Tensors, read_tensors
from lora_core.records import JsonObject, read_json, write_json

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lora_core.methods.settings import LowRankSettings

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
# The fields of PEFT's configuration that may have any value in an adapter that means W + B A · alpha / rank.
ANY_VALUE = {
    "auto_mapping", "base_model_name_or_path", "exclude_modules", "inference_mode", "init_lora_weights",
    "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core", "modules_to_save",
    "peft_type", "peft_version", "qalora_group_size", "r", "revision", "target_modules", "task_type",
}  # fmt: skip
SELECTIONS = ("exclude_modules", "layers_to_transform")  # of these fields, those that leave out some targets
# The initial values of LoRA that leave the base weights as they are.
STARTS_OUTSIDE = (True, False, "gaussian", "orthogonal", "eva")


@dataclass(frozen=True)
class AdapterConfig:
    """The configuration of a plain LoRA adapter, and what `adapter_config.json` calls each field.

    Attributes:
        rank: The rank r of A and B (`r`).
        alpha: The update is B A · alpha / rank (`lora_alpha`).
        targets: The names, or the ends of the names, of the modules with an update (`target_modules`).
        modules_to_save: The modules that are stored whole, such as the head (`modules_to_save`).
        base_model: The base model's name or folder; None if unknown (`base_model_name_or_path`).
        dropout: The dropout probability of the low-rank path's input (`lora_dropout`).
        on_every_target: Whether all modules that `targets` name have an update, not only some of them.
        task_type: PEFT's name of the task; None for a model that is not from transformers (`task_type`).
    """

    rank: int
    alpha: float
    targets: tuple[str, ...]
    modules_to_save: tuple[str, ...]
    base_model: str | None
    dropout: float = 0.0
    task_type: str | None = "SEQ_CLS"
    on_every_target: bool = True

    def saves(self, name: str) -> bool:
        """Whether the tensor of this name belongs to a module that is stored whole."""
        return any(name.startswith(f"{module}.") for module in self.modules_to_save)

    def to_peft(self) -> dict[str, object]:
        """Return the fields of `adapter_config.json`, with sorted keys."""
        fields = {
            "base_model_name_or_path": self.base_model,
            "bias": "none",
            "fan_in_fan_out": False,
            "inference_mode": True,
            "init_lora_weights": True,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "modules_to_save": sorted(self.modules_to_save),
            "peft_type": "LORA",
            "r": self.rank,
            "target_modules": sorted(self.targets),
            "task_type": self.task_type,
        }
        return dict(sorted(fields.items()))


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


def save_low_rank(model: nn.Module, settings: LowRankSettings, folder: Path, base_model: str) -> None:
    """Write A and B of a sequence classifier's LoRA layers, and its head."""
    rank, alpha = settings.scale_settings()
    matrices = {name: p for name, p in model.named_parameters() if name.endswith((".lora_A", ".lora_B"))}
    head = dict(head_parameters(model))
    parts = tuple(sorted({name.split(".")[0] for name in head}))
    write_adapter(folder, Adapter(AdapterConfig(rank, alpha, settings.targets, parts, base_model), matrices, head))


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


def write_trained_parameters(folder: Path, kind: str, model: nn.Module, base_model: str) -> None:
    """Write what a model trains under the parameters' own names, for methods that PEFT does not have.

    `kind` takes the place of PEFT's type in the configuration.
    """
    save_tensors(folder, {name: p for name, p in model.named_parameters() if p.requires_grad})
    write_json(folder / CONFIG, {"base_model_name_or_path": base_model, "peft_type": kind})


def save_tensors(folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write an adapter's torch tensors."""
    from safetensors.torch import save_file

    # Copies, because the format refuses tensors that share storage, as those shared between layers do.
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(copies, folder / WEIGHTS, {"format": "pt"})


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
        if tensor.ndim != 2 or tensor.shape[rank_dimension] != config.rank:
            raise ValueError(f"{folder / WEIGHTS}: {name!r} has shape {tuple(tensor.shape)} at rank {config.rank}")
    return Adapter(config, matrices, saved_modules)


def layout(folder: Path) -> Literal["low_rank", "peft", "parameters"]:
    """Return how the tensors of a folder are to be read.

    "low_rank" if `read_adapter` reads all of them; "peft" if they have PEFT's names, but only PEFT understands them;
    "parameters" if `write_trained_parameters` named them.
    """
    names = load_tensors(folder, "numpy").keys()
    if is_plain_lora(read_config(folder)):
        config = read_adapter_config(folder)
        plain_names = [name.removeprefix(PREFIX) for name in names]
        if all(_is_matrix(name) or config.saves(name) for name in plain_names):
            return "low_rank"
    return "peft" if any(name.startswith(PREFIX) for name in names) else "parameters"


def read_config(folder: Path) -> JsonObject:
    """Read PEFT's `adapter_config.json`. Raise ValueError if it is missing or names no type."""
    path = folder / CONFIG
    try:
        config = read_json(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); every adapter folder has one") from error
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise ValueError(f"{path}: the key peft_type is missing; it names the kind of adapter")
    return config


def is_plain_lora(config: Mapping[str, Any]) -> bool:
    """Whether PEFT's configuration means W + B A · alpha / rank and nothing else; PEFT itself must read the rest.

    An adapter that started inside the base weights is not plain: PEFT computes that start again when loading it.
    """
    special = {key for key, value in config.items() if value and (key, value) != ("bias", "none")} - ANY_VALUE
    outside = config.get("init_lora_weights", True) in STARTS_OUTSIDE
    return config["peft_type"] == "LORA" and outside and not special


def read_adapter_config(folder: Path) -> AdapterConfig:
    """Read the configuration of a plain LoRA adapter. Raise ValueError if it is another, incomplete or malformed."""
    config, path = read_config(folder), folder / CONFIG
    if not is_plain_lora(config):
        raise ValueError(f"{path}: the adapter is not plain LoRA")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float) or not abs(alpha) < 1e9:
        raise ValueError(f"{path}: r is {rank!r} and lora_alpha {alpha!r}; expected a positive integer and a number")
    saved, targets = config.get("modules_to_save") or [], config.get("target_modules") or []
    if not isinstance(saved, list):
        raise ValueError(f"{path}: modules_to_save is {saved!r}; expected a list of names")
    if not isinstance(targets, list | str):
        raise ValueError(f"{path}: target_modules is {targets!r}; expected a name or a list of names")
    dropout = config.get("lora_dropout") or 0.0
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"{path}: lora_dropout is {dropout!r}; expected a probability below 1")
    return AdapterConfig(
        rank=rank,
        alpha=alpha,
        targets=(targets,) if isinstance(targets, str) else tuple(targets),
        modules_to_save=tuple(saved),
        base_model=config.get("base_model_name_or_path"),
        dropout=dropout,
        task_type=config.get("task_type"),
        # Where there is a regular expression or an exception, PEFT alone knows the modules.
        on_every_target=isinstance(targets, list) and not any(map(config.get, SELECTIONS)),
    )


def _is_matrix(name: str) -> bool:
    return name.endswith((".lora_A.weight", ".lora_B.weight"))
