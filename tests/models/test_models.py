"""Where weights come from, and that nothing but what was asked for is taken."""

import hashlib
import json
import shutil
import time

import pytest
import torch
import yaml
from builders import BERT, HANG_SECONDS, LORA, ROBERTA, ROOT, SHAPE, prepared, trained
from safetensors.torch import load_file, save_file

from lora_core.data import hub
from lora_core.methods.merging import merge_adapter
from lora_core.models import model as models
from lora_core.models import pretrained
from lora_core.records import read_json

MODERNBERT = SHAPE | {"model_type": "modernbert"} | dict.fromkeys(("pad_token_id", "bos_token_id", "cls_token_id"), 0)
XLNET = {"model_type": "xlnet", "d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64, "vocab_size": 300}


@pytest.mark.parametrize("config", [BERT, ROBERTA], ids=["bert", "roberta"])
def test_a_prepared_model_loads_with_transformers_and_holds_no_head(config, tmp_path):
    from safetensors import safe_open
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = prepared(tmp_path / "m", config)
    with safe_open(folder / "model.safetensors", "numpy") as file:
        assert all(name.startswith(f"{config['model_type']}.") for name in file.keys())  # noqa: SIM118
    assert AutoModelForSequenceClassification.from_pretrained(folder).config.model_type == config["model_type"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.decode(tokenizer("naïve 😀")["input_ids"], skip_special_tokens=True) == "naïve 😀"
    offset = 2 if config is ROBERTA else 0  # positions start behind the padding index
    assert read_json(folder / "tokenizer_config.json")["model_max_length"] == 130 - offset


def test_a_model_without_position_embeddings_trains_within_its_configurations_length(cola, tmp_path):
    config = SHAPE | {"model_type": "modernbert", "max_position_embeddings": 140, "pad_token_id": 0}
    folder = prepared(tmp_path / "m", config)
    assert read_json(folder / "tokenizer_config.json")["model_max_length"] == 140
    run = trained(LORA | {"targets": ["Wqkv"]}, folder, cola, tmp_path / "run")
    assert read_json(run / "run.json")["measurement"]["input_tokens"]["longest"] == 140


def test_random_weights_come_from_their_seed(tmp_path):
    one, two = (prepared(tmp_path / name, BERT) for name in "ab")
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    pretrained.prepare_model({"source": "random", "config": BERT, "seed": 8}, tmp_path / "c")
    assert (tmp_path / "c" / "model.safetensors").read_bytes() != (one / "model.safetensors").read_bytes()


def test_a_local_folder_is_prepared_with_the_same_weights(bert, tmp_path):
    pretrained.prepare_model({"source": "local", "path": str(bert)}, tmp_path / "copy")
    assert (tmp_path / "copy" / "model.safetensors").read_bytes() == (bert / "model.safetensors").read_bytes()


def test_the_wheel_of_the_embedded_study_is_what_its_sha256_says():
    source = yaml.safe_load((ROOT / "config.yaml").read_text())["model"]
    folder = pretrained.check_wheel(source["package"], source["path"], source["sha256"])
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == source["sha256"]
    with pytest.raises(ValueError, match=r"model.sha256: the weights in .* have sha256 53aa.*, expected 0000"):
        pretrained.check_wheel(source["package"], source["path"], "0" * 64)


def test_missing_sources_are_named(bert, tmp_path):
    with pytest.raises(ValueError, match="is not installed"):
        pretrained.wheel_folder("no-such-package", "x")
    with pytest.raises(ValueError, match="has no folder"):
        pretrained.wheel_folder("pytest", "no/such/folder")
    with pytest.raises(ValueError, match="there is no folder"):
        pretrained.check_local(str(tmp_path / "none"))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_text("a pickle")
    with pytest.raises(ValueError, match=r"has no model.safetensors; only safetensors weights are read"):
        pretrained.check_local(str(tmp_path))


def test_a_hub_that_cannot_be_reached_is_said_soon_and_with_the_way_out(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(ValueError, match=r"model 'a/b' at revision .*source: local"):
        hub.check_hub("model", "a/b", "0" * 40)
    with pytest.raises(ValueError, match=r"dataset 'a/b' at revision .*data: \{source: local"):
        hub.check_hub("data", "a/b", "0" * 40)
    assert time.monotonic() - begun < HANG_SECONDS / 10


def test_a_vocabulary_too_small_for_bytes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="vocab_size 100 is below the 261"):
        prepared(tmp_path / "m", BERT | {"vocab_size": 100})


def saved(model, tokenizer_of, folder, **options):
    """A folder of a model as transformers saves it, with the tokenizer of a prepared model."""
    model.save_pretrained(folder, **options)
    for file in tokenizer_of.glob("tokenizer*"):
        shutil.copyfile(file, folder / file.name)
    return folder


def classifier(folder, labels):
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=labels)


def prepared_from(source, out):
    pretrained.prepare_model({"source": "local", "path": str(source)}, out)
    return out


def test_weights_in_several_files_are_read_and_a_missing_file_is_named(bert, tmp_path):
    source = saved(classifier(bert, 2), bert, tmp_path / "sharded", max_shard_size="50KB")
    assert not (source / "model.safetensors").exists()
    out = prepared_from(source, tmp_path / "out")
    assert (out / "model.safetensors").read_bytes() == (bert / "model.safetensors").read_bytes()
    index = source / "model.safetensors.index.json"
    shard = read_json(index)["weight_map"]["bert.embeddings.word_embeddings.weight"]
    (source / shard).unlink()
    with pytest.raises(ValueError, match=f"has no {shard}"):
        pretrained.check_local(str(source))
    index.write_text(json.dumps({"weight_map": {"x": "../model.safetensors"}}))
    with pytest.raises(ValueError, match=r"names '\.\./model\.safetensors', which is not in this folder"):
        pretrained.check_local(str(source))


@pytest.mark.parametrize("labels", [1, 2, 3])
def test_the_head_of_another_task_is_dropped_and_the_encoder_kept(labels, bert, tmp_path, capsys):
    source = saved(classifier(bert, labels), bert, tmp_path / "source")
    out = prepared_from(source, tmp_path / "out")
    assert (out / "model.safetensors").read_bytes() == (bert / "model.safetensors").read_bytes()
    assert models.model_shapes(out, 2).config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert "belongs to another task; a new one takes its place" in capsys.readouterr().err


def test_a_part_of_the_head_that_pre_training_brings_is_kept_trained_and_merged(cola, tmp_path, capsys):
    from transformers import AutoConfig, AutoModelForMaskedLM

    tokenizer_of = prepared(tmp_path / "random", MODERNBERT)
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model(**MODERNBERT))
    torch.nn.init.normal_(model.head.norm.weight)
    out = prepared_from(saved(model, tokenizer_of, tmp_path / "source"), tmp_path / "out")
    assert "another task" not in capsys.readouterr().err
    loaded = [models.load(out, labels, torch.Generator().manual_seed(1)) for labels in (["a", "b"], ["a", "b", "c"])]
    for head in (each.head for each in loaded):
        assert torch.equal(head.norm.weight, model.head.norm.weight)
        assert torch.equal(head.dense.weight, model.head.dense.weight)
    run = trained(LORA | {"targets": ["Wqkv"]}, out, cola, tmp_path / "run")
    merge_adapter(out, run / "weights", run / "run.json", tmp_path / "merged")
    merged = models.load(tmp_path / "merged", ["a", "b"])
    assert not torch.equal(merged.head.dense.weight, model.head.dense.weight)


