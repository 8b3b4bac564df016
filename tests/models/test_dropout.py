"""The fast dropout has the distribution of torch's, and its attention computes what transformers' does."""

import copy

import pytest
import torch
from builders import LORA, spec
from torch import nn

from lora_core.models import dropout
from lora_core.training import run as train

LABELS = ["no", "yes"]


def built(model, **changes):
    return train.build_model(spec(LORA, **changes), model, LABELS, torch.zeros(1).numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_noise_drops_with_its_probability_and_keeps_the_mean(p, dtype):
    torch.manual_seed(0)
    size = 10_000_003  # not a multiple of four; eight bits an element would show
    noise = dropout.noise(torch.empty(size, dtype=dtype), p)
    error = 5 * (p * (1 - p) / size) ** 0.5  # five standard errors
    assert noise.dtype == dtype
    assert (noise == 0).double().mean().item() == pytest.approx(p, abs=error)
    scale = noise[noise != 0].unique()
    assert scale.item() == pytest.approx(1 / (1 - p), rel=torch.finfo(dtype).eps + 1e-5)


def test_elements_that_share_a_draw_are_independent():
    torch.manual_seed(0)
    dropped = (dropout.noise(torch.empty(4_000_000), 0.5) == 0).view(-1, 4).double()
    correlation = torch.corrcoef(dropped.T) - torch.eye(4)
    assert correlation.abs().max() < 5 / 1000  # five standard errors of a correlation of a million pairs


def test_the_same_seed_drops_the_same():
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append(dropout.noise(torch.empty(5, 7), 0.5))
    assert torch.equal(*draws)


@pytest.mark.parametrize("folder", ["bert", "roberta"])
def test_every_dropout_is_replaced_and_evaluation_computes_as_before(folder, request):
    model = built(request.getfixturevalue(folder))
    fast = copy.deepcopy(model)
    dropout.install(fast)
    assert not [m for m in fast.modules() if type(m) is nn.Dropout]
    assert [m.p for m in fast.modules() if isinstance(m, nn.Dropout)] == [
        m.p for m in model.modules() if isinstance(m, nn.Dropout)
    ]
    ids = torch.randint(5, 200, (3, 9))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    with torch.no_grad():
        before, after = (m.eval()(input_ids=ids, attention_mask=mask).logits for m in (model, fast))
    assert torch.equal(before, after)


def encoder():
    """A module with bidirectional attention."""
    module = nn.Module()
    module.is_causal = False
    return module


def test_attention_is_that_of_torch_where_nothing_drops(monkeypatch):
    monkeypatch.setattr(dropout, "noise", lambda like, p: torch.ones_like(like))
    query, key, value = torch.randn(3, 2, 4, 6, 8, dtype=torch.float64, requires_grad=True).unbind(0)
    mask = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    mask[1, :, :, 3:] = False
    for attention_mask in (None, mask):
        ours, _ = dropout.attention(encoder(), query, key, value, attention_mask, dropout=0.1)
        theirs = nn.functional.scaled_dot_product_attention(query, key, value, attention_mask).transpose(1, 2)
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_attention_drops_probabilities_by_the_noise(monkeypatch):
    monkeypatch.setattr(dropout, "noise", lambda like, p: torch.full_like(like, p))
    query, key, value = torch.randn(3, 2, 4, 6, 8)
    output, _ = dropout.attention(encoder(), query, key, value, None, dropout=0.25)
    full = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)
    assert torch.allclose(output, 0.25 * full, atol=1e-6)


@pytest.mark.parametrize("feature", ["causal", "groups", "bias", "mask", "unknown"])
def test_any_other_attention_is_left_to_torch(feature, monkeypatch):
    monkeypatch.setattr(dropout, "noise", lambda like, p: pytest.fail("not for this attention"))
    module = encoder()
    query, key, value = torch.randn(3, 1, 2, 3, 4)
    mask, more = None, {}
    if feature == "causal":
        module.is_causal = True
    elif feature == "groups":
        module.num_key_value_groups = 2
        key, value = key[:, :1], value[:, :1]
    elif feature == "bias":
        more["position_bias"] = torch.zeros(1, 2, 3, 3)
    elif feature == "mask":
        mask = torch.zeros(1, 1, 3, 3)
    else:
        module = nn.Module()  # without is_causal, which transformers takes as causal
    out, _ = dropout.attention(module, query, key, value, mask, dropout=0.1, **more)
    assert out.shape == (1, 3, 2, 4)


def test_training_uses_it(bert):
    model = built(bert).train()
    dropout.install(model)
    ids = torch.randint(5, 200, (2, 9))
    torch.manual_seed(0)
    one, two = (model(input_ids=ids).logits for _ in range(2))
    assert not torch.equal(one, two)
    torch.manual_seed(0)
    assert torch.equal(model(input_ids=ids).logits, one)


def test_it_trains_without_dropout_as_torch_does(bert):
    model = built(bert, hyperparameters={"dropout": 0.0}).train()
    fast = copy.deepcopy(model)
    dropout.install(fast)
    ids = torch.randint(5, 200, (2, 9))
    grads = []
    for m in (model, fast):
        m(input_ids=ids).logits.sum().backward()
        grads.append([p.grad for p in m.parameters() if p.requires_grad])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
