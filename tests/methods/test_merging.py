"""Merging: plain weights that give the adapter's logits."""

import shutil

import numpy as np
import pytest
import torch
from builders import LORA, ROBERTA, prepared, tokenized, trained, validation_score
from safetensors.numpy import load_file, save_file

from lora_core.methods.merging import merge_adapter
from lora_core.records import read_json


@pytest.fixture(scope="module")
def merged(bert, lora_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("merged") / "lora"
    merge_adapter(bert, lora_run / "weights", lora_run / "run.json", out)
    return out


def test_merged_equals_unmerged_and_differs_from_the_base(merged, bert, cola, lora_run):
    from transformers import AutoModelForSequenceClassification

    value, logits = validation_score(AutoModelForSequenceClassification.from_pretrained(merged), cola)
    np.testing.assert_allclose(logits, load_file(lora_run / "predictions.safetensors")["logits"][-1], atol=1e-6)
    assert value == read_json(lora_run / "run.json")["measurement"]["score"]["last"]
    weights, base = load_file(merged / "model.safetensors"), load_file(bert / "model.safetensors")
    changed = {name for name in base if not np.array_equal(base[name], weights[name])}
    assert changed == {
        f"bert.encoder.layer.{layer}.attention.self.{target}.weight"
        for layer in (0, 1)
        for target in ("query", "value")
    }
    assert set(read_json(merged / "merge.json")["changed"]) == changed


def test_a_merged_model_works_in_a_pipeline(merged):
    from transformers import pipeline

    answer = pipeline("text-classification", model=str(merged))("The dogs bark.")
    assert answer[0]["label"] in ("unacceptable", "acceptable")


def test_merging_a_roberta_gives_the_same_logits(tmp_path):
    from transformers import AutoModelForSequenceClassification

    model = prepared(tmp_path / "model", ROBERTA)
    data = tokenized(model, tmp_path / "cola", "cola")
    run = trained(LORA, model, data, tmp_path / "run")
    merge_adapter(model, run / "weights", run / "run.json", tmp_path / "merged")
    logits = load_file(run / "predictions.safetensors")["logits"][-1]
    other = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    other.config.pad_token_id = 1
    from lora_core.data import batches as store
    from lora_core.training.steps import compute_logits

    examples = store.load(data / "validation.safetensors")
    for batch in store.batches(examples, store.evaluation_order(examples.lengths, 16), 1):
        with torch.inference_mode():
            ours = compute_logits(other.eval(), batch, torch.device("cpu")).numpy()
        np.testing.assert_allclose(ours, logits[batch.rows], atol=1e-6)


def test_an_adapter_of_another_model_is_refused_and_nothing_is_written(bert, lora_run, tmp_path):
    for file in (lora_run / "weights").iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    name = next(name for name in tensors if "lora_A" in name)
    tensors[name] = np.zeros((4, 7), np.float32)
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="does not fit the base model"):
        merge_adapter(bert, tmp_path, None, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_adapter_that_is_not_what_the_run_wrote_is_refused(bert, lora_run, tmp_path):
    run = shutil.copytree(lora_run, tmp_path / "run")
    tensors = load_file(run / "weights" / "adapter_model.safetensors")
    tensors = {name: tensor * 2 for name, tensor in tensors.items()}
    save_file(tensors, run / "weights" / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=r"adapter_model\.safetensors is damaged \(not what run\.json says\)"):
        merge_adapter(bert, run / "weights", run / "run.json", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    merge_adapter(bert, run / "weights", None, tmp_path / "merged")  # as an adapter from elsewhere it is a good one


def test_a_card_of_the_adapter_is_not_copied_into_the_merged_folder(bert, lora_run, tmp_path):
    weights = shutil.copytree(lora_run / "weights", tmp_path / "adapter")
    (weights / "README.md").write_text("a card of the adapter")
    merge_adapter(bert, weights, None, tmp_path / "merged")
    names = {file.name for file in (tmp_path / "merged").iterdir()}
    assert {"config.json", "model.safetensors", "merge.json", "tokenizer.json"} <= names
    assert not names & {"README.md", "adapter_config.json", "adapter_model.safetensors"}
