"""LoRALinear is Algorithm 1: compared with loralib and PEFT from the same initial values."""

import loralib
import pytest
import torch
from torch import nn

from lora_core.measuring.memory import saved_for_backward
from lora_core.methods.layers import LoRALinear

RANK, ALPHA = 4, 6.0
EXACT = {torch.float64: 1e-10, torch.float32: 1e-6}


def base_and_layer(dtype: torch.dtype) -> tuple[nn.Linear, LoRALinear]:
    torch.manual_seed(0)
    base = nn.Linear(24, 16, dtype=dtype)
    layer = LoRALinear(base, RANK, ALPHA, torch.Generator().manual_seed(1))
    with torch.no_grad():
        layer.lora_B.normal_()
    return base, layer


def by_loralib(base: nn.Linear, layer: LoRALinear) -> tuple[nn.Module, nn.Parameter, nn.Parameter]:
    other = loralib.Linear(24, 16, r=RANK, lora_alpha=ALPHA, merge_weights=False, dtype=base.weight.dtype)
    other.weight, other.bias = base.weight, base.bias
    return other, other.lora_A, other.lora_B


def by_peft(base: nn.Linear, layer: LoRALinear) -> tuple[nn.Module, nn.Parameter, nn.Parameter]:
    from peft import LoraConfig, inject_adapter_in_model

    holder = nn.Sequential()
    holder.add_module("linear", base)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["linear"], lora_dropout=0.0)
    other = inject_adapter_in_model(config, holder).linear.to(base.weight.dtype)
    return other, other.lora_A["default"].weight, other.lora_B["default"].weight


@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("reference", [by_loralib, by_peft])
def test_outputs_and_gradients_equal_those_of_the_reference(dtype, reference):
    base, layer = base_and_layer(dtype)
    other, a, b = reference(base, layer)
    with torch.no_grad():
        a.copy_(layer.lora_A)
        b.copy_(layer.lora_B)
    results = []
    for module in (layer, other):
        x = torch.randn(3, 5, 24, dtype=dtype, generator=torch.Generator().manual_seed(2), requires_grad=True)
        out = module(x)
        out.square().sum().backward()
        results.append((out.detach(), x.grad))
    pairs = [*zip(*results, strict=True), (layer.lora_A.grad, a.grad), (layer.lora_B.grad, b.grad)]
    for ours, theirs in pairs:
        assert (ours - theirs).abs().max() <= EXACT[dtype] * theirs.abs().max()
        assert theirs.abs().max() > 0


def test_the_layer_starts_as_the_base_layer():
    base = nn.Linear(8, 6)
    layer = LoRALinear(base, 2, 2.0)
    x = torch.randn(4, 8)
    assert torch.equal(layer(x), base(x))
    assert layer.lora_A.abs().max() > 0


def test_a_is_drawn_kaiming_uniform_with_root_five():
    layer = LoRALinear(nn.Linear(400, 10), 50, 1.0, torch.Generator().manual_seed(0))
    bound = 400**-0.5  # kaiming_uniform with a = sqrt(5): sqrt(6 / (6 * fan_in))
    assert layer.lora_A.abs().max() <= bound
    assert layer.lora_A.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_only_a_and_b_are_trained():
    layer = LoRALinear(nn.Linear(8, 6), 2, 2.0)
    assert {name for name, p in layer.named_parameters() if p.requires_grad} == {"lora_A", "lora_B"}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_merged_equals_unmerged_and_differs_from_the_base(dtype):
    base, layer = base_and_layer(dtype)
    weight = base.weight.detach().clone()
    layer.toggle_merge(True)
    bound = torch.finfo(dtype).eps * max(weight.abs().max(), layer.delta().abs().max())
    assert (layer.weight.double() - (weight.double() + layer.delta().double())).abs().max() <= bound
    assert not torch.equal(layer.weight, weight)


def test_merging_does_not_change_the_output():
    base, layer = base_and_layer(torch.float64)
    x = torch.randn(3, 24, dtype=torch.float64)
    plain = nn.functional.linear(x, base.weight, base.bias).detach().clone()
    unmerged = layer(x).detach()
    layer.toggle_merge(True)
    assert torch.allclose(layer(x), unmerged, rtol=0, atol=1e-12)
    assert not torch.allclose(unmerged, plain)


