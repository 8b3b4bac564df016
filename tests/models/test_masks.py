"""The form of attention mask that a model takes: four dimensions wherever that computes the same."""

import pytest
import torch
from builders import SHAPE
from transformers import AutoConfig, AutoModelForSequenceClassification

from lora_core.models import masks

CUDA = torch.device("cuda")  # only its name counts: nothing is moved there
NARROW = {"embedding_size": 32}
# Each with the form that its attention takes in transformers.
MODELS = {
    "bert": ({}, "boolean"),
    "roberta": ({}, "boolean"),
    "xlm-roberta": ({}, "boolean"),
    "albert": (NARROW, "boolean"),
    "electra": (NARROW, "boolean"),
    "distilbert": ({"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}, "boolean"),
    "mpnet": ({}, "additive"),  # its attention adds the mask to the scores
    "convbert": (NARROW, "additive"),
    "roformer": (NARROW, "additive"),
    "megatron-bert": ({}, "additive"),
    "deberta-v2": ({"relative_attention": True, "position_buckets": 32}, "flat"),  # it makes masks of its own
    "esm": ({"vocab_size": 33, "mask_token_id": 32, "token_dropout": True}, "flat"),  # so does its embedding
    "longformer": ({"attention_window": [8, 8]}, "flat"),
    "canine": ({"num_hash_buckets": 64}, "flat"),
    "modernbert": ({"local_attention": 128}, "flat"),  # some of its layers see a window, if texts are longer
    "fnet": ({}, "flat"),  # it takes no mask
}  # fmt: skip


def tiny(name, **changes):
    torch.manual_seed(0)
    fields = SHAPE | {"pad_token_id": 0, "num_labels": 3} | MODELS[name][0] | changes
    return AutoModelForSequenceClassification.from_config(AutoConfig.for_model(name, **fields)).eval()


def padded():
    real = torch.arange(24) < torch.tensor([24, 20, 9, 1])[:, None]
    ids = torch.randint(5, 30, real.shape, generator=torch.Generator().manual_seed(0))
    return torch.where(real, ids, 0), real


@pytest.mark.parametrize("name", MODELS)
def test_a_model_gets_the_form_that_computes_the_same(name):
    model = tiny(name)
    masks.choose_form(model, CUDA)
    assert masks.form(model) == MODELS[name][1]
    assert not model.training
    ids, real = padded()
    with torch.no_grad():
        flat, chosen = (
            model(input_ids=ids, attention_mask=masks.build(form, real)).logits for form in ("flat", masks.form(model))
        )
    torch.testing.assert_close(chosen, flat, rtol=1e-5, atol=1e-6)


def test_a_boolean_mask_where_it_is_added_computes_something_else():
    model = tiny("mpnet", initializer_range=0.5)
    ids, real = padded()
    with torch.no_grad():
        flat, wrong = (
            model(input_ids=ids, attention_mask=masks.build(form, real)).logits for form in ("flat", "boolean")
        )
    assert (flat - wrong).abs().max() > masks.TOLERANCE * flat.abs().max()


def test_flash_attention_keeps_the_flat_mask():
    model = tiny("bert")
    model.config._attn_implementation_internal = "flash_attention_2"
    assert model.config._attn_implementation == "flash_attention_2"
    masks.choose_form(model, CUDA)
    assert masks.form(model) == "flat"


def test_on_a_cpu_every_model_keeps_the_flat_mask():
    model = tiny("bert")
    masks.choose_form(model, torch.device("cpu"))
    assert masks.form(model) == "flat"


@pytest.mark.parametrize("name", ["bert", "longformer"])
def test_choosing_a_form_draws_no_random_number_and_keeps_the_mode(name):
    model = tiny(name).train()
    before = torch.get_rng_state()
    masks.choose_form(model, CUDA)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training


def test_masks_are_true_or_zero_at_tokens_only():
    _, real = padded()
    assert torch.equal(masks.build("flat", real), real.long())
    boolean, additive = masks.build("boolean", real), masks.build("additive", real)
    assert boolean.shape == additive.shape == (4, 1, 24, 24)
    for query in (0, 23):
        assert torch.equal(boolean[:, 0, query], real)
        assert torch.equal(additive[:, 0, query] == 0, real)
    assert torch.equal(additive[additive != 0].unique(), torch.tensor([torch.finfo(torch.float32).min]))
