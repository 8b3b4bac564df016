"""What preparation tries on a model: steps on padded texts, whether it reads them, and its longest input."""

import pytest
from builders import ROBERTA, encoder, prepared

from lora_core.data.datasets import tokenize
from lora_core.data.tasks import TASKS
from lora_core.models import model as models
from lora_core.models.pretrained import prepare_model
from lora_core.models.probes import check_encoder_kind
from lora_core.models.tokenizer import byte_tokenizer
from lora_core.records import read_json


def prepare(folder, config, precision="fp32"):
    prepare_model({"source": "random", "config": config, "seed": 7}, folder, precision)
    return folder


@pytest.mark.parametrize(
    ("name", "changes", "longest"),
    [
        ("roberta", {}, 128),  # two of the positions are before the first token
        ("nystromformer", {}, 130),  # two of its positions are never used
        ("big_bird", {}, 128),  # it pads to blocks of four tokens, and 132 positions are more than it has
        ("big_bird", {"max_position_embeddings": 128}, 128),
        ("t5", {}, None),  # positions are relative
        ("xlnet", {}, None),
    ],
)
def test_the_longest_input_is_one_that_the_model_takes(name, changes, longest, tmp_path):
    folder = prepare(tmp_path / "m", encoder(name) | changes)
    assert models.max_input_length(models.load(folder, ["a", "b"])) == longest
    assert models.max_input_length(models.model_shapes(folder, 2)) == longest
    columns = {"sentence": ["word " * 400], "label": [0]}
    limit = read_json(folder / "tokenizer_config.json")["model_max_length"]
    tokens = tokenize(columns, TASKS["cola"], folder, min(limit, 2000)).examples.lengths[0]
    assert tokens == longest or (longest is None and tokens > 1500)


# Attention to neighbours alone, a Fourier transform, a pooled text, a cross attention, which hides its encoder.
READ_DIFFERENTLY = ("longformer", "modernbert", "fnet", "funnel", "convbert", "bart", "t5")


@pytest.mark.parametrize("name", READ_DIFFERENTLY)
def test_no_encoder_is_taken_for_a_decoder(name):
    from transformers import AutoConfig, AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(**encoder(name)))
    check_encoder_kind(model, byte_tokenizer(model.config.pad_token_id, 300), longest=None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mra", "MraForSequenceClassification gives the same answer whatever the last word of a text is"),
        (
            "reformer",
            r"ReformerForSequenceClassification cannot be trained on texts of different lengths \(If training",
        ),
        ("perceiver", "PerceiverForSequenceClassification has no task head outside its encoder"),
        ("canine", "CanineForSequenceClassification has no vocabulary"),
    ],
)
def test_an_architecture_that_cannot_learn_from_texts_is_refused(name, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path / "m", encoder(name))
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("name", ["deberta", "xmod"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_that_an_architecture_cannot_compute_in_is_refused(name, precision, tmp_path):
    message = rf"model: .* cannot be trained in train\.precision '{precision}' \(.*\); set it to 'fp32'"
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path / "m", encoder(name), precision)
    prepare(tmp_path / "m", encoder(name))


def test_an_encoder_decoder_that_never_sees_its_end_token_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"BartForSequenceClassification cannot .*<eos>"):
        prepare(tmp_path / "m", encoder("bart") | {"eos_token_id": 7})


def test_probes_leave_no_trace_in_the_prepared_model(tmp_path, monkeypatch):
    one = prepared(tmp_path / "one", ROBERTA)
    monkeypatch.setattr("lora_core.models.pretrained.longest_input", lambda *_: 128)
    monkeypatch.setattr("lora_core.models.pretrained.check_model", lambda *_: None)
    monkeypatch.setattr("lora_core.models.batching_probe.record_batching", lambda *_: None)
    two = prepared(tmp_path / "two", ROBERTA)
    for name in ("config.json", "model.safetensors", "tokenizer_config.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


@pytest.mark.parametrize("name", ["albert", "xlnet"])
def test_gradient_checkpointing_is_refused_where_an_architecture_has_none(name, tmp_path):
    model = models.load(prepare(tmp_path / "m", encoder(name)), ["a", "b"])
    with pytest.raises(ValueError, match=r"^hyperparameters\.gradient_checkpointing: .* does not support it; set it"):
        models.enable_checkpointing(model)
