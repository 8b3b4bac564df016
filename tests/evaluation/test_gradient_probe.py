"""What training cannot reach is found by two real steps, named in table 1's details, and refused if it is the head."""

import pytest
import torch
from builders import DRAWN, FULL, LABELS, LORA, LORALIB, SHAPE, changed, prepared

from lora_core.config import study as config
from lora_core.config.params import head_params
from lora_core.evaluation import gradient_probe
from lora_core.evaluation.gradient_probe import KEY_BIAS, probe_gradients
from lora_core.evaluation.gradients import read_gradients
from lora_core.evaluation.parameter_counts import count_parameters
from lora_core.methods import registry
from lora_core.methods.registry import settings_from_params
from lora_core.models import model as models
from lora_core.records import write_json
from lora_core.reporting import catalogue
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.tables import parameters as table1
from lora_core.sealed import seal

PEFT_LORA = {"kind": "peft", "config": {"peft_type": "LORA", "r": 4, "target_modules": ["query", "value"]}}
PREFIX = {"kind": "peft", "config": {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4}}
BITFIT, HOULSBY = {"kind": "bitfit"}, {"kind": "houlsby", "bottleneck": 4, "targets": ["output.dense"]}
BIG_BIRD = SHAPE | {"model_type": "big_bird", "block_size": 4, "num_random_blocks": 1}
LONGFORMER = SHAPE | {"model_type": "longformer", "attention_window": [8, 8], "pad_token_id": 1}
MRA = SHAPE | {"model_type": "mra", "block_per_row": 2}
PERCEIVER = {
    "model_type": "perceiver", "vocab_size": 300, "max_position_embeddings": 130, "num_latents": 8, "d_latents": 32,
    "d_model": 32, "num_blocks": 1, "num_self_attends_per_block": 2, "num_self_attention_heads": 4,
    "num_cross_attention_heads": 4,
}  # fmt: skip


def probed(folder, settings, outputs=(2, 1)):
    return probe_gradients(folder, settings["kind"], settings_from_params(settings), outputs)


@pytest.fixture(scope="module")
def longformer(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("models") / "longformer", LONGFORMER)


@pytest.mark.parametrize("settings", [FULL, LORA, LORALIB, PEFT_LORA, PREFIX, BITFIT, HOULSBY], ids=str)
def test_everything_that_a_method_trains_in_bert_gets_a_gradient(settings, bert):
    assert probed(bert, settings).without == {}


def test_at_the_first_step_half_of_lora_would_seem_dead(bert, monkeypatch):
    monkeypatch.setattr(gradient_probe, "STEPS", 1)
    assert {name.rpartition(".")[2] for name in probed(bert, LORA).without} == {"lora_A"}


def test_a_pooler_that_no_answer_uses_is_found(tmp_path, capfd):
    folder = prepared(tmp_path / "big_bird", BIG_BIRD)
    assert probed(folder, FULL).without == {"bert.pooler.weight": 32 * 32, "bert.pooler.bias": 32}
    assert "full: 1,056 of the trained parameters get no gradient" in capfd.readouterr().err
    assert probed(folder, LORA).without == {}


def test_a_table_that_transformers_fixes_is_not_trained_nor_counted(tmp_path):
    folder = prepared(tmp_path / "roformer", SHAPE | {"model_type": "roformer", "embedding_size": 32})
    settings = settings_from_params(FULL)
    fixed = {
        name: p.numel()
        for name, p in registry.build_without_weights(folder, 2, settings).named_parameters()
        if not p.requires_grad
    }
    assert list(fixed) == ["roformer.encoder.embed_positions.weight"]
    loaded = registry.adapt(models.load(folder, LABELS), settings, torch.Generator())
    assert [name for name, p in loaded.named_parameters() if not p.requires_grad] == list(fixed)
    counts = count_parameters(folder, {"fft": settings}, 2)
    assert counts.methods["fft"].trainable == counts.full - sum(fixed.values())
    assert probed(folder, FULL).without == {}


def test_longformer_reads_its_last_layer_by_its_global_query_and_value(longformer):
    found = probed(longformer, LORA)
    layer = "longformer.encoder.layer.1.attention.self"
    assert set(found.without) == {f"{layer}.{name}.lora_{ab}" for name in ("query", "value") for ab in "AB"}
    assert found.read_instead == ("query_global", "value_global")
    with_global = LORA | {"targets": ["query", "value", "query_global", "value_global"]}
    assert probed(longformer, with_global).read_instead == ()
    assert probed(longformer, FULL).read_instead == ()