def test_toggling_twice_changes_nothing_and_unmerging_is_exact():
    _, layer = base_and_layer(torch.float32)
    before = layer.weight.detach().clone()
    layer.toggle_merge(True)
    once = layer.weight.detach().clone()
    layer.toggle_merge(True)
    assert torch.equal(layer.weight, once)
    layer.toggle_merge(False)
    layer.toggle_merge(False)
    assert torch.equal(layer.weight, before)


def test_evaluation_mode_does_not_merge():
    _, layer = base_and_layer(torch.float32)
    before = layer.weight.detach().clone()
    layer.eval()
    assert torch.equal(layer.weight, before)
    assert not layer.merged


def test_a_layer_prints_its_sizes_rank_alpha_and_whether_it_is_merged():
    _, layer = base_and_layer(torch.float32)
    assert repr(layer) == "LoRALinear(in_features=24, out_features=16, rank=4, alpha=6.0, merged=False)"
    layer.toggle_merge(True)
    assert "merged=True" in repr(layer)


def test_the_layer_holds_the_parameters_of_the_base_layer_itself():
    base, layer = base_and_layer(torch.float32)
    assert layer.weight is base.weight
    assert layer.bias is base.bias
    layer.to(torch.float64)
    before = layer(torch.ones(1, 24, dtype=torch.float64))
    unwrapped = layer.unwrap()
    assert unwrapped is base
    assert base.weight.dtype == torch.float64
    torch.testing.assert_close(base(torch.ones(1, 24, dtype=torch.float64)), before)


def test_a_layer_made_on_the_meta_device_is_unwrapped_with_the_parameters_it_got_later():
    layer = LoRALinear(nn.Linear(24, 16, device="meta"), RANK, ALPHA)
    layer.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(0.5)
    base = layer.unwrap()
    assert torch.equal(base.weight, torch.full((16, 24), 0.5 + RANK * 0.25 * ALPHA / RANK))
    assert base.bias.device.type == "cpu"


def test_without_dropout_the_layer_has_no_module_inside():
    _, layer = base_and_layer(torch.float32)
    assert list(layer.children()) == []
    assert layer.state_dict().keys() == {"weight", "bias", "lora_A", "lora_B"}


