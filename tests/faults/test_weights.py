"""Damaged weights are named when they are used, whoever uses them, before anything is made from them."""

import shutil
from functools import partial
from pathlib import Path

import pytest
from builders import FULL, LORA, run_inputs, run_outputs, spec
from damages import LAST_QUERY, an_adapter, bit_flipped, content, fields, one_value, pipe, refused, truncated, zeroed

from lora_core.evaluation.latency import LatencyPlan, TimedMethod, TimingInputs, TimingOutputs, time_inference
from lora_core.methods import registry
from lora_core.methods.merging import merge_adapter
from lora_core.models import model as models
from lora_core.records import write_digests
from lora_core.training.run import train

PLAN = LatencyPlan(
    passes=1, seconds=0.0, margin=0.03, batch_size=16, single_examples=1, seed=1, device="cpu", threads=1,
    reference=None,
)  # fmt: skip
DAMAGES = {
    "zeroed": (zeroed, "model.safetensors is damaged"),
    "bit-flipped": (bit_flipped, "model.safetensors is damaged"),
    "truncated": (truncated, "model.safetensors is damaged"),
    "empty": (content(lambda old: b""), "model.safetensors is damaged"),
    "missing": (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
    "a layer less": (fields(num_hidden_layers=1), "config.json is damaged"),
    "another activation": (fields(hidden_act="relu"), "config.json is damaged"),
    "another tokenizer": (fields("tokenizer.json", truncation=None, version="2"), "tokenizer.json is damaged"),
    "a named pipe": (pipe(), "model.safetensors is not a regular file"),
    "an adapter beside it": (an_adapter, "adapter_config.json does not belong to this model"),
}


def recorded(folder: Path, copy: Path) -> tuple[Path, Path]:
    """A copy of a model's folder, and the record of its files."""
    record = copy.with_suffix(".json")
    write_digests(shutil.copytree(folder, copy).iterdir(), record)
    return copy, record


@pytest.fixture
def use(bert, cola, lora_run, full_run, tmp_path):
    """Functions that use a prepared model, or a merged one, as jobs do; none of them may leave a result."""

    def in_training(model, record):
        inputs = run_inputs(model, cola)
        inputs = type(inputs)(**vars(inputs) | {"model_record": record})
        train(spec(LORA, base_model=model.name), inputs, run_outputs(tmp_path / "out"))

    def in_merging(model, record):
        merge_adapter(model, lora_run / "weights", lora_run / "run.json", tmp_path / "out", record)

    def in_timing(model, record, merged=(None, None), run=full_run):
        settings = registry.settings_from_params(FULL if run is full_run else LORA)
        methods = [TimedMethod("a", settings, run / "weights", *merged, run_record=run / "run.json")]
        inputs = TimingInputs(model, cola / "card.json", cola / "validation.safetensors", record)
        time_inference(methods, inputs, PLAN, TimingOutputs(tmp_path / "out" / "a.csv", tmp_path / "out" / "a.json"))

    return {"train": in_training, "merge": in_merging, "time": in_timing}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("job", ["train", "merge", "time"])
def test_a_damaged_prepared_model_is_named_with_what_to_delete(damage, job, use, bert, tmp_path):
    model, record = recorded(bert, tmp_path / "bert")
    change, message = DAMAGES[damage]
    change(model)
    text = refused(message, lambda: use[job](model, record), tmp_path / "out")
    assert f"delete {model} and {record}, and run again" in text


def test_an_intact_model_is_used_and_a_page_for_people_does_not_count(use, bert, tmp_path):
    model, record = recorded(bert, tmp_path / "bert")
    (model / "README.md").write_text("notes")
    (model / ".DS_Store").write_text("")
    use["merge"](model, record)
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_a_damaged_record_of_a_model_is_named(use, bert, tmp_path):
    model, record = recorded(bert, tmp_path / "bert")
    for text in ("", "[]", "{}", '{"files": {"config.json": "0"}}'):
        record.write_text(text)
        merge = partial(use["merge"], model, record)
        refused(rf"{record.name} is damaged .*; delete it and run again", merge, tmp_path / "out")


@pytest.mark.parametrize("damage", ["zeroed", "bit-flipped", "truncated", "a named pipe", "an adapter beside it"])
def test_a_damaged_merged_model_is_named_and_not_taken_for_a_wrong_merge(damage, use, bert, lora_run, tmp_path):
    merge_adapter(bert, lora_run / "weights", lora_run / "run.json", tmp_path / "made")
    merged, record = recorded(tmp_path / "made", tmp_path / "merged")
    change, message = DAMAGES[damage]
    change(merged)
    time = partial(use["time"], bert, None, (merged, record), lora_run)
    text = refused(message, time, tmp_path / "out")
    assert f"{merged}/" in text
    assert f"delete {merged} and {record}, and run again" in text


def test_damaged_weights_of_a_run_are_named_before_they_are_timed_or_started_from(use, bert, cola, full_run, tmp_path):
    run = shutil.copytree(full_run, tmp_path / "run")
    zeroed(run / "weights")
    message = r"weights/model\.safetensors is damaged .*; delete the folder .*run and run again"
    refused(message, lambda: use["time"](bert, None, run=run), tmp_path / "out")
    start = partial(train, spec(FULL), run_inputs(bert, cola, start=run), run_outputs(tmp_path / "out"))
    refused(message, start, tmp_path / "out")
    (run / "weights" / "model.safetensors").unlink()
    refused(r"weights/model\.safetensors is missing", start, tmp_path / "out")


def test_weights_that_are_not_finite_are_not_started_from_and_no_learning_rate_is_blamed(bert, full_run, tmp_path):
    weights = shutil.copytree(full_run / "weights", tmp_path / "weights")
    one_value(float("nan"))(weights)
    load = partial(registry.load, models.load(bert, ["a", "b"]), registry.settings_from_params(FULL), weights)
    text = refused(rf"model\.safetensors: '{LAST_QUERY}' holds a value that is not finite", load, tmp_path / "out")
    assert "learning rate" not in text


TARGETS = "counts.json", "data/cola/card.json", "runs/lora/cola/seed1/run.json", "merged/lora/cola/seed1"


@pytest.mark.faults
@pytest.mark.parametrize("target", [*TARGETS, "latency/cola/seed1.json"])
def test_every_job_names_a_damaged_model_and_once_it_is_deleted_the_study_finishes(project, finished, finish, target):
    project.take(finished)
    (model,) = (folder for folder in (project.results / "models").iterdir() if folder.is_dir())
    bit_flipped(model)
    target = f"results/{target}"
    status, output = project.run(target, "--forcerun", target)
    assert status != 0
    folder = f"results/models/{model.name}"
    assert f"{folder}/model.safetensors is damaged (not what {model.name}.json says); delete {folder} and" in output
    shutil.rmtree(model)
    model.with_suffix(".json").unlink()
    finish(target)
