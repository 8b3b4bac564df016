"""Adapters of any type that the package `peft` knows, by its own wrapping of a model."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_core.methods.adapter_files import load_tensors, read_config
from lora_core.models.model import head_parameters

if TYPE_CHECKING:
    from torch import nn


# How LoRA may start beside true and false: what PEFT does by itself, and EVA.
STARTS = r"gaussian|orthogonal|eva|olora|pissa(_niter_\d+)?"
# Starts that are taken out of the base weights. PEFT would take them out again when an adapter is loaded.
MUTATING = ("pissa", "olora")
# Types that cannot be folded into the weights: they add to the input, or depend on it.
PREFIXES = ("CARTRIDGE", "PREFIX_TUNING")  # keys and values before the example's own, which checkpointing loses
UNMERGEABLE = (*PREFIXES, "LILY", "PROMPT_TUNING", "P_TUNING")
# Types and fields that a study of encoders, one task at a time, cannot do.
DECODERS, TASKS = "it is for decoders", "it learns several tasks at once"
LOSS, STEPS = "its loss is not computed here", "its budget shrinks by a call at every step, which is not made here"
REFUSED = {
    "ADALORA": STEPS,
    "ADAPTION_PROMPT": DECODERS,
    "CPT": DECODERS,
    "MULTITASK_PROMPT_TUNING": TASKS,
    "POLY": TASKS,
    "SHADOW": DECODERS,
    "TRAINABLE_TOKENS": "PEFT does not save the task head with it",
    "XLORA": "it mixes adapters that are trained already",
    "alora_invocation_tokens": DECODERS,
    "kasa_config": LOSS,
    "layer_replication": "it makes another model of the base",
    "monteclora_config": LOSS,
    "sample_at_inference": "its scores would be drawn by chance",
    "save_only_topk_weights": "what it saves cannot be folded into the weights",
    "use_asa": STEPS,
}


def new_configuration(fields: dict[str, Any]) -> Any:
    """`configuration` of an adapter to be trained. Raises ValueError for one that no study here can train as well."""
    for name in (fields["peft_type"], *(key for key, value in fields.items() if value)):
        if name in REFUSED:
            raise ValueError(f"{name} cannot take part: {REFUSED[name]}")
    if fields.get("task_type", "SEQ_CLS") != "SEQ_CLS":
        raise ValueError(f"task_type is {fields['task_type']!r}; every task here is SEQ_CLS: leave it out")
    if not isinstance(fields.get("modules_to_save", []), list):
        raise ValueError(f"modules_to_save is {fields['modules_to_save']!r}; a list of names is expected")
    config = configuration(fields | {"inference_mode": False})
    if config.is_prompt_learning and not config.num_virtual_tokens:
        raise ValueError(f"num_virtual_tokens is missing: how long the prompt of {config.peft_type.value} is")
    if fields.get("init_lora_weights") == "eva" and config.eva_config.rho != 1:
        raise ValueError(
            "eva_config: say {rho: 1.0}; a greater one gives each module a rank of its own after the data were seen, "
            "and table 1 is counted before"
        )
    return config


def configuration(fields: dict[str, Any]) -> Any:
    """PEFT's own configuration object. Raises ValueError for a type or a field that PEFT does not know."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, get_peft_config

    if fields["peft_type"] not in PEFT_TYPE_TO_CONFIG_MAPPING:
        known = ", ".join(sorted(PEFT_TYPE_TO_CONFIG_MAPPING))
        raise ValueError(f"peft_type: PEFT has no {fields['peft_type']!r}; it has {known}")
    start = fields.get("init_lora_weights")
    if isinstance(start, str) and not re.fullmatch(STARTS, start):
        raise ValueError(
            f"init_lora_weights: {start!r} needs a preparation of its own, which this workflow does not do; "
            "without it: true, false, gaussian, orthogonal, eva, olora, pissa"
        )
    if str(start).startswith(MUTATING) and (fields.get("rank_pattern") or fields.get("alpha_pattern")):
        raise ValueError(f"init_lora_weights: {start!r} goes with one rank and one alpha, not with a pattern of them")
    try:
        return get_peft_config(fields | {"task_type": "SEQ_CLS"})
    except (TypeError, ValueError) as error:
        raise ValueError(f"PEFT refuses this configuration of {fields['peft_type']}: {error}") from error


def can_start_another_task(config: dict[str, Any]) -> bool:
    """Whether training can go on from what is saved: a prompt is saved without the network that made it, and what
    started inside the base weights as LoRA of twice the rank."""
    inside = str(config.get("init_lora_weights")).startswith(MUTATING)
    return config["peft_type"] != "P_TUNING" and not config.get("prefix_projection") and not inside


def attach_saved_adapter(model: "nn.Module", folder: Path, with_head: bool = True) -> Any:
    """A model in PEFT's wrapping with a saved adapter as it was; without `with_head` ready to train, its head left out.

    Raises ValueError where PEFT knows no such adapter, or it was made for another model.
    """
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    heads = tuple(name for name, _ in head_parameters(model))
    config = configuration(read_config(folder) | {"inference_mode": with_head})
    adapted = get_peft_model(model, config)

    def wanted(state: dict[str, Any]) -> dict[str, Any]:
        # With `bias: all` PEFT saves the head's bias under three names.
        plain = {name: re.sub(r"\.(original_module|modules_to_save(\.default)?)\.", ".", name) for name in state}
        return {name: tensor for name, tensor in state.items() if with_head or not plain[name].endswith(heads)}

    def shapes(state: dict[str, Any]) -> dict[str, Any]:
        return {name: tensor.shape for name, tensor in state.items()}

    stored, own = wanted(load_tensors(folder, "pt")), get_peft_model_state_dict(adapted)
    if shapes(stored) != shapes(wanted(own)):
        raise ValueError(f"the adapter in {folder} was made for another model or other settings")
    set_peft_model_state_dict(adapted, own | stored)
    return adapted
