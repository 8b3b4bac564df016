"""Adapters of any type that the package `peft` has: which can be trained here, and how a saved one is attached."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import MISSING
from typing import TYPE_CHECKING, Any

from lora_core.methods.adapter_config import read_config
from lora_core.methods.adapter_files import load_tensors
from lora_core.methods.patterns import check_patterns
from lora_core.models.model import head_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

# The values of init_lora_weights, apart from true and false: those that need no further preparation, and EVA.
INITIALIZATIONS = r"gaussian|orthogonal|eva|olora|pissa(_niter_\d+)?"
# Initializations that are taken out of the base weights. PEFT would take them out again when an adapter is loaded.
CHANGES_BASE_WEIGHTS = ("pissa", "olora")
# Types that cannot be folded into the weights, because they add to the input or depend on it.
PREFIX_TYPES = ("CARTRIDGE", "PREFIX_TUNING")  # keys and values before the example's, which checkpointing would lose
UNMERGEABLE = (*PREFIX_TYPES, "LILY", "PROMPT_TUNING", "P_TUNING")
# Types and fields that do not fit a study of encoders on one task at a time.
DECODERS, TASKS = "it is for decoders", "it learns several tasks at once"
LOSS = "this training loop does not compute its loss"
STEPS = "its budget needs a call at every step, which this training loop does not make"
REFUSED = {
    "ADALORA": STEPS,
    "ADAPTION_PROMPT": DECODERS,
    "CPT": DECODERS,
    "MULTITASK_PROMPT_TUNING": TASKS,
    "POLY": TASKS,
    "SHADOW": DECODERS,
    "TRAINABLE_TOKENS": "PEFT does not save the task head with it",
    "XLORA": "it mixes adapters that are already trained",
    "alora_invocation_tokens": DECODERS,
    "kasa_config": LOSS,
    "layer_replication": "it changes the base model's layers",
    "monteclora_config": LOSS,
    "sample_at_inference": "its predictions would be random",
    "save_only_topk_weights": "what it saves cannot be folded into the weights",
    "use_asa": STEPS,
}


def new_configuration(fields: Mapping[str, Any]) -> Any:
    """Return PEFT's configuration object for an adapter to be trained.

    Raise ValueError if PEFT does not accept the fields, or such an adapter cannot be trained in a study like this.
    """
    for name in (fields["peft_type"], *(key for key, value in fields.items() if value)):
        if name in REFUSED:
            raise ValueError(f"{name} is not supported: {REFUSED[name]}")
    if fields.get("task_type", "SEQ_CLS") != "SEQ_CLS":
        raise ValueError(f"task_type is {fields['task_type']!r}, but every task here is SEQ_CLS; leave it out")
    if not isinstance(fields.get("modules_to_save", []), list):
        raise ValueError(f"modules_to_save is {fields['modules_to_save']!r}; expected a list of names")
    config = configuration({**fields, "inference_mode": False})
    if config.is_prompt_learning and not config.num_virtual_tokens:
        raise ValueError(f"num_virtual_tokens is missing: it is the length of {config.peft_type.value}'s prompt")
    if fields.get("init_lora_weights") == "eva" and config.eva_config.rho != 1:
        raise ValueError(
            "eva_config: set {rho: 1.0}; a larger value changes each module's rank after seeing the data, but table 1 "
            "is counted before"
        )
    return config


def configuration(fields: Mapping[str, Any]) -> Any:
    """Return PEFT's configuration object. Raise ValueError if PEFT does not know the type or accept the fields."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, get_peft_config

    if fields["peft_type"] not in PEFT_TYPE_TO_CONFIG_MAPPING:
        known = ", ".join(sorted(PEFT_TYPE_TO_CONFIG_MAPPING))
        raise ValueError(f"peft_type: PEFT has no {fields['peft_type']!r}; it has {known}")
    initialization = fields.get("init_lora_weights")
    if isinstance(initialization, str) and not re.fullmatch(INITIALIZATIONS, initialization):
        raise ValueError(
            f"init_lora_weights: {initialization!r} is unknown or needs a preparation step that this workflow does not "
            "have; use true, false, gaussian, orthogonal, eva, olora or pissa"
        )
    has_pattern = fields.get("rank_pattern") or fields.get("alpha_pattern")
    if str(initialization).startswith(CHANGES_BASE_WEIGHTS) and has_pattern:
        raise ValueError(
            f"init_lora_weights: {initialization!r} needs one rank and one alpha; remove rank_pattern and alpha_pattern"
        )
    try:
        return get_peft_config({**fields, "task_type": "SEQ_CLS"})
    except (TypeError, ValueError) as error:
        raise ValueError(f"PEFT rejects this configuration of {fields['peft_type']}: {error}") from error


