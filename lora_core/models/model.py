"""Prepared models made ready to train: loading, the task head, layer replacement and the maximum input length."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

MEASURED_LIMIT = "max_input_tokens"  # in config.json of a model that takes less than its configuration says

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence, Set
    from pathlib import Path

    import torch
    from torch import nn


# What preparation adds to a model's configuration if padding on the right changes its logits (`batching_probe`).
EQUAL_LENGTH, PADDING_SIDE = "equal_length_batches", "padding_side"


def load(
    folder: Path, labels: Sequence[str], head_generator: torch.Generator | None = None, dropout: float | None = None
) -> Any:
    """Load a prepared model with a head for `labels` (none: regression), on the CPU in float32.

    With `head_generator` what the folder lacks of the head is drawn from it, as transformers initializes this class of
    models. `dropout` replaces every dropout probability; None keeps the model's own. Raise ValueError if the folder's
    weights do not fit its configuration.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    from lora_core.models.dropout import set_probability

    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True,
        **head_config(labels),
    )  # fmt: skip
    check_encoder(model, report, folder)
    _freeze_fixed(model)
    if head_generator is not None:
        draw_head(model, report["missing_keys"], head_generator)
    if dropout is not None:
        set_probability(model, dropout)
    return model


def _freeze_fixed(model: Any) -> None:
    """Make untrainable again what transformers makes so, such as RoFormer's sinusoidal table; reading forgets that."""
    import torch

    with torch.device("meta"):
        made = type(model)(copy.deepcopy(model.config))
    for name, parameter in made.named_parameters():
        if not parameter.requires_grad:
            model.get_parameter(name).requires_grad_(False)


def enable_checkpointing(model: Any) -> None:
    """Keep only each layer's input for the backward pass. Raise ValueError if this architecture cannot."""
    try:
        model.activation_checkpointing_enable()
    except ValueError as error:
        raise ValueError(
            f"hyperparameters.gradient_checkpointing: {type(model).__name__} does not support it; set it to false"
        ) from error


def check_encoder(model: Any, report: Mapping[str, Any], folder: Path, optional: str | None = None) -> None:
    """Raise ValueError for the first tensor of the encoder that a folder lacks, has in another shape, or has too many.

    `report` is what transformers says about loading. Tensors with `optional` in their name may be missing. Those of
    parts that this class of models does not have, such as the head of another task, do not count.
    """
    head = {name for name, _ in head_parameters(model)}
    missing = {name for name in report["missing_keys"] if optional is None or optional not in name}
    unfit = (missing | {name for name, *_ in report["mismatched_keys"]}) - head
    problem = f"the weights in {str(folder)!r} do not fit their config.json"
    if unfit:
        raise ValueError(f"{problem}: {min(unfit)!r} of {type(model).__name__} is missing or has another shape")
    parts = {name.partition(".")[0] for name in model.base_model.state_dict()}
    for name in sorted(report["unexpected_keys"]):
        inside = name.removeprefix(f"{model.base_model_prefix}.")
        if inside.partition(".")[0] in parts and name.endswith(("weight", "bias")):  # the rest are buffers
            raise ValueError(
                f"{problem}: {type(model).__name__} as configured has no {name!r}; correct the configuration, for "
                "example its number of layers, or use the weights that belong to it"
            )


def draw_head(model: Any, missing: Set[str], generator: torch.Generator) -> None:
    """Initialize the parameters of the head that are `missing` by the model's own rule, drawn from `generator`."""
    import torch

    encoder = set(model.base_model.modules())
    for name, parameter in model.named_parameters():
        parameter._is_hf_initialized = name not in missing  # transformers' initializers leave these as they are
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.set_rng_state(generator.get_state())  # the initializers take no generator
        model.apply(lambda module: None if module in encoder else model._init_weights(module))
        generator.set_state(torch.get_rng_state())


def model_shapes(folder: Path, outputs: int, device: str = "meta") -> Any:
    """Return a prepared model with a head of `outputs`, without reading its weights.

    On the meta device it holds shapes alone, on any other device random weights.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(folder, num_labels=outputs, trust_remote_code=False)
    with torch.device(device):
        return AutoModelForSequenceClassification.from_config(config)


def head_config(labels: Sequence[str]) -> dict[str, object]:
    """Return the fields of a transformers configuration that describe the head."""
    if not labels:
        return {"num_labels": 1, "problem_type": "regression"}
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
        "problem_type": "single_label_classification",
    }


def head_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the names and parameters of the task head: all that is outside the base model.

    For RoBERTa these are `classifier.dense` and `classifier.out_proj`. Of a model that PEFT wraps they are the copies
    that are trained, with names relative to the wrapped model.
    """
    inner = getattr(model, "get_base_model", lambda: model)()
    return ((name, p) for name, p in inner.named_parameters() if _is_of_head(name, inner))


