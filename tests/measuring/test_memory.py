"""What training keeps in memory: counted once, and without parameters."""

import pytest
import torch
from builders import FULL, LABELS, LORA, LORALIB, TARGETS, spec
from torch import nn

from lora_core.measuring import memory
from lora_core.training.run import build_model


def saved_mb(model, rows=4, tokens=24):
    ids = torch.full((rows, tokens), 5)
    with memory.saved_for_backward(model) as saved:
        model(input_ids=ids).logits.sum()
    return saved.mb


def test_a_linear_layer_keeps_its_input_once_and_not_its_weight():
    layer = nn.Linear(64, 32)
    x = torch.randn(10, 64)
    with memory.saved_for_backward(layer) as saved:
        layer(x) + layer(x[:5]).sum()  # the second input is a view of the first
    assert saved.bytes == x.nbytes


def test_what_needs_no_gradient_keeps_nothing():
    layer = nn.Linear(64, 32).requires_grad_(False)
    with memory.saved_for_backward(layer) as saved:
        layer(torch.randn(10, 64))
    assert saved.bytes == 0


OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=1e-3, momentum=0.9),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("settings", [FULL, LORA, LORALIB], ids=["full", "lora", "loralib"])
def test_gradients_and_optimizer_state_are_those_of_a_real_step(settings, optimizer, bert):
    model = build_model(spec(settings), bert, LABELS, TARGETS)
    counted = memory.parameter_memory_mb(model, optimizer)
    real = OPTIMIZERS[optimizer]([p for p in model.parameters() if p.requires_grad])
    model(input_ids=torch.tensor([[5, 6, 7]])).logits.sum().backward()
    gradients = sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    real.step()
    state = sum(t.nbytes for s in real.state.values() for name, t in s.items() if name != "step")
    assert counted["weights_mb"] == sum(p.nbytes for p in model.parameters()) / 1e6
    # Positions and types that no token had get no gradient of their own tensor here; all tensors have one.
    assert counted["gradients_mb"] == gradients / 1e6
    assert counted["optimizer_mb"] == state / 1e6


def test_lora_keeps_less_for_backward_than_full_fine_tuning(bert):
    full, lora = (build_model(spec(s), bert, LABELS, TARGETS).train() for s in (FULL, LORA))
    assert 0 < saved_mb(lora) < saved_mb(full)
