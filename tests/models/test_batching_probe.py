"""A model whose logits change with padding is batched without it; one that pads on the left is padded there."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import BERT, LABELS, ROBERTA, SHAPE, prepared, prepared_from_local, tokenized

from lora_core.data import batches
from lora_core.models import model as models
from lora_core.records import read_json
from lora_core.training.device_batches import DeviceExamples
from lora_core.training.steps import compute_logits, predict_logits

XLNET = {"model_type": "xlnet", "vocab_size": 300, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64}
BIG_BIRD = SHAPE | {"model_type": "big_bird", "block_size": 4, "num_random_blocks": 1}
REFORMER = {
    "model_type": "reformer", "vocab_size": 300, "hidden_size": 32, "num_attention_heads": 4, "attention_head_size": 8,
    "feed_forward_size": 64, "axial_pos_embds": False, "max_position_embeddings": 128, "local_attn_chunk_length": 8,
    "lsh_attn_chunk_length": 8, "is_decoder": False, "attn_layers": ["local", "lsh"], "num_buckets": 4,
}  # fmt: skip
DEPENDENT = {
    "fnet": SHAPE | {"model_type": "fnet", "tpu_short_seq_length": 32},
    "convbert": SHAPE | {"model_type": "convbert", "embedding_size": 32},
    "canine": SHAPE | {"model_type": "canine", "max_position_embeddings": 132, "num_hash_buckets": 64},
    "nystromformer": SHAPE
    | {"model_type": "nystromformer", "num_landmarks": 8, "segment_means_seq_len": 8, "conv_kernel_size": 5},
    "yoso": SHAPE | {"model_type": "yoso"},
    "xlnet": XLNET,  # the tokenizer made here pads on the right
}
INDEPENDENT = {
    "bert": BERT,
    "roberta": ROBERTA,
    "mobilebert": SHAPE
    | {"model_type": "mobilebert", "embedding_size": 32, "intra_bottleneck_size": 32, "true_hidden_size": 32},
    "deberta-v2": SHAPE | {"model_type": "deberta-v2", "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
}


@pytest.fixture(scope="module")
def fnet(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("fnet") / "fnet", DEPENDENT["fnet"])


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """A prepared XLNet whose own tokenizer pads on the left."""
    folder = tmp_path_factory.mktemp("xlnet")
    source = prepared(folder / "source", XLNET)
    settings = source / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"padding_side": "left"}))
    return prepared_from_local(source, folder / "xlnet")


@pytest.mark.parametrize("family", DEPENDENT)
def test_a_model_whose_logits_depend_on_padding_is_recorded_and_announced(family, tmp_path, capfd):
    config = read_json(prepared(tmp_path / family, DEPENDENT[family]) / "config.json")
    assert config["equal_length_batches"] is True
    assert "its batches hold texts of equal length only" in capfd.readouterr().err
    assert "padding_side" not in config


@pytest.mark.parametrize("family", INDEPENDENT)
def test_a_model_that_padding_leaves_alone_is_padded(family, tmp_path, capfd):
    config = read_json(prepared(tmp_path / family, INDEPENDENT[family]) / "config.json")
    assert not {"equal_length_batches", "padding_side"} & config.keys()
    assert "equal length" not in capfd.readouterr().err


def test_what_an_earlier_preparation_recorded_of_another_model_does_not_count(tmp_path):
    config = read_json(prepared(tmp_path / "b", BERT | {"equal_length_batches": True, "padding_side": "left"})
                       / "config.json")  # fmt: skip
    assert not {"equal_length_batches", "padding_side"} & config.keys()


def test_the_weights_that_are_tried_at_another_size_are_stored_as_they_are(tmp_path):
    from transformers import AutoConfig, AutoModelForSequenceClassification

    folder = prepared(tmp_path / "fnet", DEPENDENT["fnet"])
    torch.manual_seed(7)
    drawn = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(folder)).base_model.state_dict()
    stored = models.load(folder, LABELS).base_model.state_dict()
    assert all(torch.equal(stored[name], tensor) for name, tensor in drawn.items())


def _alone(model, split):
    """The logits of each example of a split by itself."""
    order = [np.array([row]) for row in range(len(split))]
    with torch.no_grad():
        return np.concatenate(
            [compute_logits(model, batch, torch.device("cpu")).numpy() for batch in batches.batches(split, order, 0)]
        )


@pytest.mark.parametrize("batch_size", [3, 16])
def test_predictions_of_such_a_model_are_those_of_each_text_alone(fnet, batch_size, tmp_path):
    split = batches.load(tokenized(fnet, tmp_path / "data", "cola") / "validation.safetensors")
    model = models.load(fnet, LABELS, torch.Generator().manual_seed(1)).eval()
    alone = _alone(model, split)
    examples = DeviceExamples(split, model)
    np.testing.assert_allclose(predict_logits(model, examples, "fp32", batch_size), alone, atol=1e-6)
    examples.equal_length = False
    assert np.abs(predict_logits(model, examples, "fp32", batch_size) - alone).max() > 1e-3  # as it would be padded


def test_a_model_that_pads_on_the_left_answers_in_batches_as_alone(left, tmp_path):
    assert read_json(left / "config.json")["padding_side"] == "left"
    assert "equal_length_batches" not in read_json(left / "config.json")
    assert read_json(left / "tokenizer_config.json")["padding_side"] == "left"
    split = batches.load(tokenized(left, tmp_path / "data", "rte") / "validation.safetensors")
    model = models.load(left, LABELS, torch.Generator().manual_seed(1)).eval()
    examples = DeviceExamples(split, model)
    np.testing.assert_allclose(predict_logits(model, examples, "fp32", 16), _alone(model, split), atol=1e-6)
    types = np.random.default_rng(0).integers(0, 2, len(split.tokens)).astype(np.int8)
    split = replace(split, types=types)
    examples, order = DeviceExamples(split, model), batches.order(split.lengths, 7, "random", 1)
    for host, device in zip(batches.batches(split, order, 0, "left"), examples.batches(order), strict=True):
        inputs = examples.inputs(device.rows, device.tokens)
        assert np.array_equal(inputs["input_ids"], host.ids)
        assert np.array_equal(inputs["attention_mask"], host.mask)
        assert np.array_equal(inputs["token_type_ids"], host.types)
        assert host.mask[:, -1].all()
        assert not host.mask[:, 0].all()


def test_big_bird_answers_a_long_text_the_same_before_and_after_a_short_one(tmp_path, capfd):
    from transformers import AutoConfig, AutoModelForSequenceClassification

    folder = prepared(tmp_path / "big_bird", BIG_BIRD)
    assert "it has full attention throughout" in capfd.readouterr().err
    config = AutoConfig.from_pretrained(folder)
    ids = torch.randint(8, 300, (1, 100), generator=torch.Generator().manual_seed(0))
    for attention, is_same in ((config.attention_type, True), ("block_sparse", False)):
        config.attention_type = attention
        torch.manual_seed(3)
        model = AutoModelForSequenceClassification.from_config(config).eval()
        for matrix in model.parameters():
            if matrix.ndim > 1:
                matrix.data.mul_(8)  # a model that was just initialized hardly attends
        with torch.no_grad():
            before, _, after = (model(input_ids=ids[:, :length]).logits for length in (100, 10, 100))
        assert torch.allclose(before, after, atol=1e-6) == is_same


def test_a_model_that_answers_one_text_in_several_ways_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ReformerForSequenceClassification .*answers the same text differently"):
        prepared(tmp_path / "reformer", REFORMER | {"hash_seed": None})
