"""What training keeps in memory: counted once, without parameters, and the same when predicted from shapes."""

import pytest
import torch
from builders import FULL, LABELS, LORA, LORALIB, SHAPE, TARGETS, spec
from torch import nn

from lora_core.measuring import memory
from lora_core.methods import registry as methods
from lora_core.training.run import apply_speedups, build_model


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


ROWS, TOKENS, HIDDEN, LAYERS = 4, 24, SHAPE["hidden_size"], SHAPE["num_hidden_layers"]


@pytest.mark.parametrize("dropout", [None, 0.0], ids=["dropout", "no dropout"])
@pytest.mark.parametrize("settings", [FULL, LORA, LORALIB], ids=["full", "lora", "loralib"])
@pytest.mark.parametrize("folder", ["bert", "roberta"])
def test_the_prediction_from_shapes_is_what_a_step_keeps(settings, dropout, folder, request):
    folder = request.getfixturevalue(folder)
    model = build_model(spec(settings, hyperparameters={"dropout": dropout}), folder, LABELS, TARGETS).train()
    # The meta device has no fused attention, which would keep logarithmic sums instead of probabilities.
    model.set_attn_implementation("eager")
    shapes = methods.build_without_weights(folder, 2, spec(settings).settings)
    for module in shapes.modules():
        if dropout is not None and isinstance(module, nn.Dropout):
            module.p = dropout
    predicted = memory.predicted_memory_mb(shapes, ROWS, TOKENS, "fp32")
    assert predicted["weights_mb"] == memory.parameter_memory_mb(model)["weights_mb"]
    assert predicted["gradients_mb"] == memory.parameter_memory_mb(model)["gradients_mb"]
    assert predicted["saved_for_backward_mb"] == saved_mb(model, ROWS, TOKENS)


@pytest.mark.parametrize(("settings", "norms", "copies"), [(FULL, 5, 2), (LORA, 4, 1)], ids=["full", "lora"])
def test_the_prediction_for_bf16_lacks_only_what_autocast_adds(settings, norms, copies, bert):
    """Norms under autocast compute in float32, so that what follows them works on copies in bfloat16.

    `norms` counts those that keep their input (LoRA needs no gradient before the first layer), `copies` the further
    ones of each layer's input (for query, key and value; with LoRA for query and value).
    """
    run = spec(settings, precision="bf16")
    model, shapes = (
        build_model(run, bert, LABELS, TARGETS).train(),
        methods.build_without_weights(bert, 2, run.settings),
    )
    for each in (model, shapes):
        apply_speedups(each, run, torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16):
        counted = saved_mb(model, ROWS, TOKENS)
    predicted = memory.predicted_memory_mb(shapes, ROWS, TOKENS, "bf16")
    assert predicted["weights_mb"] == memory.parameter_memory_mb(model)["weights_mb"]
    hidden_states = 2 * ROWS * TOKENS * HIDDEN  # bytes in bfloat16
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad and p.ndim == 2]
    cast_weights = 2 * sum(p.numel() for name, p in trained if "embeddings" not in name)
    pooler_input = 2 * ROWS * HIDDEN if settings is FULL else 0  # a copy; in the prediction a view
    added = (norms + copies * LAYERS) * hidden_states + cast_weights + pooler_input
    assert counted - predicted["saved_for_backward_mb"] == pytest.approx(added / 1e6)
