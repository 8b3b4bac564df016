"""The configuration of a low-rank adapter, adapter_config.json, in PEFT's form but written and read without PEFT."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_core.methods.patterns import check_syntax
from lora_core.models.base_model import BaseModel
from lora_core.plain_text import shorten
from lora_core.records import JsonObject, read_json

CONFIG = "adapter_config.json"
# The fields of PEFT's configuration that may have any value in an adapter that means W + B A · alpha / rank.
ANY_VALUE = {
    "auto_mapping", "base_model_name_or_path", "exclude_modules", "inference_mode", "init_lora_weights",
    "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core", "modules_to_save",
    "peft_type", "peft_version", "qalora_group_size", "r", "revision", "target_modules", "task_type",
}  # fmt: skip
SELECTIONS = ("exclude_modules", "layers_to_transform")  # of these fields, those that leave out some targets
MAX_NUMBER = 1e9  # of r and lora_alpha: what is larger is a mistake, and may be no number that float32 has
# The initial values of LoRA that leave the base weights as they are.
STARTS_OUTSIDE = (True, False, "gaussian", "orthogonal", "eva")
# The fields that are left out of a configuration where they have these values, PEFT's defaults.
DEFAULTS = {"lora_alpha": 8, "lora_dropout": 0.0, "modules_to_save": [], "r": 8, "task_type": None}


def _is_number(value: object) -> bool:
    """Whether a value of JSON is a number: to Python, true is one too."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _selects_modules(value: object) -> bool:
    return _is_text(value) or _is_list_of_names(value)


def _selects_layers(value: object) -> bool:
    return all(type(layer) is int for layer in (value if isinstance(value, list) else [value]))


def _is_number_by_pattern(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


# What fields of PEFT's configuration hold if they are not null, and how a message calls it.
EXPECTED: dict[str, tuple[Callable[[object], bool], str]] = {
    "alpha_pattern": (_is_number_by_pattern, "a number for each pattern"),
    "base_model_name_or_path": (_is_text, "a name on the hub, or a folder"),
    "exclude_modules": (_selects_modules, "a name or a list of names"),
    "layers_to_transform": (_selects_layers, "a layer's number or a list of them"),
    "lora_alpha": (_is_number, "a number"),
    "modules_to_save": (_is_list_of_names, "a list of names"),
    "r": (_is_number, "a number"),
    "rank_pattern": (_is_number_by_pattern, "a number for each pattern"),
    "revision": (_is_text, "a text"),
    "target_modules": (_selects_modules, "a name or a list of names"),
    "task_type": (_is_text, "a text"),
}


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
    """Read PEFT's `adapter_config.json`. Raise ValueError if it is missing, names no type or has a malformed field."""
    path = folder / CONFIG
    try:
        config = read_json(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); every adapter folder has one") from error
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise ValueError(f"{path}: the key peft_type is missing; it names the kind of adapter")
    for name, (is_expected, expected) in EXPECTED.items():
        value = config.get(name)
        if value is not None and not is_expected(value):
            raise ValueError(f"{path}: {name} is {shorten(repr(value))}; expected {expected}")
    try:
        check_syntax(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
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
    if not isinstance(rank, int) or not 0 < rank < MAX_NUMBER or not _is_number(alpha) or not abs(alpha) < MAX_NUMBER:
        rank, alpha = shorten(repr(rank)), shorten(repr(alpha))
        raise ValueError(f"{path}: r is {rank} and lora_alpha {alpha}; expected a positive integer and a number")
    saved, targets = config.get("modules_to_save") or [], config.get("target_modules") or []
    dropout = config.get("lora_dropout") or 0.0
    if not _is_number(dropout) or not 0 <= dropout < 1:
        raise ValueError(f"{path}: lora_dropout is {shorten(repr(dropout))}; expected a probability below 1")
    base = config.get("base_model_name_or_path")
    return AdapterConfig(
        rank=rank,
        alpha=alpha,
        targets=(targets,) if isinstance(targets, str) else tuple(targets),
        modules_to_save=tuple(saved),
        base_model=BaseModel(base, config.get("revision")) if base else None,
        dropout=dropout,
        task_type=config.get("task_type"),
        # Where there is a regular expression or an exception, PEFT alone knows the modules.
        on_every_target=isinstance(targets, list) and not any(map(config.get, SELECTIONS)),
    )
