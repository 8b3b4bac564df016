"""Weights are opened by transformers and peft alone, from another working directory, with the recorded scores."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from builders import BERT, LABELS, LORA, prepared, tokenized, trained
from safetensors.numpy import load_file

from lora_core.data.datasets import sample
from lora_core.data.metrics import METRICS
from lora_core.data.source import DatasetSource
from lora_core.data.splits import read_splits
from lora_core.data.tasks import TASKS
from lora_core.evaluation.run_record import RunRecord
from lora_core.intact import check_weights
from lora_core.methods import registry
from lora_core.methods.merging import merge_adapter
from lora_core.methods.registry import settings_from_params
from lora_core.models import model as models
from lora_core.models.base_model import base_model
from lora_core.models.model import head_config
from lora_core.records import read_json, sha256, write_json
from lora_core.reporting.card_usage import usage
from lora_core.sealed import seal, unseal

HUB_ID, REVISION, MAIN = "an-owner/a-model", "1" * 40, "2" * 40
PEFT = {"kind": "peft", "config": {"peft_type": "LORA", "use_rslora": True, "r": 4, "target_modules": ["query"]}}
# The task, the method and where the base model comes from.
RUNS = {
    "two labels": ("cola", LORA, "local"),
    "three labels": ("mnli", LORA, "local"),
    "a number": ("stsb", LORA, "local"),
    "by peft": ("cola", PEFT, "local"),
    "of the hub": ("mnli", LORA, "hub"),
}
# Opens every folder in every way, and prints {case: [labels, outputs of every example]}.
OPEN = """
import json, sys
sys.modules["lora_core"] = None  # importing it fails
import torch
from peft import AutoPeftModelForSequenceClassification as AutoPeft, PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

def logits(model, folder, examples):
    tokenizer, rows = AutoTokenizer.from_pretrained(folder), []
    for texts in examples:
        with torch.inference_mode():
            rows.append(model.eval()(**tokenizer(*texts, truncation=True, return_tensors="pt")).logits[0].tolist())
    return list(model.config.id2label.values()), rows

def scores(classify, examples):
    rows = []
    for texts in examples:
        example = {"text": texts[0]} | ({"text_pair": texts[1]} if len(texts) > 1 else {})
        answers = classify(example, top_k=None, truncation=True)
        rows.append({answer["label"]: answer["score"] for answer in answers})
    labels = list(classify.model.config.id2label.values())
    return labels, [[row[label] for label in labels] for row in rows]

opened = {}
for name, run in json.load(open(sys.argv[1])).items():
    folder, head, examples = run["folder"], run["head"], run["examples"]
    documented = {}
    exec(run["call"], documented)
    opened[f"{name}, documented"] = scores(documented["classify"], examples)
    opened[f"{name}, AutoPeft"] = logits(AutoPeft.from_pretrained(folder, **head), folder, examples)
    base = AutoModelForSequenceClassification.from_pretrained(run["base"], **head)
    opened[f"{name}, PeftModel"] = logits(PeftModel.from_pretrained(base, folder), folder, examples)
    opened[f"{name}, merged"] = scores(pipeline("text-classification", model=run["merged"]), examples)
    if name == "two labels":
        opened[f"{name}, plain"] = scores(pipeline("text-classification", model=folder), examples)
