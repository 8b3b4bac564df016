"""What a training step computes: logits, loss, parameter update; and an evaluation pass."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lora_core.data import batches
from lora_core.device import to_device
from lora_core.models.model import head_parameters
from lora_core.precision import allow_tf32, autocast_type
from lora_core.training.device_batches import DeviceExamples, Inputs
from lora_core.training.learning_rates import LearningRates
from lora_core.training.loss_scaling import LossScaling
from lora_core.training.spec import Hyperparameters

SGD_MOMENTUM = 0.9
# The factor of the learning rate after the warm-up, from the share of the remaining steps, which falls from 1 to 0.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda remaining: remaining,
    "cosine": lambda remaining: (1 - math.cos(math.pi * remaining)) / 2,
    "constant": lambda remaining: 1.0,
}


def compute_logits(
    model: nn.Module, batch: batches.Batch, device: torch.device, precision: str = "fp32"
) -> torch.Tensor:
    """Return the logits (rows, outputs) of a padded batch on the host, computed on the device."""
    return forward(model, model_inputs(batch, device), precision)


def forward(model: nn.Module, inputs: Inputs, precision: str) -> torch.Tensor:
    """Return the logits (rows, outputs) of a model for inputs that are on its device.

    In "bf16" and "fp16" they are computed under autocast; "tf32" and "fp32" follow from `lora_core.precision`. The task
    head is computed in float32 in any case.
    """
    if precision == "fp32":
        return model(**inputs).logits
    if precision == "tf32":
        with _head_in_float32(model, allow_tf32):
            return model(**inputs).logits
    device_type = inputs["input_ids"].device.type
    # A CUDA graph must not contain tensors of autocast's cache, which live no longer than the pass that is captured.
    cache = device_type == "cpu"
    with (
        torch.autocast(device_type, autocast_type(precision), cache_enabled=cache),
        _head_in_float32(model, partial(torch.set_autocast_enabled, device_type)),
    ):
        return model(**inputs).logits


@contextmanager
def _head_in_float32(model: nn.Module, reduce: Callable[[bool], None]) -> Iterator[None]:
    """Compute the task head in float32; `reduce` turns the lower precision of everything else off and on.

    A bfloat16 has 8 significant bits, so that the logits of similar examples would coincide and lose their order.
    """

    def leave_autocast(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        reduce(False)
        return tuple(tensor.float() for tensor in inputs)

    def return_to_autocast(*_: object) -> None:
        reduce(True)

    hooks = []
    for module in _head_modules(model):
        hooks += [
            module.register_forward_pre_hook(leave_autocast),
            module.register_forward_hook(return_to_autocast),
        ]
    try:
        yield
    finally:
        reduce(True)  # a head that failed has not
        for hook in hooks:
            hook.remove()


def _head_modules(model: nn.Module) -> list[nn.Module]:
    """The modules that hold the parameters of the task head, looked up once for each model."""
    if model not in _heads:
        inner = getattr(model, "get_base_model", lambda: model)()
        names = dict.fromkeys(name.rpartition(".")[0] for name, _ in head_parameters(model))
        _heads[model] = [inner.get_submodule(name) for name in names]
    return _heads[model]


_heads: WeakKeyDictionary[nn.Module, list[nn.Module]] = WeakKeyDictionary()


def model_inputs(batch: batches.Batch, device: torch.device) -> dict[str, torch.Tensor]:
    """Return the keyword arguments of the model for a padded batch, each (rows, tokens)."""
    inputs = {"input_ids": batch.ids, "attention_mask": batch.mask, "token_type_ids": batch.types}
    return {name: to_device(array, device) for name, array in inputs.items() if array is not None}


def compute_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy for classes, the mean squared error for numbers; logits (rows, outputs)."""
    if labels.is_floating_point():
        return F.mse_loss(logits[:, 0].float(), labels)
    return F.cross_entropy(logits.float(), labels)


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with one weight decay and one learning rate; the fields are named as torch's optimizers name them."""

    params: list[nn.Parameter]
    weight_decay: float
    lr: float


