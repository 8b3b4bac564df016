"""Any method of the package `peft`, described by PEFT's own configuration."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from lora_core.methods import peft_config
from lora_core.methods.adapter_config import CONFIG
from lora_core.methods.adapter_files import save_tensors
from lora_core.methods.patterns import check_patterns
from lora_core.methods.settings import MethodSettings, PlainLora, TrainingOptions
from lora_core.models.model import head_parameters
from lora_core.records import write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch
    from torch import nn

    from lora_core.models.base_model import BaseModel


@dataclass(frozen=True)
class Settings(MethodSettings):
    """Any method of the package `peft`: `config` is PEFT's own configuration, with its `peft_type`."""

    library: ClassVar[Literal["peft", "transformers"] | None] = "peft"

    config: dict[str, Any]

    def __post_init__(self) -> None:
        """Turn texts that are numbers into numbers. Raise ValueError if `peft_type` is missing."""
        if not isinstance(self.config.get("peft_type"), str):
            raise ValueError("config: the key peft_type is missing (for example LORA or IA3)")
        numbers = {key: _number(value) for key, value in self.config.items()}
        object.__setattr__(self, "config", numbers)  # the class is frozen

    @property
    def peft_type(self) -> str:
        """PEFT's name of the method."""
        return self.config["peft_type"]

    def default_label(self) -> str:
        """PEFT's name of the method."""
        return self.peft_type

    def can_merge(self) -> bool:
        """Whether the method changes weights, and not the input."""
        return self.peft_type not in peft_config.UNMERGEABLE

    def can_start_another_task(self) -> bool:
        """Whether what PEFT saves is what was trained."""
        return peft_config.can_start_another_task(self.config)

    def trains_matrix_b(self) -> bool:
        """Whether the method is LoRA or one of its variants."""
        return self.peft_type == "LORA"

    def plain_lora(self) -> PlainLora | None:
        """The rank, alpha and targets if the configuration gives these and nothing else."""
        config = {"lora_dropout": 0.0} | self.config
        keys = {"peft_type", "lora_dropout", "r", "lora_alpha", "target_modules"}
        if config.keys() != keys or self.peft_type != "LORA" or config["lora_dropout"]:
            return None
        if not isinstance(config["target_modules"], list):  # PEFT chooses the modules itself
            return None
        return PlainLora(config["r"], config["lora_alpha"], tuple(sorted(config["target_modules"])))

    def check(self, hyperparameters: TrainingOptions) -> None:
        """Raise ValueError if PEFT does not know the configuration, or it cannot be trained here."""
        try:
            peft_config.new_configuration(self.config)
        except ValueError as error:
            raise ValueError(f"config: {error}") from error
        super().check(hyperparameters)
        if self.peft_type in peft_config.PREFIX_TYPES and hyperparameters.gradient_checkpointing:
            raise ValueError(
                f"hyperparameters.gradient_checkpointing: {self.peft_type} does not work with it; leave it out"
            )


def _number(value: Any) -> Any:
    """Convert texts like 1e-3 and 1.0e3, which YAML does not read as numbers and PEFT would take as they are."""
    if isinstance(value, dict):
        return {key: _number(inner) for key, inner in value.items()}
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", value):
        return int(number) if (number := float(value)).is_integer() else number
    return value


