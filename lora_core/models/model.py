"""Prepared models made ready to train: a head of the task's own, drawn from a generator of its own."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt")


def head_parameters(model: "nn.Module") -> Iterator[tuple[str, "nn.Parameter"]]:
    """The task head: what stands outside the base model (for RoBERTa, `classifier.dense` and `.out_proj`).

    Of a model that PEFT wraps, the copy that it trains; the names are the inner model's.
    """
    inner = getattr(model, "get_base_model", lambda: model)()
    prefix = f"{inner.base_model_prefix}."
    return (
        (name, p) for name, p in inner.named_parameters() if not name.startswith(prefix) and ".original_" not in name
    )


def replace_linear(model: "nn.Module", targets: Sequence[str], build: "Callable[[nn.Linear], nn.Module]") -> None:
    """Replace every linear module of the base model whose name ends in one of `targets`.

    Raises ValueError where no module does.
    """
    from torch import nn

    base = getattr(model, "base_model", model)
    linear = {name: module for name, module in base.named_modules() if isinstance(module, nn.Linear)}
    found = [name for name in linear if any(f".{name}".endswith(f".{target}") for target in targets)]
    if not found:
        known = sorted({name.rpartition(".")[2] for name in linear})
        raise ValueError(f"no linear module is called {list(targets)}; this model has {known}")
    for name in found:
        parent, _, child = name.rpartition(".")
        setattr(base.get_submodule(parent), child, build(linear[name]))


def load_parameters(model: "nn.Module", stored: "Mapping[str, torch.Tensor]", folder: Path, head: bool = True) -> "nn.Module":
    """The model with parameters stored in `folder`, all that it trains; without `head` all but the head.

    Raises ValueError where names or shapes do not fit.
    """
    import torch

    own = dict(model.named_parameters())
    heads = dict(head_parameters(model)).keys()
    left_out = set() if head else set(heads)
    needed = {name for name, p in own.items() if p.requires_grad} | heads
    given = stored.keys() - left_out
    if not needed - left_out <= given <= own.keys() or any(own[name].shape != stored[name].shape for name in given):
        raise ValueError(f"the weights in {folder} were made for another model or other settings")
    with torch.no_grad():
        for name in given:
            own[name].copy_(stored[name])
    return model


def load(
    folder: Path, labels: list[str], head_generator: "torch.Generator | None" = None, dropout: float | None = None
) -> Any:
    """A prepared model with a head for `labels` (none: regression), on the CPU in float32.

    With `head_generator` the head is drawn anew as transformers draws it (weights normal with the configuration's
    `initializer_range`, biases zero). `dropout` replaces every dropout probability; None keeps the model's own.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, **head_config(labels)
    )
    if head_generator is not None:
        with torch.no_grad():
            for _, parameter in head_parameters(model):
                if parameter.ndim > 1:
                    parameter.normal_(0.0, model.config.initializer_range, generator=head_generator)
                else:
                    parameter.zero_()
    if dropout is not None:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
    return model


def head_config(labels: list[str]) -> dict[str, Any]:
    """The fields of a transformers configuration that describe the head."""
    if not labels:
        return {"num_labels": 1, "problem_type": "regression"}
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
        "problem_type": "single_label_classification",
    }


def model_shapes(folder: Path, outputs: int, where: str = "meta") -> Any:
    """The model's shapes without its weights, with a head of `outputs`; random weights where that is no meta device."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(folder, num_labels=outputs, trust_remote_code=False)
    with torch.device(where):
        return AutoModelForSequenceClassification.from_config(config)


def max_input_length(model: "nn.Module") -> int:
    """Tokens of an example that the model has positions for.

    RoBERTa's embeddings start behind the padding index; a model without position embeddings has its configuration's
    word. The virtual tokens of PEFT's prompts come before the example's. Raises ValueError where neither
    tells.
    """
    found: list[Any] = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    if found:
        taken = 0 if found[0].padding_idx is None else found[0].padding_idx + 1
        room = found[0].num_embeddings - taken
    else:
        room = getattr(model.config, "max_position_embeddings", None)
    if not room:
        raise ValueError(
            f"{type(model).__name__} has neither position_embeddings nor max_position_embeddings in its configuration, "
            "which say how long an input may be"
        )
    prompt = getattr(model, "active_peft_config", None)
    return room - (getattr(prompt, "num_virtual_tokens", None) or 0)


def cast_frozen(model: "nn.Module", dtype: "torch.dtype") -> None:
    """Cast once what autocast would cast at every use: the frozen matrices of linear layers.

    No number changes but of a layer that computes with the frozen matrix itself (DoRA's norm, GLoRA, SHiRA): then with
    the rounded one.
    """
    from torch import nn

    for module in model.modules():
        weight = getattr(module, "weight", None)
        embedding = isinstance(getattr(module, "base_layer", module), nn.Embedding)  # in PEFT's wrapping too
        if weight is None or weight.ndim != 2 or weight.requires_grad or embedding:
            continue
        weight.data = weight.data.to(dtype)


def copy_tokenizer(folder: Path, out: Path) -> None:
    """Put a prepared model's tokenizer beside weights, so that a pipeline finds it."""
    for name in TOKENIZER_FILES:
        if (folder / name).exists():
            shutil.copyfile(folder / name, out / name)