def _adamw(groups: Sequence[ParameterGroup], hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        [vars(group) for group in groups],
        lr=hyperparameters.learning_rate,
        betas=(hyperparameters.adam_beta1, hyperparameters.adam_beta2),
        eps=hyperparameters.adam_epsilon,
        fused=True,
    )


def _sgd(groups: Sequence[ParameterGroup], hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
    settings = [vars(group) for group in groups]
    return torch.optim.SGD(settings, lr=hyperparameters.learning_rate, momentum=SGD_MOMENTUM, fused=True)


# How much state each keeps is in `lora_core.measuring.memory.OPTIMIZER_TENSORS`.
OPTIMIZERS = {"adamw": _adamw, "sgd": _sgd}


def create_optimizer(
    model: nn.Module, hyperparameters: Hyperparameters, steps: int
) -> tuple[torch.optim.Optimizer, LearningRates]:
    """Return the optimizer and its learning rates, which are stepped once a batch.

    Biases, norms and other vectors have no weight decay. LoRA's B has the learning rate times `loraplus_lr_ratio`.
    Raise ValueError if that ratio is not 1 and there is no B.
    """
    optimizer = OPTIMIZERS[hyperparameters.optimizer](parameter_groups(model, hyperparameters), hyperparameters)
    warmup = math.ceil(hyperparameters.warmup_ratio * steps)
    return optimizer, LearningRates(
        optimizer, lambda step: schedule_factor(hyperparameters.schedule, step, warmup, steps), steps
    )


def parameter_groups(model: nn.Module, hyperparameters: Hyperparameters) -> list[ParameterGroup]:
    """Return the trained parameters by weight decay and learning rate, without empty groups."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    undecayed = {id(p) for _, p in trained if p.ndim < 2}
    matrices_b = {id(p) for name, p in trained if re.search(r"\.lora_(embedding_)?B\b", name)}
    if hyperparameters.loraplus_lr_ratio != 1 and not matrices_b:
        raise ValueError("loraplus_lr_ratio: this method trains no LoRA matrix B; leave the ratio out, or set it to 1")
    groups = [
        ParameterGroup(
            params=[p for _, p in trained if (id(p) in undecayed, id(p) in matrices_b) == (is_undecayed, is_b)],
            weight_decay=0.0 if is_undecayed else hyperparameters.weight_decay,
            lr=hyperparameters.learning_rate * (hyperparameters.loraplus_lr_ratio if is_b else 1),
        )
        for is_undecayed, is_b in product((False, True), repeat=2)
    ]
    return [group for group in groups if group.params]


def schedule_factor(schedule: str, step: int, warmup: int, steps: int) -> float:
    """Return what the learning rate is multiplied by at a step, counted from 0.

    It rises linearly over the warm-up; after that it stays 1 ("constant"), or falls to 0 at the last step in a line
    ("linear") or along half a cosine ("cosine").
    """
    if step < warmup:
        return step / warmup
    return SCHEDULES[schedule](max(0.0, (steps - step) / max(1, steps - warmup)))


def optimizer_step(
    trained: Iterable[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    rates: LearningRates,
    max_norm: float | None,
    scaling: LossScaling,
) -> None:
    """Clip the gradients to `max_norm` (None clips nothing), update the parameters, and free the gradients.

    A step that `scaling` skips leaves the learning rates where they are, as with accelerate and HF Trainer.
    """
    scaling.unscale(optimizer)
    if max_norm is not None:
        nn.utils.clip_grad_norm_(trained, max_norm)
    if scaling.step(optimizer):
        rates.step()
    optimizer.zero_grad(set_to_none=True)


def predict_logits(model: Any, examples: DeviceExamples, precision: str, batch_size: int) -> np.ndarray:
    """Return the logits (examples, outputs) in the order of the split, computed in batches of similar length."""
    model.eval()
    order = examples.evaluation_order(batch_size)
    with torch.inference_mode():
        computed = [
            forward(model, examples.inputs(batch.rows, batch.tokens), precision).float()
            for batch in examples.batches(order)
        ]
    logits = np.empty((len(examples), model.config.num_labels), np.float32)
    logits[np.concatenate(order)] = torch.cat(computed).cpu().numpy()
    return logits