def apply(model: nn.Module, settings: Settings, generator: torch.Generator) -> nn.Module:
    """Wrap the model as PEFT does. What PEFT draws at random comes from the generator's seed.

    The matrices A of LoRA, if they start as by PEFT's default, are drawn as in the project's own LoRA, so that the two
    start equal. Raise ValueError for a configuration that cannot be trained or merged, if PEFT would not save a part of
    the head or would train nothing else, and for a name in the configuration that matches nothing in the model.
    """
    import torch
    from peft import get_peft_model

    config = peft_config.new_configuration(settings.config)
    if not config.is_prompt_learning:
        config.modules_to_save = _modules_to_save(model, config.modules_to_save)
    modules = [name for name, _ in model.named_modules()]
    check_patterns(settings.config, model)
    peft_config.check_convolutions(config, model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        adapted = get_peft_model(model, config)
    peft_config.check_names(settings.config, adapted, modules)
    head = dict(head_parameters(adapted))
    if {id(p) for p in adapted.parameters() if p.requires_grad} <= {id(p) for p in head.values()}:
        raise ValueError(f"{config.peft_type.value} changes none of its target_modules in this model; choose others")
    unsaved = [name for name in head if ".modules_to_save." not in name]
    if unsaved:
        raise ValueError(
            f"PEFT does not save {unsaved[0]!r}, a part of this model's head, with {config.peft_type.value}"
        )
    initialization: bool | str | None = getattr(config, "init_lora_weights", None)
    if initialization is True:
        for name, parameter in adapted.named_parameters():
            if name.endswith("lora_A.default.weight"):
                torch.nn.init.kaiming_uniform_(parameter, a=math.sqrt(5), generator=generator)
    if isinstance(initialization, str) and initialization.startswith(peft_config.CHANGES_BASE_WEIGHTS):
        _remember_initial_matrices(adapted, initialization)
    return adapted


def _modules_to_save(model: nn.Module, configured: list[str] | None) -> list[str]:
    """The whole head, of which PEFT knows only `classifier` and `score`, and what the configuration adds to it."""
    head = [name for name, _ in head_parameters(model)]
    parts, more = {name.split(".")[0] for name in head}, set(configured or ())
    for module in more - parts:
        if any(name.rpartition(".")[0].endswith(module) for name in head):
            raise ValueError(f"modules_to_save: {module!r} is in the head, which is trained anyway; leave it out")
    return sorted(parts | more)


def _remember_initial_matrices(adapted: Any, initialization: str) -> None:
    """Keep A and B as they start: `save` needs them, because their product was taken out of the base weights."""
    if any("lora_embedding_" in name for name, _ in adapted.named_parameters()):
        raise ValueError(f"init_lora_weights: {initialization!r} does not support embeddings in target_modules")
    state = _state(adapted).items()
    adapted.initial = {name: tensor.clone() for name, tensor in state if re.search(r"\.lora_[AB]\.", name)}


def init_from_data(
    model: nn.Module, settings: Settings, batches: Callable[[], list[Mapping[str, torch.Tensor]]]
) -> None:
    """Start from the training data if the configuration asks for it: EVA's A are principal directions of the data."""
    from peft import initialize_lora_eva_weights

    if settings.config.get("init_lora_weights") == "eva":
        initialize_lora_eva_weights(model, batches(), show_progress_bar=False)


def save(model: nn.Module, settings: Settings, folder: Path, base_model: BaseModel) -> None:
    """Write the adapter and the head as PEFT does, in the same bytes every time.

    An adapter that started inside the base weights W is written relative to W itself, with twice the rank:
    W - s B0 A0 + s B A = W + s [B, -B0] [A; A0] (PEFT's `path_initial_model_for_weight_conversion`).
    """
    config: Any = model.peft_config["default"]  # type: ignore[index]
    changes: dict[str, Any] = {"inference_mode": True}
    if getattr(model, "initial", {}):
        growth = math.sqrt(2) if config.use_rslora else 2
        changes |= {"r": 2 * config.r, "lora_alpha": growth * config.lora_alpha}
    if isinstance(getattr(config, "init_lora_weights", None), str):  # stored values are not initialized again
        changes |= {"init_lora_weights": True, "eva_config": None}
    fields = peft_config.differing_fields(config, changes) | base_model.to_peft()
    save_tensors(folder, saved_tensors(model))
    write_json(folder / CONFIG, dict(sorted(fields.items())))


def saved_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors that `save` writes, also of a model without weights."""
    import torch

    state = _state(model)
    for name, start in getattr(model, "initial", {}).items():
        state[name] = torch.cat([state[name], -start], 1) if "lora_B" in name else torch.cat([state[name], start])
    return state


def load(model: nn.Module, settings: Settings, folder: Path, with_head: bool = True) -> nn.Module:
    """Return the model with a saved adapter. Raise ValueError if the two do not fit."""
    return peft_config.attach_saved_adapter(model, folder, with_head)


def reload(model: nn.Module, folder: Path) -> None:
    """Replace the adapter and the head by saved ones. Raise ValueError if they do not fit the model."""
    peft_config.replace_adapter(model, folder)


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    import torch
    from peft import get_peft_model_state_dict

    encoder = getattr(model, "prompt_encoder", None)
    if encoder is not None and any(parameter.is_meta for parameter in encoder.parameters()):
        # PEFT copies the prompt to the CPU, which nothing without data can be.
        encoder.to_empty(device="cpu")
        tokens = cast(dict[str, torch.Tensor], model.prompt_tokens)
        tokens |= {name: torch.zeros(these.shape, dtype=these.dtype) for name, these in tokens.items()}
    return get_peft_model_state_dict(model)
