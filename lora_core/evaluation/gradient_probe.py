"""Two training steps on a few texts, which show what training cannot reach: no run depends on them.

At the first step the gradient of LoRA's A is 0 because B is; at the second, every parameter that has an effect has one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lora_core import job
from lora_core.data.batches import batches
from lora_core.evaluation.gradients import Gradients
from lora_core.methods import registry
from lora_core.methods.settings import MethodSettings
from lora_core.models import model as models
from lora_core.models.sample_texts import sample_texts
from lora_core.training.steps import compute_loss, model_inputs

TEXTS, TOKENS = 8, 16  # of one length: nothing is padded
STEPS, LEARNING_RATE, MAX_NORM = 2, 0.01, 1.0
SAME = 1e-6  # logits that differ by less, relative to the largest, are the same
# Attention scores differ from each other as before if the same is added to all of them: a key's bias has no effect.
KEY_BIAS = re.compile(r"\.(key|k)(_[a-z]+)?(\.\w+)*\.bias$")


def probe_gradients(folder: Path, method: str, settings: MethodSettings, outputs: Sequence[int]) -> Gradients:
    """Return what a method trains without effect in a prepared model with heads of these outputs (1: regression).

    Raise ValueError if the head gets no gradient, or if the model gives different texts the same logits.
    """
    without: dict[str, int] = {}
    read_instead: set[str] = set()
    for count in outputs:
        model, names = _without_gradient(folder, method, settings, count)
        parameters = dict(model.named_parameters())
        without |= {_plain(name): parameters[name].numel() for name in names}
        read_instead |= _read_instead(model, names)
    gradients = Gradients(tuple(outputs), without, tuple(sorted(read_instead)))
    if without:
        total, first = sum(without.values()), next(iter(without))
        job.announce(f"{method}: {total:,} of the trained parameters get no gradient, among them {first}")
    return gradients


def _without_gradient(folder: Path, method: str, settings: MethodSettings, outputs: int) -> tuple[nn.Module, list[str]]:
    """Train two steps; return the model and the names of the trained parameters that then have no gradient.

    A method that starts from the training data starts from other values here, which need none.
    """
    torch.manual_seed(0)
    labels = [str(label) for label in range(outputs)] if outputs > 1 else []
    model = models.load(folder, labels, torch.Generator().manual_seed(1), dropout=0.0)
    model = registry.adapt(model, settings, torch.Generator().manual_seed(2))
    inputs, targets = _batch(folder, model, outputs)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(trained.values(), lr=LEARNING_RATE)
    model.train()
    for _ in range(STEPS):
        optimizer.step()  # the first has no gradients yet
        optimizer.zero_grad(set_to_none=True)
        compute_loss(model(**inputs).logits, targets).backward()
        nn.utils.clip_grad_norm_(trained.values(), MAX_NORM)
    names = [name for name, p in trained.items() if p.grad is None or not p.grad.any()]
    _check_answers(model, method, inputs, {id(trained[name]) for name in names})
    return model, [name for name in names if not KEY_BIAS.search(name)]


def _batch(folder: Path, model: Any, outputs: int) -> tuple[Mapping[str, Tensor], Tensor]:
    """Return inputs of the model, and what they are to be answered with: every class, or numbers."""
    from tokenizers import Tokenizer

    longest = models.max_input_length(model)
    tokens = TOKENS if longest is None else min(TOKENS, longest)
    examples = sample_texts(Tokenizer.from_file(str(folder / "tokenizer.json")), model.config, [tokens] * TEXTS)
    (batch,) = batches(examples, [np.arange(TEXTS)], model.config.pad_token_id)
    numbers = torch.arange(TEXTS)
    targets = numbers % outputs if outputs > 1 else numbers / TEXTS
    return model_inputs(batch, torch.device("cpu")), targets


def _check_answers(model: Any, method: str, inputs: Mapping[str, Tensor], without: set[int]) -> None:
    """Raise ValueError if the head is not trained, or different texts get the same logits."""
    kind = type(getattr(model, "get_base_model", lambda: model)()).__name__
    model.eval()
    with torch.no_grad():
        logits = model(**inputs).logits
    if not (logits - logits[0]).abs().max() > SAME * logits.abs().max():
        raise ValueError(
            f"model: with the method {method!r}, {kind} gives different texts the same logits, so that nothing can be "
            "learned from them; use another model"
        )
    head = dict(models.head_parameters(model))
    if untrained := next((name for name, p in head.items() if id(p) in without or not p.requires_grad), None):
        raise ValueError(
            f"model: with the method {method!r}, {untrained!r} of the head of {kind} gets no gradient, so that it "
            "would stay as it was drawn; use another model"
        )


def _read_instead(model: nn.Module, names: Sequence[str]) -> set[str]:
    """The names of untrained modules that are called like one of these parameters' modules, followed by "_global"."""
    modules = dict(model.named_modules())
    parts = [(name.split(".")[:end]) for name in names for end in range(1, name.count(".") + 1)]
    siblings = {f"{'.'.join(part)}_global" for part in parts} & modules.keys()
    return {
        name.rpartition(".")[2]
        for name in siblings
        if not any(parameter.requires_grad for parameter in modules[name].parameters())
    }


def _plain(name: str) -> str:
    """A parameter's name without what PEFT puts in front of it."""
    return name.removeprefix("base_model.model.")
