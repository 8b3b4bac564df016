"""Any method of the package `peft`, by its own configuration."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lora_core.methods.adapter_files import CONFIG, save_tensors
from lora_core.methods.peft_config import MUTATING, new_configuration, wrap
from lora_core.models import model as models
from lora_core.records import write_json

LIBRARY = "peft"


def apply(model: nn.Module, settings: dict[str, Any], generator: torch.Generator) -> nn.Module:
    """Wrap the model as PEFT does; what PEFT draws comes from the generator's seed.

    LoRA's A, where it starts as PEFT starts it by default, is drawn as in own LoRA, so that the two start equal.
    Raises ValueError for a configuration that cannot take part, and where PEFT would lose a part of the head.
    """
    from peft import get_peft_model

    config = new_configuration(settings["config"])
    head = [name for name, _ in models.head_parameters(model)]
    if not config.is_prompt_learning:  # the whole of the head, where PEFT knows `classifier` and `score` alone
        parts, told = {name.split(".")[0] for name in head}, set(config.modules_to_save or ())
        for module in told - parts:
            if any(name.rpartition(".")[0].endswith(module) for name in head):
                raise ValueError(f"modules_to_save: {module!r} is in the head, which is trained anyway; leave it out")
        config.modules_to_save = sorted(parts | told)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        adapted = get_peft_model(model, config)
    lost = [name for name, _ in models.head_parameters(adapted) if ".modules_to_save." not in name]
    if lost:
        raise ValueError(f"PEFT does not save {lost[0]!r}, a part of this model's head, with {config.peft_type.value}")
    start = getattr(config, "init_lora_weights", None)
    for name, parameter in adapted.named_parameters():
        if start is True and name.endswith("lora_A.default.weight"):
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5), generator=generator)
    if str(start).startswith(MUTATING):
        if any("lora_embedding_" in name for name, _ in adapted.named_parameters()):
            raise ValueError(f"init_lora_weights: {start!r} does not go with an embedding among target_modules")
        adapted.initial = {name: t.clone() for name, t in _state(adapted).items() if re.search(r"\.lora_[AB]\.", name)}
    return adapted


def look(model: nn.Module, settings: dict[str, Any], batches: Callable[[], list[dict[str, Any]]]) -> None:
    """Start from the training data, where the configuration asks for it: EVA's A are principal directions of it."""
    from peft import initialize_lora_eva_weights

    if settings["config"].get("init_lora_weights") == "eva":
        initialize_lora_eva_weights(model, batches(), show_progress_bar=False)


def save(model: nn.Module, settings: dict[str, Any], folder: Path, base_model: str) -> None:
    """Write the adapter and the head as PEFT does, in the same bytes every time.

    An adapter that started inside the base weights W is written against W itself, where it has twice the rank:
    W - s B0 A0 + s B A = W + s [B, -B0] [A; A0] (PEFT's `path_initial_model_for_weight_conversion`).
    """
    config = model.peft_config["default"].to_dict()  # type: ignore[index, union-attr]
    state = _state(model)
    for name, start in getattr(model, "initial", {}).items():
        state[name] = torch.cat([state[name], -start], 1) if "lora_B" in name else torch.cat([state[name], start])
    if hasattr(model, "initial"):
        growth = math.sqrt(2) if config["use_rslora"] else 2
        config |= {"r": 2 * config["r"], "lora_alpha": growth * config["lora_alpha"]}
    if isinstance(config.get("init_lora_weights"), str):  # the values are stored: nothing is to be started again
        config |= {"init_lora_weights": True, "eva_config": None}
    config |= {"base_model_name_or_path": base_model, "inference_mode": True}
    save_tensors(folder, state)
    write_json(folder / CONFIG, {name: sorted(v) if isinstance(v, set) else v for name, v in sorted(config.items())})


def load(model: nn.Module, settings: dict[str, Any], folder: Path, head: bool = True) -> nn.Module:
    """The model with a saved adapter. Raises ValueError where the two do not fit."""
    return wrap(model, folder, head)


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    from peft import get_peft_model_state_dict

    return get_peft_model_state_dict(model)
