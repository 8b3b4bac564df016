"""The configuration of a low-rank adapter, adapter_config.json, in PEFT's form but written and read without PEFT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_core.models.base_model import BaseModel
from lora_core.records import JsonObject, read_json

CONFIG = "adapter_config.json"
# The fields of PEFT's configuration that may have any value in an adapter that means W + B A · alpha / rank.
ANY_VALUE = {
    "auto_mapping", "base_model_name_or_path", "exclude_modules", "inference_mode", "init_lora_weights",
    "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core", "modules_to_save",
    "peft_type", "peft_version", "qalora_group_size", "r", "revision", "target_modules", "task_type",
}  # fmt: skip
SELECTIONS = ("exclude_modules", "layers_to_transform")  # of these fields, those that leave out some targets
# The initial values of LoRA that leave the base weights as they are.
STARTS_OUTSIDE = (True, False, "gaussian", "orthogonal", "eva")
# The fields that are left out of a configuration where they have these values, PEFT's defaults.
DEFAULTS = {"lora_alpha": 8, "lora_dropout": 0.0, "modules_to_save": [], "r": 8, "task_type": None}


@dataclass(frozen=True)
class AdapterConfig:
    """The configuration of a plain LoRA adapter, and what `adapter_config.json` calls each field.

    Attributes:
        rank: The rank r of A and B (`r`).
        alpha: The update is B A · alpha / rank (`lora_alpha`).
        targets: The names, or the ends of the names, of the modules with an update (`target_modules`).
        modules_to_save: The modules that are stored whole, such as the head (`modules_to_save`).
        base_model: The base model's name; None if unknown (`base_model_name_or_path`, `revision`).
        dropout: The dropout probability of the low-rank path's input (`lora_dropout`).
        on_every_target: Whether all modules that `targets` name have an update, not only some of them.
        task_type: PEFT's name of the task; None for a model that is not from transformers (`task_type`).
    """

    rank: int
    alpha: float
    targets: tuple[str, ...]
    modules_to_save: tuple[str, ...]
    base_model: BaseModel | None
    dropout: float = 0.0
    task_type: str | None = "SEQ_CLS"
    on_every_target: bool = True

    def saves(self, name: str) -> bool:
        """Whether the tensor of this name belongs to a module that is stored whole."""
        return any(name.startswith(f"{module}.") for module in self.modules_to_save)

    def to_peft(self) -> dict[str, object]:
        """Return the fields of `adapter_config.json` that differ from PEFT's defaults, with sorted keys."""
        fields = {
            "inference_mode": True,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "modules_to_save": sorted(self.modules_to_save),
            "peft_type": "LORA",
            "r": self.rank,
            "target_modules": sorted(self.targets),
            "task_type": self.task_type,
        }
        fields |= self.base_model.to_peft() if self.base_model else {}
        return {name: value for name, value in sorted(fields.items()) if (name, value) not in DEFAULTS.items()}


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
    rank, alpha = (config.get(name, DEFAULTS[name]) for name in ("r", "lora_alpha"))
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
    base = config.get("base_model_name_or_path")
    return AdapterConfig(
        rank=rank,
        alpha=alpha,
        targets=(targets,) if isinstance(targets, str) else tuple(targets),
        modules_to_save=tuple(saved),
        base_model=BaseModel(str(base), config.get("revision")) if base else None,
        dropout=dropout,
        task_type=config.get("task_type"),
        # Where there is a regular expression or an exception, PEFT alone knows the modules.
        on_every_target=isinstance(targets, list) and not any(map(config.get, SELECTIONS)),
    )