def test_an_output_layer_of_a_tagger_is_not_taken_for_pre_training(bert, tmp_path):
    """Its shape fits two labels by chance; the layer before it is missing."""
    from transformers import AutoConfig, AutoModelForTokenClassification, DistilBertConfig

    config = DistilBertConfig(vocab_size=read_json(bert / "config.json")["vocab_size"], dim=32, hidden_dim=32,
                              n_layers=1, n_heads=2, max_position_embeddings=130, num_labels=2)  # fmt: skip
    source = saved(AutoModelForTokenClassification.from_config(config), bert, tmp_path / "source")
    out = prepared_from(source, tmp_path / "out")
    assert not [name for name in load_file(out / "model.safetensors") if "classifier" in name]
    assert models.load(out, ["a", "b", "c"], torch.Generator().manual_seed(1)).config.num_labels == 3
    assert AutoConfig.from_pretrained(out).model_type == "distilbert"


def test_the_head_of_bert_is_normal_with_the_configured_deviation_and_its_bias_zero(bert):
    model = models.load(bert, ["a", "b"], torch.Generator().manual_seed(3))
    expected = torch.empty(2, 32).normal_(0.0, 0.02, generator=torch.Generator().manual_seed(3))
    assert torch.equal(model.classifier.weight, expected)
    assert not model.classifier.bias.any()


