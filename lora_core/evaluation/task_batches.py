"""The mean batch of a task, from the batches that training really forms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from lora_core.data.batches import Examples, truncate
from lora_core.evaluation.regime_record import Size, TaskBatches
from lora_core.models.model import max_input_length
from lora_core.training.device_batches import DeviceExamples, lengths_on_device
from lora_core.training.epoch_order import epoch_order
from lora_core.training.training_step import create_step

if TYPE_CHECKING:
    from lora_core.training.spec import RunSpec


def task_batches(task: str, runs: Mapping[str, tuple[RunSpec, nn.Module]], examples: Examples) -> TaskBatches:
    """Return the mean batch of a task and the steps of an epoch, for the run and the model of each method."""
    batches = {method: _mean_batch(task, *run, examples) for method, run in runs.items()}
    sizes = {method: size for method, (size, _) in batches.items()}
    return TaskBatches(sizes, {method: steps for method, (_, steps) in batches.items()})


def _mean_batch(task: str, spec: RunSpec, model: nn.Module, examples: Examples) -> tuple[Size, int]:
    """The mean batch of the first epoch, and how many batches it has.

    Its tokens are the mean over all rows, padding included, rounded up as the device pads.
    """
    examples = truncate(examples, max_input_length(model))
    split = DeviceExamples(examples, model)
    order = epoch_order(spec, examples.lengths, 1, split.padded_lengths, split.equal_length)
    step = create_step(replace(spec, cuda_graphs="off"), model, split, len(order.rows))
    computed = sum(batch.tokens_computed for batch in step.batches(order.rows))
    rows, steps = round(len(examples) / len(order.rows)), len(order.rows)
    size = Size(rows, round(computed / len(examples)), min(rows, order.micro or rows), task)
    return padded(size, model), steps


def padded(size: Size, model: nn.Module) -> Size:
    """Return a size whose tokens are rounded up as the model's device pads them, so that what is timed is counted."""
    device = next(model.parameters()).device
    return replace(size, tokens=int(lengths_on_device(np.array([size.tokens]), model, device.type)[0]))