def test_a_model_that_sees_the_first_token_alone_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("lora_core.models.pretrained.check_model", lambda *_: None)  # which refuses it before
    folder = prepared(tmp_path / "mra", MRA)
    with pytest.raises(
        ValueError, match=r"MraForSequenceClassification gives different texts the same logits.*another model$"
    ):
        probed(folder, LORA)


def test_a_model_whose_head_is_inside_its_encoder_is_refused_when_it_is_prepared(tmp_path):
    with pytest.raises(ValueError, match="PerceiverForSequenceClassification has no task head outside its encoder"):
        prepared(tmp_path / "perceiver", PERCEIVER)


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_a_head_that_gets_no_gradient_is_an_error_in_one_sentence(outputs, bert, monkeypatch):
    from transformers import BertForSequenceClassification
    from transformers.modeling_outputs import SequenceClassifierOutput

    def without_head(self, **inputs):
        return SequenceClassifierOutput(logits=self.bert(**inputs).pooler_output[:, : self.num_labels])

    monkeypatch.setattr(BertForSequenceClassification, "forward", without_head)
    expected = r"^model: with the method 'lora', 'classifier.weight' of the head of Bert\w+ gets no gradient, [^.]*$"
    with pytest.raises(ValueError, match=expected):
        probed(bert, LORA, [outputs])


@pytest.mark.parametrize(
    ("name", "is_left_out"),
    [
        ("bert.encoder.layer.0.attention.self.key.bias", True),
        ("encoder.layers.1.self_attn.k_proj.bias", True),
        ("transformer.layer.0.attention.k_lin.bias", True),
        ("mpnet.encoder.layer.0.attention.attn.k.bias", True),
        ("longformer.encoder.layer.1.attention.self.key_global.bias", True),
        ("bert.encoder.layer.0.attention.self.key.base_layer.bias", True),
        ("bert.encoder.layer.0.attention.self.key.weight", False),
        ("bert.encoder.layer.0.attention.self.query.bias", False),
        ("classifier.bias", False),
    ],
)
def test_only_biases_of_keys_are_left_out(name, is_left_out):
    assert bool(KEY_BIAS.search(name)) == is_left_out


def test_table_1_details_name_what_gets_no_gradient_and_only_they_need_the_probe(bert, tmp_path):
    settings = {name: settings_from_params(values) for name, values in (("fft", FULL), ("lora", LORA))}
    counts = count_parameters(bert, settings, 2)
    file = tmp_path / "counts.json"
    methods = {name: vars(parameters) for name, parameters in counts.methods.items()}
    write_json(file, seal({"outputs": 2, "full": counts.full, "methods": methods}))
    names = [f"encoder.layer.{number}.query.lora_A" for number in range(6)]
    records = []
    for method, without, instead in (("fft", {}, []), ("lora", dict.fromkeys(names, 256), ["query_global"])):
        records.append(tmp_path / "gradients" / f"{method}.json")
        records[-1].parent.mkdir(exist_ok=True)
        write_json(records[-1], seal({"outputs": [1, 2], "without": without, "read_instead": instead}))
    table = table1.draw_details({"counts": [file], "gradients": records}, DrawSettings(**DRAWN))
    shown = {cell.method: cell.text for cell in table.cells if cell.column == "trained without a gradient"}
    assert shown == {"fft": "0", "lora": "1,536"}
    (note,) = [note for note in table.notes if note.startswith("Without a gradient")]
    assert note == (
        "Without a gradient with LoRA (own): encoder.layer.0.query.lora_A, encoder.layer.1.query.lora_A, "
        "encoder.layer.2.query.lora_A, encoder.layer.3.query.lora_A and 2 more tensors; the model reads query_global "
        "instead: add them to the targets."
    )
    older = table1.draw_details({"counts": [file]}, DrawSettings(**DRAWN))  # results without the record
    assert not [note for note in older.notes if "gradient" in note]
    entries = [*catalogue.TABLES.items(), *catalogue.FIGURES.items()]
    assert [name for name, entry in entries if "gradients" in entry.records] == ["table1-details"]


def test_a_damaged_record_is_named(tmp_path):
    file = tmp_path / "gradients" / "lora.json"
    file.parent.mkdir()
    for content in ({}, {"outputs": 2, "without": {}, "read_instead": []}, {"outputs": [2], "without": [1]}):
        write_json(file, seal(content))
        with pytest.raises(ValueError, match=r"gradients/lora\.json is damaged"):
            read_gradients(file)


def test_a_method_is_tried_with_the_heads_of_the_studys_tasks():
    assert head_params(config.load(changed(tasks=["cola", "rte"]))) == [2]
    assert head_params(config.load(changed(tasks=["cola", "stsb"]))) == [1, 2]