print(json.dumps(opened))
"""
WAYS = ("documented", "AutoPeft", "PeftModel", "merged")
CASES = [(name, way) for name in RUNS for way in WAYS] + [("two labels", "plain")]


def in_cache(cache, model, revision):
    """Put a model into a cache of the hub as it would be after a download."""
    snapshots = cache / f"models--{HUB_ID.replace('/', '--')}" / "snapshots"
    return shutil.copytree(model, snapshots / revision)


@pytest.fixture(scope="module")
def hub_cache(tmp_path_factory):
    """A cache with two revisions of a model; the newer one, which is main, has other weights."""
    folder = tmp_path_factory.mktemp("hub")
    cache = folder / "hub"
    in_cache(cache, prepared(folder / "one", BERT), REVISION)
    newer = in_cache(cache, prepared(folder / "two", BERT | {"initializer_range": 0.5}), MAIN)
    (newer.parent.parent / "refs").mkdir()
    (newer.parent.parent / "refs" / "main").write_text(MAIN)
    return cache


@pytest.fixture(scope="module")
def bases(hub_cache, tmp_path_factory):
    """A prepared model from a folder, and one from the hub."""
    from huggingface_hub import constants

    from lora_core.models.pretrained import prepare_model

    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", str(hub_cache))
        prepare_model({"source": "hub", "id": HUB_ID, "revision": REVISION}, folder / HUB_ID.replace("/", "--"))
    return {"local": prepared(folder / "local", BERT), "hub": folder / HUB_ID.replace("/", "--")}


@pytest.fixture(scope="module")
def runs(bases, tmp_path_factory):
    """The finished runs, each with its merged model."""
    folder, made = tmp_path_factory.mktemp("runs"), {}
    for name, (task, settings, source) in RUNS.items():
        base, data = bases[source], folder / "data" / source / task
        if not data.exists():
            tokenized(base, data, task, 32, 24)
        run = trained(settings, base, data, folder / name, task=task, hyperparameters={"learning_rate": 1e-2})
        merge_adapter(base, run / "weights", run / "run.json", run / "merged")
        made[name] = run
    return made


def examples(task):
    """The texts of the validation examples."""
    source = DatasetSource("mini", seed=0, max_train_examples=32, max_validation_examples=24)
    columns = sample(read_splits(source, TASKS[task]).columns["validation"], 24)
    return list(zip(*(columns[name] for name in TASKS[task].columns), strict=True))


@pytest.fixture(scope="module")
def opened(runs, bases, hub_cache, tmp_path_factory):
    """What another process makes of the folders, in another working directory and without this project."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    given = {}
    for name, (task, _, source) in RUNS.items():
        folder, record = runs[name] / "weights", RunRecord.read(runs[name] / "run.json")
        text = "\n".join(usage(record, "peft", str(folder)))
        given[name] = {
            "folder": str(folder),
            "base": str(bases[source]),
            "merged": str(runs[name] / "merged"),
            "head": head_config(TASKS[task].labels),
            "examples": examples(task),
            "call": text.partition("```python\n")[2].partition("```")[0],
        }
    (elsewhere / "runs.json").write_text(json.dumps(given))
    environment = os.environ | {"HF_HUB_CACHE": str(hub_cache), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-I", "-c", OPEN, "runs.json"]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("name", "way"), CASES)
def test_a_folder_opens_elsewhere_and_gives_the_recorded_score_and_labels(name, way, opened, runs):
    task = TASKS[RUNS[name][0]]
    names, outputs = opened[f"{name}, {way}"]
    assert names == (["LABEL_0", "LABEL_1"] if way == "plain" else list(task.labels) or ["LABEL_0"])
    predictions = load_file(runs[name] / "predictions.safetensors")
    logits = predictions["logits"][-1]
    if way in ("documented", "merged", "plain") and task.labels:  # a pipeline gives probabilities
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        logits = exponentials / exponentials.sum(1, keepdims=True)
    np.testing.assert_allclose(outputs, logits, atol=1e-5)
    score = read_json(runs[name] / "run.json")["measurement"]["score"]["last"]
    assert METRICS[task.metrics[0]].function(predictions["labels"], np.array(outputs)) == pytest.approx(score, abs=1e-4)


def test_an_adapter_names_its_base_by_id_and_revision_or_by_an_absolute_path(runs, bases, monkeypatch):
    for name, expected in {
        "two labels": {"base_model_name_or_path": str(bases["local"])},
        "of the hub": {"base_model_name_or_path": HUB_ID, "revision": REVISION},
    }.items():
        folder = runs[name] / "weights"
        assert not (folder / "config.json").exists()
        config = read_json(folder / "adapter_config.json")
        assert {key: config[key] for key in ("base_model_name_or_path", "revision") if key in config} == expected
    monkeypatch.chdir(bases["local"].parent)
    assert base_model(bases["local"].relative_to(bases["local"].parent)).name == str(bases["local"])


def test_an_adapter_has_only_what_differs_from_pefts_defaults(runs):
    from peft import LoraConfig

    defaults = LoraConfig().to_dict() | {"peft_type": None}
    for name in ("two labels", "by peft"):
        config = read_json(runs[name] / "weights" / "adapter_config.json")
        assert list(config) == sorted(config)
        assert config["target_modules"] == sorted(config["target_modules"])
        assert "peft_version" not in config
        assert {key for key, value in config.items() if value == defaults[key]} == set()


@pytest.mark.parametrize("change", ["no pooler", "a head of its own"])
def test_a_model_that_differs_from_the_one_on_the_hub_is_named_by_its_folder(change, bert, tmp_path, monkeypatch):
    from huggingface_hub import constants
    from safetensors.numpy import save_file

    from lora_core.models.pretrained import prepare_model

    source = in_cache(tmp_path, bert, REVISION)
    tensors = load_file(source / "model.safetensors")
    if change == "no pooler":
        tensors = {name: tensor for name, tensor in tensors.items() if "pooler" not in name}
    else:
        tensors |= {"classifier.weight": np.zeros((2, 32), np.float32), "classifier.bias": np.zeros(2, np.float32)}
    save_file(tensors, source / "model.safetensors", {"format": "pt"})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    prepare_model({"source": "hub", "id": HUB_ID, "revision": REVISION}, tmp_path / "out")
    assert base_model(tmp_path / "out").name == str(tmp_path / "out")


@pytest.mark.parametrize("name", RUNS)
def test_a_merged_model_names_the_class_and_the_head_that_were_trained(name, runs, bases):
    from transformers import AutoConfig

    task, _, source = RUNS[name]
    config = read_json(runs[name] / "merged" / "config.json")
    assert config["architectures"] == ["BertForSequenceClassification"]
    expected = AutoConfig.from_pretrained(bases[source], **head_config(TASKS[task].labels)).to_dict()
    read = AutoConfig.from_pretrained(runs[name] / "merged").to_dict()
    assert read | {"architectures": None, "_name_or_path": ""} == expected | {
        "architectures": None, "_name_or_path": "",
    }  # fmt: skip


def test_full_weights_name_the_class_that_was_trained(full_run):
    assert read_json(full_run / "weights" / "config.json")["architectures"] == ["BertForSequenceClassification"]


@pytest.fixture(params=["two labels", "by peft"])
def older(request, runs, bases, tmp_path):
    """A run as earlier versions wrote it: config.json beside the adapter, a relative path, and every field of PEFT."""
    from peft import LoraConfig

    run = shutil.copytree(runs[request.param], tmp_path / "older")
    weights, base = run / "weights", bases["local"]
    fields = LoraConfig(**read_json(weights / "adapter_config.json")).to_dict()
    fields = {key: sorted(value) if isinstance(value, set) else value for key, value in fields.items()}
    path = f"results/models/{base.name}"
    write_json(weights / "adapter_config.json", fields | {"base_model_name_or_path": path, "peft_version": "0.21.2"})
    models.load(base, LABELS).config.save_pretrained(weights)
    record = unseal(read_json(run / "run.json"), run / "run.json")
    for key in ("architecture", "base_revision"):
        del record["run"][key]
    record["files"] |= {f"weights/{file.name}": sha256(file) for file in weights.iterdir()}
    write_json(run / "run.json", seal(record))
    return RUNS[request.param][1], run


def test_a_folder_of_the_older_form_is_checked_loaded_merged_and_started_from(older, runs, bases, tmp_path):
    settings, run = older
    base, now = bases["local"], runs["by peft" if settings is PEFT else "two labels"]
    assert "config.json" in check_weights(run / "weights", run / "run.json")
    loaded, expected = (
        registry.load(models.load(base, LABELS), settings_from_params(settings), folder / "weights").state_dict()
        for folder in (run, now)
    )
    trained_names = [name for name in loaded if "original_module" not in name]  # where PEFT keeps the head as drawn
    assert all(np.array_equal(loaded[name], expected[name]) for name in trained_names)
    for record in (run / "run.json", None):
        out = tmp_path / ("recorded" if record else "from elsewhere")
        merge_adapter(base, run / "weights", record, out)
        assert (out / "model.safetensors").read_bytes() == (now / "merged" / "model.safetensors").read_bytes()
        assert read_json(out / "config.json") == read_json(now / "merged" / "config.json")
    data = tokenized(base, tmp_path / "mnli", "mnli", 16, 8)
    starts = {"older": run, "now": now}
    continued = [trained(settings, base, data, tmp_path / name, starts[name], task="mnli") for name in starts]
    one, two = (load_file(each / "weights" / "adapter_model.safetensors") for each in continued)
    assert all(np.array_equal(one[name], two[name]) for name in two)


@pytest.mark.parametrize("name", ["three labels", "a number"])
def test_an_adapter_without_its_record_is_merged_with_the_outputs_that_it_has(name, runs, bases, tmp_path):
    merge_adapter(bases["local"], runs[name] / "weights", None, tmp_path / "out")
    config, recorded = (read_json(folder / "config.json") for folder in (tmp_path / "out", runs[name] / "merged"))
    assert len(config["id2label"]) == len(recorded["id2label"])
    assert config["problem_type"] == recorded["problem_type"]
