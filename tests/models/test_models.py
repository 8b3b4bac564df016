"""Where weights come from, and that nothing but what was asked for is taken."""

import hashlib
import time

import pytest
import yaml
from builders import BERT, HANG_SECONDS, LORA, ROBERTA, ROOT, SHAPE, prepared, trained

from lora_core.data import hub
from lora_core.models import pretrained
from lora_core.records import read_json


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