def differing_fields(config: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of PEFT's configuration object that differ from their defaults, with sorted keys and lists.

    `changes` are values in place of the object's. An older PEFT refuses fields that it does not know, even if they say
    nothing. The version is left out, so that equal adapters are equal files.
    """
    defaults = {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in dataclasses.fields(config)
    }
    values = {name: value for name, value in (config.to_dict() | changes).items() if name != "peft_version"}
    return {
        name: sorted(value) if isinstance(value, set | list) else value
        for name, value in sorted(values.items())
        if value != defaults.get(name)
    }


def check_convolutions(config: Any, model: nn.Module) -> None:
    """Raise ValueError if LoRA would target a grouped convolution of a model, which PEFT trains but cannot merge."""
    from peft.tuners.tuners_utils import check_target_module_exists

    if config.peft_type.value != "LORA" or not config.target_modules:
        return
    for name, module in model.named_modules():
        groups: Any = getattr(module, "groups", 1)
        if groups > 1 and check_target_module_exists(config, name):
            raise ValueError(
                f"target_modules: {name!r} is a convolution in {groups} groups, into which PEFT cannot merge LoRA; "
                "choose other modules"
            )


def check_names(fields: Mapping[str, Any], adapted: Any, modules: Sequence[str]) -> None:
    """Raise ValueError for the first name or pattern that matches nothing, which PEFT ignores or only warns about.

    `modules` are the names of the modules of the model before PEFT wrapped it.
    """
    targeted = getattr(adapted.base_model, "targeted_module_names", ())
    parameters = getattr(adapted.base_model, "targeted_parameter_names", ())
    names = {
        "target_modules": targeted,
        "feedforward_modules": targeted,
        "target_parameters": parameters,
        "exclude_modules": modules,
        "modules_to_save": modules,
    }
    patterns = dict.fromkeys(names, re.escape) | {key: str for key in fields if key.endswith("_pattern")}
    for key, pattern in patterns.items():
        values = fields.get(key) or ()
        if isinstance(values, str) or key == "layers_pattern":  # a regular expression, of which PEFT says if it fails
            continue
        for value in values:
            matching = [*targeted, *parameters] if key.endswith("_pattern") else names[key]
            if not any(re.match(rf"(.*\.)?({pattern(value)})$", name) for name in matching):
                raise ValueError(f"{key}: {value!r} matches nothing that this adapter changes in the model")
    layers = fields.get("layers_to_transform")
    for layer in [layers] if isinstance(layers, int) else layers or ():
        if not any(f".{layer}." in name for name in targeted):
            raise ValueError(f"layers_to_transform: this model has no layer {layer} with a target")


def can_start_another_task(config: Mapping[str, Any]) -> bool:
    """Whether training can continue from what is saved.

    It cannot from a prompt, which is saved without the network that computed it, nor from an adapter that started
    inside the base weights, which is saved with twice its rank.
    """
    started_inside = str(config.get("init_lora_weights")).startswith(CHANGES_BASE_WEIGHTS)
    return config["peft_type"] != "P_TUNING" and not config.get("prefix_projection") and not started_inside


def attach_saved_adapter(model: nn.Module, folder: Path, with_head: bool = True) -> Any:
    """Return the model wrapped by PEFT, with a saved adapter.

    Without `with_head` the saved head is left out, and the model is ready to be trained. Raise ValueError if PEFT does
    not know such an adapter, if it was made for another model, and for a pattern that takes too long to match.
    """
    from peft import get_peft_model

    head = tuple(name for name, _ in head_parameters(model))
    fields = read_config(folder)
    check_patterns(fields, model)
    adapted = get_peft_model(model, configuration({**fields, "inference_mode": with_head}))
    _copy_adapter(adapted, folder, () if with_head else head)
    return adapted


def replace_adapter(adapted: nn.Module, folder: Path) -> None:
    """Replace the adapter and the head of a model that PEFT wraps. Raise ValueError if the saved ones do not fit."""
    _copy_adapter(adapted, folder, ())


def _copy_adapter(adapted: Any, folder: Path, left_out: tuple[str, ...]) -> None:
    """Copy saved tensors but those whose names end in one of `left_out`."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    def without_excluded_head(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # With `bias: all` PEFT saves the head's bias under three names.
        plain = {name: re.sub(r"\.(original_module|modules_to_save(\.default)?)\.", ".", name) for name in state}
        return {name: tensor for name, tensor in state.items() if not (left_out and plain[name].endswith(left_out))}

    def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in state.items()}

    saved, initial = without_excluded_head(load_tensors(folder, "pt")), get_peft_model_state_dict(adapted)
    if shapes(saved) != shapes(without_excluded_head(initial)):
        raise ValueError(f"the adapter in {folder} was made for another model or other settings")
    set_peft_model_state_dict(adapted, initial | saved)
