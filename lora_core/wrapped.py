"""Adapters of any type that the package `peft` knows, by its own wrapping of a model."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_core.adapter import load_tensors, read_config
from lora_core.models import head_parameters

if TYPE_CHECKING:
    from torch import nn


# How LoRA may start: what PEFT does by itself, and EVA.
STARTS = r"true|false|gaussian|orthogonal|eva|olora|pissa(_niter_\d+)?"


def configuration(fields: dict[str, Any]) -> Any:
    """PEFT's own configuration object. Raises ValueError for a type or a field that PEFT does not know."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, get_peft_config

    if fields["peft_type"] not in PEFT_TYPE_TO_CONFIG_MAPPING:
        known = ", ".join(sorted(PEFT_TYPE_TO_CONFIG_MAPPING))
        raise ValueError(f"peft_type: PEFT has no {fields['peft_type']!r}; it has {known}")
    if fields["peft_type"] == "ADALORA":
        raise ValueError(
            "peft_type: ADALORA's budget shrinks by a call at every step, which this workflow does not make"
        )
    start = str(fields.get("init_lora_weights", True)).lower()
    if not re.fullmatch(STARTS, start):
        raise ValueError(
            f"init_lora_weights: {start!r} needs a preparation of its own, which this workflow does not do; "
            "without it: true, false, gaussian, orthogonal, eva, olora, pissa"
        )
    if start.startswith(("pissa", "olora")) and (fields.get("rank_pattern") or fields.get("alpha_pattern")):
        raise ValueError(f"init_lora_weights: {start!r} goes with one rank and one alpha, not with a pattern of them")
    try:
        return get_peft_config({"task_type": "SEQ_CLS", **fields})
    except (TypeError, ValueError) as error:
        raise ValueError(f"PEFT refuses this configuration of {fields['peft_type']}: {error}") from error


def wrap(model: "nn.Module", folder: Path, head: bool = True) -> Any:
    """A model in PEFT's wrapping with a saved adapter, ready to train on; without `head` its head is left out.

    Raises ValueError where PEFT knows no such adapter, or it was made for another model.
    """
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    heads = tuple(name for name, _ in head_parameters(model))
    adapted = get_peft_model(model, configuration(read_config(folder) | {"inference_mode": False}))
    stored = load_tensors(folder, "pt")

    def shapes(state: dict[str, Any]) -> dict[str, Any]:
        return {name: tensor.shape for name, tensor in state.items() if head or not name.endswith(heads)}

    own = get_peft_model_state_dict(adapted)
    if shapes(stored) != shapes(own):
        raise ValueError(f"the adapter in {folder} was made for another model or other settings")
    set_peft_model_state_dict(adapted, own | {name: stored[name] for name in shapes(stored)})
    return adapted
