"""Predict the memory of a task's largest batch with each method, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from lora_core import job
from lora_core.data.card import DataCard
from lora_core.evaluation.memory_fit import Prediction, fit
from lora_core.evaluation.timed_models import without_weights
from lora_core.layout import Layout, place
from lora_core.measuring.predicted_memory import predicted_memory_mb
from lora_core.methods import registry
from lora_core.models import model as models
from lora_core.records import write_json
from lora_core.sealed import seal
from lora_core.training.device_batches import lengths_on_device
from lora_core.training.steps import forward

if TYPE_CHECKING:
    from lora_core.measuring.memory_limit import MemoryLimit
    from lora_core.training.spec import RunSpec


def check_memory(
    folder: Path, card: DataCard, specs: Mapping[str, RunSpec], limit: MemoryLimit | None, out: Path
) -> None:
    """Write memory/{task}.json: what the largest batch of each method needs on the device of the limit.

    `folder` is a prepared model and `card` describes the task. The largest batch has as many rows as a batch or
    micro-batch can have, all as long as the longest training example. Nothing is predicted without a limit. Raise
    ValueError that says what does not fit, and with which settings it would; what may not fit is announced. With or
    without a limit, raise ValueError for a method that this architecture does not support, or not with gradient
    checkpointing.
    """
    predictions: dict[str, Prediction | None] = dict.fromkeys(specs)
    if limit is not None:
        with _autocast_without_gpu():
            predictions |= {method: _predict(folder, card, spec, limit.kind) for method, spec in specs.items()}
    else:
        for spec in specs.values():
            registry.build_without_weights(
                folder, card.outputs, spec.settings, spec.hyperparameters.gradient_checkpointing
            )
    known = {(method, card.task): one for method, one in predictions.items() if one is not None}
    result = fit(known, limit)
    result.check()
    for warning in result.warnings:
        job.announce(warning)
    methods = {method: one and asdict(one) for method, one in predictions.items()}
    content = {"kind": limit and limit.kind, "limit_mb": limit and limit.mb, "methods": methods}
    write_json(out, seal(content, place(Layout.memory, out)))


@contextmanager
def _autocast_without_gpu() -> Iterator[None]:
    """Let autocast for CUDA cast tensors without data, also where no GPU is visible; it asks for one before."""
    common, asked, supported = torch.cuda.amp.common, "amp_definitely_not_available", torch.cuda.is_bf16_supported
    before = getattr(common, asked)
    setattr(common, asked, lambda: False)
    torch.cuda.is_bf16_supported = lambda *_: True
    try:
        yield
    finally:
        setattr(common, asked, before)
        torch.cuda.is_bf16_supported = supported


def _predict(folder: Path, card: DataCard, spec: RunSpec, kind: str) -> Prediction | None:
    device = torch.device(kind)
    parts = _parts(folder, card, spec, device)
    if parts is None:
        return None
    (rows, tokens), saved, state = parts
    try:
        checkpointed = _parts(folder, card, checkpointing, device) if (checkpointing := _checkpointing(spec)) else None
    except ValueError:  # the architecture cannot
        checkpointed = None
    return Prediction(rows, tokens, state, saved, checkpointed and checkpointed[1])


def _checkpointing(spec: RunSpec) -> RunSpec | None:
    """The same run with gradient checkpointing; None if it has that already."""
    hyperparameters = spec.hyperparameters
    if hyperparameters.gradient_checkpointing:
        return None
    return replace(spec, hyperparameters=replace(hyperparameters, gradient_checkpointing=True))


def _parts(
    folder: Path, card: DataCard, spec: RunSpec, device: torch.device
) -> tuple[tuple[int, int], float, float] | None:
    """Return the rows and tokens of the largest batch, what it saves for backward, and what training holds anyway."""
    hyperparameters, shapes = spec.hyperparameters, without_weights(spec, folder, device, card.outputs)
    longest = models.max_input_length(shapes)
    tokens = min(card.train.longest, longest or card.train.longest)
    tokens = int(lengths_on_device(np.array([tokens]), shapes, device.type)[0])
    rows = min(hyperparameters.micro_batch_size or hyperparameters.batch_size, card.train.examples)
    compute = partial(forward, precision=spec.precision)
    parts = predicted_memory_mb(shapes, (rows, tokens), device.type, compute, hyperparameters.optimizer)
    if parts is None:
        return None
    saved = parts.pop("saved_for_backward_mb")
    return (rows, tokens), saved, sum(parts.values())
