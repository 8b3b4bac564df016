"""What training keeps: counted once, parameters left out, and the same from shapes alone."""

import pytest
import torch
from builders import FULL, LABELS, LORA, LORALIB, TARGETS, spec
from torch import nn

from lora_core.measuring import memory
from lora_core.methods import registry as methods
from lora_core.training.run import build, quicken


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


@pytest.mark.parametrize("settings", [FULL, LORA, LORALIB], ids=["full", "lora", "loralib"])
def test_gradients_and_optimiser_state_are_those_of_a_real_step(settings, bert):
    model = build(spec(settings), bert, LABELS, TARGETS)
    found = memory.fixed_mb(model)
    adamw = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    model(input_ids=torch.tensor([[5, 6, 7]])).logits.sum().backward()
    gradients = sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    adamw.step()
    state = sum(t.nbytes for s in adamw.state.values() for name, t in s.items() if name != "step")
    assert found["weights_mb"] == sum(p.nbytes for p in model.parameters()) / 1e6
    # Positions and types that no token had get no gradient of their own tensor here; all tensors have one.
    assert found["gradients_mb"] == gradients / 1e6
    assert found["optimizer_mb"] == state / 1e6


def test_lora_keeps_less_for_backward_than_full_fine_tuning(bert):
    full, lora = (build(spec(s), bert, LABELS, TARGETS).train() for s in (FULL, LORA))
    assert 0 < saved_mb(lora) < saved_mb(full)


@pytest.mark.parametrize("settings", [FULL, LORA, LORALIB], ids=["full", "lora", "loralib"])
@pytest.mark.parametrize("folder", ["bert", "roberta"])
def test_the_prediction_from_shapes_is_near_what_a_step_keeps(settings, folder, request):
    folder = request.getfixturevalue(folder)
    model = build(spec(settings), folder, LABELS, TARGETS).train()
    shapes = methods.shapes(folder, 2, settings)
    predicted = memory.predict(shapes, 4, 24, "fp32")
    assert predicted["weights_mb"] == memory.fixed_mb(model)["weights_mb"]
    assert predicted["gradients_mb"] == memory.fixed_mb(model)["gradients_mb"]
    # Attention differs: the meta device keeps its probabilities, a fused kernel their logarithmic sums.
    assert predicted["saved_for_backward_mb"] == pytest.approx(saved_mb(model), rel=0.35)


@pytest.mark.parametrize("settings", [FULL, LORA], ids=["full", "lora"])
def test_the_prediction_for_bf16_is_near_what_a_step_keeps(settings, bert):
    run = spec(settings, precision="bf16")
    model, shapes = build(run, bert, LABELS, TARGETS).train(), methods.shapes(bert, 2, run.settings)
    for each in (model, shapes):
        quicken(each, run, torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16):
        kept = saved_mb(model)
    predicted = memory.predict(shapes, 4, 24, "bf16")
    assert predicted["weights_mb"] == memory.fixed_mb(model)["weights_mb"]
    # Autocast keeps some in float32 (norms, the head's input), and casts of the weights that are trained.
    assert predicted["saved_for_backward_mb"] == pytest.approx(kept, rel=0.35)