def test_a_head_starts_as_its_class_of_models_says_and_the_same_at_one_seed(tmp_path):
    folder = prepared(tmp_path / "m", MODERNBERT)
    model, again = (models.load(folder, ["a", "b"], torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(model.head.norm.weight, torch.ones(32))
    assert 0.1 < model.classifier.weight.std() < 0.25  # hidden_size ** -0.5 is 0.177
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    "config",
    [
        SHAPE | {"model_type": "layoutlm"},
        SHAPE | {"model_type": "longformer", "attention_window": [8, 8], "pad_token_id": 1},
        {"model_type": "xlm", "emb_dim": 32, "n_layers": 2, "n_heads": 2, "vocab_size": 300},
        XLNET,
    ],
    ids=lambda config: config["model_type"],
)
def test_without_dropout_two_passes_in_training_are_equal(config, tmp_path):
    folder, ids = prepared(tmp_path / "m", config), torch.arange(8, 40).reshape(2, 16)

    def differ(dropout):
        model = models.load(folder, ["a", "b"], torch.Generator(), dropout).train()
        return not torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)

    assert not differ(0.0)
    assert differ(0.5)


def test_a_model_without_a_limit_of_its_length_is_trained(cola, tmp_path):
    folder = prepared(tmp_path / "m", XLNET)
    assert models.max_input_length(models.load(folder, ["a", "b"])) is None
    run = trained({"kind": "full"}, folder, cola, tmp_path / "run", hyperparameters={"epochs": 1})
    tokens = read_json(run / "run.json")["measurement"]["input_tokens"]
    assert tokens == {"longest": None, "truncated_train": 0, "truncated_validation": 0}


@pytest.mark.parametrize("encoder", ["nystromformer", "yoso"])
def test_the_longest_input_is_not_above_the_configured_one(encoder, tmp_path):
    model = models.load(prepared(tmp_path / "m", SHAPE | {"model_type": encoder}), ["a", "b"])
    assert models.max_input_length(model) == SHAPE["max_position_embeddings"]  # their tables have two rows more


def without_a_weight(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["bert.encoder.layer.1.attention.self.query.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def changed_config(**changes):
    def change(folder):
        file = folder / "config.json"
        file.write_text(json.dumps(read_json(file) | changes))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_a_weight, r"'bert\.encoder\.layer\.1\.attention\.self\.query\.weight' .* is missing or has another"),
        (changed_config(intermediate_size=48), r"do not fit their config\.json: 'bert\.encoder.* has another shape"),
        (changed_config(pad_token_id=None), "BertForSequenceClassification names no padding token"),
    ],
)
def test_a_model_that_lacks_a_part_is_refused_and_leaves_no_folder(change, message, bert, tmp_path):
    source = shutil.copytree(bert, tmp_path / "source")
    change(source)
    with pytest.raises(ValueError, match=message):
        prepared_from(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