@pytest.mark.parametrize("reference", ["loralib", "peft"])
def test_dropout_acts_on_the_input_of_the_low_rank_path_as_in_the_references(reference):
    torch.manual_seed(0)
    base = nn.Linear(24, 16)
    layer = LoRALinear(base, RANK, ALPHA, dropout=0.4).train()
    with torch.no_grad():
        layer.lora_B.normal_()
    if reference == "loralib":
        other = loralib.Linear(24, 16, r=RANK, lora_alpha=ALPHA, lora_dropout=0.4, merge_weights=False)
        other.weight, other.bias, a, b = base.weight, base.bias, other.lora_A, other.lora_B
    else:
        from peft import LoraConfig, inject_adapter_in_model

        holder = nn.Sequential()
        holder.add_module("linear", base)
        config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["linear"], lora_dropout=0.4)
        other = inject_adapter_in_model(config, holder).linear
        a, b = other.lora_A["default"].weight, other.lora_B["default"].weight
    with torch.no_grad():
        a.copy_(layer.lora_A)
        b.copy_(layer.lora_B)
    results = []
    for module, matrices in ((layer, (layer.lora_A, layer.lora_B)), (other, (a, b))):
        torch.manual_seed(5)
        x = torch.randn(3, 24, generator=torch.Generator().manual_seed(2))
        module.train()  # loralib's returns nothing
        out = module(x)
        out.square().sum().backward()
        results.append((out.detach(), *(matrix.grad for matrix in matrices)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(results[0][0], layer.eval()(x))


def test_evaluation_and_merging_know_no_dropout():
    plain, dropping = (base_and_layer(torch.float32)[1] for _ in range(2))
    dropping.dropout = nn.Dropout(0.5)
    x = torch.randn(3, 24)
    assert torch.equal(dropping.eval()(x), plain(x))
    dropping.train().toggle_merge(True)
    plain.toggle_merge(True)
    assert torch.equal(dropping(x), plain(x))


class Plain(LoRALinear):
    """The layer by torch's own operations, one after the other."""

    def forward(self, x):
        down = nn.functional.linear(x, self.lora_A)
        out = nn.functional.linear(x, self.weight, self.bias)
        return out + nn.functional.linear(down, self.lora_B) * self.scale


def both(dtype, bias=True):
    """The layer and the plain one over the same tensors."""
    torch.manual_seed(0)
    layers = [kind(nn.Linear(24, 16, bias=bias, dtype=dtype), RANK, ALPHA) for kind in (LoRALinear, Plain)]
    with torch.no_grad():
        layers[0].lora_B.normal_()
    layers[1].load_state_dict(layers[0].state_dict())
    return layers


def gradients(layer, shape, autocast=False):
    """Output, and gradients of the input, A and B."""
    x = torch.randn(*shape, 24, generator=torch.Generator().manual_seed(2)).to(layer.weight.dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = layer(x)
    out.float().square().sum().backward()
    return [out, x.grad, layer.lora_A.grad, layer.lora_B.grad]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
def test_gradients_equal_the_plain_layers(shape, bias):
    for ours, theirs in zip(*(gradients(layer, shape) for layer in both(torch.float32, bias)), strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
        assert theirs.abs().max() > 0


def test_gradients_equal_the_plain_layers_under_autocast():
    for ours, theirs in zip(*(gradients(layer, (3, 5), autocast=True) for layer in both(torch.float32)), strict=True):
        assert ours.dtype == theirs.dtype
        # bf16 has a relative step of 2^-8, and the plain layer rounds twice more.
        assert (ours - theirs).abs().max() <= 2**-6 * theirs.abs().max()


@pytest.mark.parametrize("trains_input", [True, False])
def test_gradcheck(trains_input):
    layer, _ = both(torch.float64)

    def call(x, a, b):
        return layer.__class__.forward(with_tensors(layer, a, b), x)

    x = torch.randn(2, 3, 24, dtype=torch.float64, requires_grad=trains_input)
    assert torch.autograd.gradcheck(call, (x, layer.lora_A, layer.lora_B))


def with_tensors(layer, a, b):
    """The layer with these tensors for its parameters."""
    del layer.lora_A, layer.lora_B
    layer.lora_A, layer.lora_B = a, b
    return layer


def test_it_saves_no_more_for_backward_than_loralib_and_peft():
    base, layer = base_and_layer(torch.float32)
    saved_bytes = []
    for module in (layer, by_loralib(base, layer)[0], by_peft(base, layer)[0]):
        with saved_for_backward(module) as saved:
            module(torch.randn(3, 5, 24, requires_grad=True))
        saved_bytes.append(saved.bytes)
    rows = 3 * 5
    assert saved_bytes[0] == rows * (24 + RANK) * 4  # x and x Aᵀ
    assert saved_bytes[0] <= min(saved_bytes[1:])


def test_a_frozen_input_gets_no_gradient():
    layer, _ = both(torch.float32)
    x = torch.randn(3, 24)
    layer(x).sum().backward()
    assert x.grad is None
    assert layer.lora_A.grad is not None


@pytest.mark.parametrize("shape", [(24,), (3, 24), (2, 3, 24)])
@pytest.mark.parametrize("in_place", [nn.ReLU(inplace=True), lambda out: out.div_(2)], ids=["relu", "division"])
def test_an_operation_in_place_behind_the_layer_gives_the_same_output_and_gradients(shape, in_place):
    results = []
    for layer in both(torch.float64):
        x = torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
        out = in_place(layer(x))
        out.square().sum().backward()
        results.append([out, x.grad, layer.lora_A.grad, layer.lora_B.grad])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bf16", [False, True])
def test_torch_compile_takes_the_layer_as_one_graph(bf16, monkeypatch):
    def breaks_the_graph(device_type):
        raise AssertionError("some versions of torch.compile cannot trace this")

    monkeypatch.setattr(torch.amp, "is_autocast_available", breaks_the_graph)
    torch.manual_seed(0)
    layer = LoRALinear(nn.Linear(8, 6), rank=2, alpha=4)
    nn.init.normal_(layer.lora_B)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    gradients = []
    for call in (layer, compiled):
        x = torch.linspace(-1, 1, 24).view(3, 8).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = call(x)
        assert out.dtype == (torch.bfloat16 if bf16 else torch.float32)
        out.float().square().sum().backward()
        gradients.append([out.detach(), x.grad, layer.lora_A.grad, layer.lora_B.grad])
        layer.zero_grad()
    for plain, traced in zip(*gradients, strict=True):
        torch.testing.assert_close(traced, plain)