def _is_of_head(name: str, model: nn.Module) -> bool:
    return not name.startswith(f"{model.base_model_prefix}.") and ".original_" not in name


def stored_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors of a whole model that `save_pretrained` writes, also without weights; tied ones once."""
    tensors = model.state_dict(keep_vars=True)
    return dict({id(tensor): (name, tensor) for name, tensor in tensors.items()}.values())


def replace_linear(model: nn.Module, targets: Sequence[str], build: Callable[[nn.Linear], nn.Module]) -> None:
    """Replace every linear module of the base model whose name ends in one of `targets` by what `build` makes of it.

    Raise ValueError for a target that there is none of.
    """
    from torch import nn

    base = getattr(model, "base_model", model)
    linear = {name: module for name, module in base.named_modules() if isinstance(module, nn.Linear)}
    matches = {target: [name for name in linear if f".{name}".endswith(f".{target}")] for target in targets}
    if unmatched := [target for target in targets if not matches[target]]:
        names = sorted({name.rpartition(".")[2] for name in linear})
        raise ValueError(f"no linear module is called {unmatched}; this model has {names or 'none'}")
    for name in [name for name in linear if any(name in names for names in matches.values())]:
        parent, _, child = name.rpartition(".")
        setattr(base.get_submodule(parent), child, build(linear[name]))


def load_parameters(
    model: nn.Module, stored: Mapping[str, torch.Tensor], folder: Path, with_head: bool = True
) -> nn.Module:
    """Copy parameters that were stored in `folder` into a model; without `with_head` all but the head's.

    Raise ValueError if they do not include all that the model trains, or have other names or shapes.
    """
    import torch

    parameters = dict(model.named_parameters())  # listed once: that takes as long as reading an adapter
    head = {name for name in parameters if _is_of_head(name, model)}
    left_out = set() if with_head else head
    required = {name for name, p in parameters.items() if p.requires_grad} | head
    copied = stored.keys() - left_out
    complete = required - left_out <= copied <= parameters.keys()
    if not complete or any(parameters[name].shape != stored[name].shape for name in copied):
        raise ValueError(f"the weights in {folder} were made for another model or other settings")
    with torch.no_grad():
        for name in copied:
            parameters[name].copy_(stored[name])
    return model


def max_input_length(model: nn.Module) -> int | None:
    """Return the maximum input length in tokens; None if there is no limit.

    It is what preparation measured (`max_input_tokens` in the configuration) if that is not what follows from the
    model: the configuration's `max_position_embeddings` (-1 or absent: no limit), or less if there are fewer position
    embeddings (RoBERTa's start after the padding index). The virtual tokens of a prompt by PEFT are subtracted.
    """
    prompt = getattr(model, "active_peft_config", None)
    limit = getattr(model.config, MEASURED_LIMIT, None) or _stated_limit(model)
    return limit and limit - (getattr(prompt, "num_virtual_tokens", None) or 0)


def _stated_limit(model: nn.Module) -> int | None:
    positions: Any = getattr(model.config, "max_position_embeddings", None)
    tables = (module for name, module in model.named_modules() if name.endswith("position_embeddings"))
    table: Any = next((module for module in tables if getattr(module, "weight", None) is not None), None)
    if table is not None:
        padding = getattr(table, "padding_idx", None)
        rows = len(table.weight) - (0 if padding is None else padding + 1)
        positions = min(rows, positions) if positions and positions > 0 else rows
    return positions if positions and positions > 0 else None


def needs_equal_length(model: nn.Module) -> bool:
    """Return whether a prepared model's batches must hold texts of equal length: padding would change its logits."""
    return bool(getattr(model.config, EQUAL_LENGTH, False))


def padding_side(model: nn.Module) -> str:
    """Return the side, "right" or "left", on which padding changes no logit of a prepared model."""
    return str(getattr(model.config, PADDING_SIDE, "right"))


def cast_frozen(model: nn.Module, dtype: torch.dtype) -> None:
    """Cast the frozen matrices and biases of linear layers once, which autocast would otherwise cast at every use.

    This changes a result only where a layer computes with the frozen matrix itself (DoRA's norm, GLoRA, SHiRA), which
    then is the rounded one.
    """
    from torch import nn

    for module in model.modules():
        weight = getattr(module, "weight", None)
        embedding = isinstance(getattr(module, "base_layer", module), nn.Embedding)  # also when PEFT wraps it
        if weight is None or weight.ndim != 2 or weight.requires_grad or embedding:
            continue
        weight.data = weight.data.to(dtype)
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter) and not bias.requires_grad:
            bias.data = bias.data.to(dtype)
