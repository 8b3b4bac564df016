"""What a step computes: logits, loss, update; and an evaluation pass."""

import math
import re
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lora_core import device
from lora_core.data import batches as data


def logits_of(model: nn.Module, batch: data.Batch, where: torch.device, precision: str = "fp32") -> torch.Tensor:
    """Logits (rows, outputs) of a padded batch, under autocast for "bf16"."""
    tensors = inputs_of(batch, where)
    with torch.autocast(where.type, torch.bfloat16, enabled=precision == "bf16"):
        return model(**tensors).logits


def inputs_of(batch: data.Batch, where: torch.device) -> dict[str, torch.Tensor]:
    """What the model is given of a padded batch, (rows, tokens) each."""
    inputs = {"input_ids": batch.ids, "attention_mask": batch.mask, "token_type_ids": batch.types}
    return {name: device.put(array, where) for name, array in inputs.items() if array is not None}


def loss_function(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy for classes, mean squared error for a regression head; logits (rows, outputs)."""
    if labels.is_floating_point():
        return F.mse_loss(logits[:, 0].float(), labels)
    return F.cross_entropy(logits.float(), labels)


def optimizer(model: nn.Module, hyper: dict[str, Any], steps: int) -> tuple[torch.optim.Optimizer, Any]:
    """AdamW and a linear schedule with warm-up, stepped once a batch; biases and norms are not decayed.

    LoRA's B learns `loraplus_lr_ratio` times as fast as the rest. Raises ValueError for a ratio where there is no B.
    """
    plain = {
        id(p)
        for module in model.modules()
        for name, p in module.named_parameters(recurse=False)
        if name == "bias" or isinstance(module, nn.LayerNorm)
    }
    rate, decay = hyper["learning_rate"], hyper["weight_decay"]
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    rising = {id(p) for name, p in trained if re.search(r"\.lora_(embedding_)?B\b", name)}
    if hyper["loraplus_lr_ratio"] != 1 and not rising:
        raise ValueError("loraplus_lr_ratio: this method trains no LoRA matrix B; leave the ratio out, or set it to 1")
    groups: list[dict[str, Any]] = [
        {
            "params": [p for _, p in trained if (id(p) in plain, id(p) in rising) == (undecayed, is_b)],
            "weight_decay": 0.0 if undecayed else decay,
            "lr": rate * (hyper["loraplus_lr_ratio"] if is_b else 1),
        }
        for undecayed, is_b in product((False, True), repeat=2)
    ]
    adamw = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=hyper["learning_rate"],
        betas=(hyper["adam_beta1"], hyper["adam_beta2"]),
        eps=hyper["adam_epsilon"],
        fused=True,
    )
    warmup = math.ceil(hyper["warmup_ratio"] * steps)

    def factor(step: int) -> float:
        return step / warmup if step < warmup else max(0.0, (steps - step) / max(1, steps - warmup))

    return adamw, torch.optim.lr_scheduler.LambdaLR(adamw, factor)


def update(
    trained: list[nn.Parameter], optimizer: torch.optim.Optimizer, schedule: Any, max_norm: float | None
) -> None:
    """What follows a backward pass: clip the gradients (None: not), step, and let them go."""
    if max_norm is not None:
        nn.utils.clip_grad_norm_(trained, max_norm)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad(set_to_none=True)


def evaluate(model: Any, examples: data.Examples, where: torch.device, precision: str, batch_size: int) -> np.ndarray:
    """Logits (examples, outputs) in the split's order; computed in batches of similar length."""
    model.eval()
    logits = np.empty((len(examples), model.config.num_labels), np.float32)
    order = data.evaluation_order(examples.lengths, batch_size)
    with torch.inference_mode():
        for batch in data.batches(examples, order, model.config.pad_token_id):
            logits[batch.rows] = logits_of(model, batch, where, precision).float().cpu().numpy()
    return logits
