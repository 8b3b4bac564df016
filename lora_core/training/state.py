"""The state of training after an epoch: what is trained, the optimizer, how many steps are done, random generators."""

import torch
from torch import nn
from torch.optim import Optimizer

from lora_core.training.learning_rates import LearningRates
from lora_core.training.loss_scaling import LossScaling
from lora_core.training.state_file import State


def capture(model: nn.Module, optimizer: Optimizer, rates: LearningRates, scaling: LossScaling) -> State:
    """Return everything that later steps depend on, with its tensors on the CPU."""
    device = next(model.parameters()).device
    tensors = {f"model.{name}": p.detach() for name, p in model.named_parameters() if p.requires_grad}
    for number, entry in enumerate(_entries(optimizer)):
        tensors |= {f"optimizer.{number}.{name}": value for name, value in entry.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    values = {"steps_done": rates.done, "loss_scaling": scaling.state()}
    return State(values, {name: tensor.cpu() for name, tensor in tensors.items()})


@torch.no_grad()
def restore(state: State, model: nn.Module, optimizer: Optimizer, rates: LearningRates, scaling: LossScaling) -> None:
    """Continue from what `capture` returned, in the tensors that are there: a CUDA graph reads and writes these."""
    device, tensors = next(model.parameters()).device, state.tensors
    for name, p in model.named_parameters():
        if p.requires_grad:
            p.copy_(tensors[f"model.{name}"])
    entries = _entries(optimizer)
    for tensor in (tensor for entry in entries for tensor in entry.values()):
        tensor.zero_()  # as before the first step, which the saved state may be of
    for name in (name for name in tensors if name.startswith("optimizer.")):
        _, number, field = name.split(".")
        entries[int(number)].setdefault(field, torch.empty_like(tensors[name], device=device)).copy_(tensors[name])
    rates.seek(state.values["steps_done"])
    scaling.load(state.values["loss_scaling"])
    torch.set_rng_state(tensors["random.cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], device)


def _entries(optimizer: Optimizer) -> list[dict[str, torch.Tensor]]:
    """The state of each parameter, in the order of the groups; empty before the first step."""
    return [optimizer.state[p] for group in optimizer.param_groups for p in group["params"]]
