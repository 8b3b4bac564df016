"""What happens only once in a process, before the first epoch: kernels are loaded, memory is reserved, graphs captured.

A few real batches are trained on and evaluated, and everything that this changed is put back, bit for bit.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim import Optimizer

from lora_core.training.learning_rates import LearningRates
from lora_core.training.loss_scaling import LossScaling
from lora_core.training.state import capture, restore

# How many batches of different shapes are trained on, by the type of the device: on a GPU each shape may need kernels
# of its own, which are loaded when they are first used.
BATCHES = {"cuda": 8}
BATCHES_ELSEWHERE = 1


def batches_to_prepare(device: torch.device) -> int:
    """Return how many batches of different shapes a device is prepared with."""
    return BATCHES.get(device.type, BATCHES_ELSEWHERE)


@contextmanager
def undone(model: nn.Module, optimizer: Optimizer, rates: LearningRates, scaling: LossScaling) -> Iterator[None]:
    """Put back what steps in the block change: weights, buffers, optimizer, rates, scale, random generators."""
    state = capture(model, optimizer, rates, scaling)
    for name, tensor in state.tensors.items():  # on a CPU they are the tensors that are trained
        state.tensors[name] = tensor.clone()
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    yield
    restore(state, model, optimizer, rates, scaling)
    with torch.no_grad():
        for buffer, content in buffers:
            buffer.copy_(content)
    optimizer.zero_grad(set_to_none=True)


def warm_up(model: nn.Module, steps: Iterable[Callable[[], object]], evaluation: Callable[[], object]) -> None:
    """Do each training step and the evaluation once; the caller undoes what they change."""
    model.train()
    for step in steps:
        step()
    model.eval()
    with torch.inference_mode():
        evaluation()
