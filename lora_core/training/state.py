"""The state of training after an epoch: what is trained, the optimizer, the schedule and the random generators."""

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lora_core.training.state_file import State


def capture(model: nn.Module, optimizer: Optimizer, schedule: LRScheduler) -> State:
    """Return everything that later steps depend on, with its tensors on the CPU."""
    device, content = next(model.parameters()).device, optimizer.state_dict()
    tensors = {f"model.{name}": p.detach() for name, p in model.named_parameters() if p.requires_grad}
    for number, entry in content["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in entry.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    values = {"groups": content["param_groups"], "schedule": schedule.state_dict()}
    return State(values, {name: tensor.cpu() for name, tensor in tensors.items()})


@torch.no_grad()
def restore(state: State, model: nn.Module, optimizer: Optimizer, schedule: LRScheduler) -> None:
    """Continue from what `capture` returned."""
    device, tensors = next(model.parameters()).device, state.tensors
    for name, p in model.named_parameters():
        if p.requires_grad:
            p.copy_(tensors[f"model.{name}"])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, field = name.split(".")
            moments.setdefault(int(number), {})[field] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": state.values["groups"]})
    schedule.load_state_dict(state.values["schedule"])
    torch.set_rng_state(tensors["random.cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], device)
