"""One training run: reproducible, its weights usable elsewhere, and no result after a failure."""

import csv
import json
import os
import shutil
import stat
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from builders import (
    FULL,
    LABELS,
    LORA,
    LORALIB,
    ROOT,
    TARGETS,
    run_inputs,
    run_outputs,
    spec,
    tokenized,
    trained,
    unmeasured_rows,
    validation_score,
)
from safetensors.numpy import load_file

from lora_core.data.batches import Batch
from lora_core.data.metrics import METRICS
from lora_core.measuring.exclusive import ExclusiveDevice
from lora_core.measuring.meters import NoMeter
from lora_core.methods.merging import merge_adapter
from lora_core.models import model as models
from lora_core.records import MEASURED, read_json
from lora_core.training.progress import Progress, RunProgress, read_progress
from lora_core.training.run import apply_speedups, build_model, train
from lora_core.training.spec import RunSpec
from lora_core.training.steps import compute_logits, compute_loss, create_optimizer, parameter_groups

CPU = torch.device("cpu")
PEFT_LORA = {"kind": "peft", "config": {"peft_type": "LORA", "r": 4, "target_modules": ["query", "value"]}}


def unmeasured(record):
    """A record without what is measured."""
    if isinstance(record, dict):
        return {k: unmeasured(v) for k, v in record.items() if k not in MEASURED | {"provenance", "files"}}
    return record


@pytest.mark.parametrize("settings", [LORA, FULL], ids=["lora", "full"])
def test_a_run_is_the_same_twice_bit_for_bit(settings, bert, cola, tmp_path):
    one, two = (trained(settings, bert, cola, tmp_path / name) for name in "ab")
    assert (one / "predictions.safetensors").read_bytes() == (two / "predictions.safetensors").read_bytes()
    for file in (one / "weights").iterdir():
        assert file.read_bytes() == (two / "weights" / file.name).read_bytes()
    rows = [unmeasured_rows(out / "history.csv") for out in (one, two)]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 2
    assert unmeasured(read_json(one / "run.json")) == unmeasured(read_json(two / "run.json"))


def test_another_seed_gives_another_run(bert, cola, lora_run, tmp_path):
    other = trained(LORA, bert, cola, tmp_path / "b", seed=2)
    losses = [load_file(out / "predictions.safetensors")["step_losses"] for out in (lora_run, other)]
    assert not np.array_equal(*losses)


def test_lora_and_loralib_train_alike_with_dropout(bert, cola, lora_run, tmp_path):
    theirs = load_file(trained(LORALIB, bert, cola, tmp_path / "ref") / "predictions.safetensors")
    ours = load_file(lora_run / "predictions.safetensors")
    np.testing.assert_allclose(ours["step_losses"], theirs["step_losses"], rtol=1e-5)


def test_predictions_hold_every_epoch_and_give_the_history_its_scores(lora_run, cola):
    stored = load_file(lora_run / "predictions.safetensors")
    history = list(csv.DictReader((lora_run / "history.csv").open()))
    assert stored["logits"].shape == (2, 40, 2)
    assert len(stored["step_losses"]) == 2 * 8
    for logits, row in zip(stored["logits"], history, strict=True):
        assert METRICS["matthews"].function(stored["labels"], logits) == float(row["score"])


def test_the_saved_adapter_loads_with_peft_and_gives_the_same_score(bert, cola, lora_run):
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    base = AutoModelForSequenceClassification.from_pretrained(bert, num_labels=2)
    value, logits = validation_score(PeftModel.from_pretrained(base, lora_run / "weights"), cola)
    stored = load_file(lora_run / "predictions.safetensors")["logits"][-1]
    np.testing.assert_allclose(logits, stored, atol=1e-6)
    assert value == read_json(lora_run / "run.json")["measurement"]["score"]["last"]


def test_the_umask_decides_who_reads_a_run(lora_run, full_run, tmp_path):
    (tmp_path / "any").touch()
    expected = stat.S_IMODE((tmp_path / "any").stat().st_mode)
    files = [file for run in (lora_run, full_run) for file in run.rglob("*") if file.is_file()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {expected}
    assert any(file.suffix == ".safetensors" for file in files)


def test_fully_tuned_weights_load_with_transformers_alone(cola, full_run):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(full_run / "weights")
    np.testing.assert_allclose(
        validation_score(model, cola)[1], load_file(full_run / "predictions.safetensors")["logits"][-1], atol=1e-6
    )
    assert model.config.id2label == {0: "unacceptable", 1: "acceptable"}
    assert model.config.problem_type == "single_label_classification"
    assert AutoTokenizer.from_pretrained(full_run / "weights")("hello").input_ids


def test_a_diverging_run_fails_at_a_named_step_and_leaves_no_result(bert, cola, tmp_path):
    with pytest.raises(ValueError, match=r"the loss is (nan|inf) at step \d+ of 16 .*lower the learning rate"):
        trained(FULL, bert, cola, tmp_path / "run", hyperparameters={"learning_rate": 1e30})
    left = {file.name for file in tmp_path.rglob("*.*")}
    assert left <= {".lock", "progress.json"}  # the latter if a second had passed


@pytest.mark.parametrize(("changes", "is_kept"), [({}, True), ({"seed": 7}, False)])
def test_a_run_that_another_job_made_while_this_one_waited_is_kept(
    lora_run, bert, cola, tmp_path, monkeypatch, changes, is_kept
):
    @contextmanager
    def waited(spec, outputs):
        shutil.copytree(lora_run, tmp_path / "run")
        yield ExclusiveDevice(torch.device("cpu"), NoMeter("a test"))

    monkeypatch.setattr("lora_core.training.run._exclusive_access", waited)
    out = trained(LORA, bert, cola, tmp_path / "run", **changes)
    kept = [(file.relative_to(out), file.read_bytes()) for file in sorted(out.rglob("*")) if file.is_file()]
    made = [(file.relative_to(lora_run), file.read_bytes()) for file in sorted(lora_run.rglob("*")) if file.is_file()]
    assert (kept == made) is is_kept


def test_a_run_in_a_folder_with_one_is_made_again(lora_run, bert, cola, tmp_path):
    shutil.copytree(lora_run, tmp_path / "run")
    out = trained(LORA, bert, cola, tmp_path / "run")
    assert (out / "run.json").read_bytes() != (lora_run / "run.json").read_bytes()


def test_regression_trains_one_output(bert, tmp_path):
    folder = tokenized(bert, tmp_path / "stsb", "stsb")
    out = trained(LORA, bert, folder, tmp_path / "run", task="stsb")
    record = read_json(out / "run.json")["measurement"]["score"]
    assert record["metric"] == "pearson"
    assert set(record["best_metrics"]) == {"pearson", "spearman"}
    assert load_file(out / "predictions.safetensors")["logits"].shape[-1] == 1
    merge_adapter(bert, out / "weights", out / "run.json", tmp_path / "merged")
    assert read_json(tmp_path / "merged" / "config.json")["problem_type"] == "regression"


def test_biases_and_norms_are_not_decayed(bert):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(bert)
    adamw, _ = create_optimizer(model, spec(FULL).hyperparameters, 10)
    names = {id(p): name for name, p in model.named_parameters()}
    plain = {names[id(p)] for p in adamw.param_groups[1]["params"]}
    assert adamw.param_groups[1]["weight_decay"] == 0
    assert all(name.endswith("bias") or "LayerNorm" in name for name in plain)
    assert {n for n in names.values() if n.endswith("bias") or "LayerNorm" in n} == plain


def test_no_vector_is_decayed_whatever_its_layer_is_called():
    class Norm(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.q_bias = torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.zeros(4))
            self.weight = torch.nn.Parameter(torch.ones(4, 4))

    norm = Norm()
    groups = parameter_groups(norm, spec(FULL).hyperparameters)
    decay = {id(p): group.weight_decay for group in groups for p in group.params}
    assert [decay[id(p)] > 0 for p in (norm.scale, norm.q_bias, norm.weight)] == [False, False, True]


REFERENCES = {
    "linear": transformers.get_linear_schedule_with_warmup,
    "cosine": transformers.get_cosine_schedule_with_warmup,
    "constant": lambda optimizer, warmup, steps: transformers.get_constant_schedule_with_warmup(optimizer, warmup),
}


@pytest.mark.parametrize(("ratio", "steps"), [(0.06, 100), (0.1, 16), (0.0, 7)])
@pytest.mark.parametrize("name", REFERENCES)
def test_the_schedule_is_that_of_transformers(name, ratio, steps):
    weight = torch.nn.Linear(2, 2)
    hyperparameters = spec(FULL, hyperparameters={"warmup_ratio": ratio, "schedule": name}).hyperparameters
    optimizer, schedule = create_optimizer(weight, hyperparameters, steps)
    theirs = torch.optim.SGD(weight.parameters(), lr=1e-3)
    warmup = -(-ratio * steps // 1)  # rounded up, as TrainingArguments does
    reference = REFERENCES[name](theirs, int(warmup), steps)
    for _ in range(steps):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        theirs.step()
        schedule.step()
        reference.step()


def test_sgd_updates_by_momentum_as_written_out_here():
    model = torch.nn.Module()
    model.weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0]]))
    changes = {"optimizer": "sgd", "schedule": "constant", "warmup_ratio": 0.0, "weight_decay": 0.1}
    optimizer, _ = create_optimizer(model, spec(FULL, hyperparameters=changes).hyperparameters, 3)
    expected, velocity = model.weight.detach().clone(), torch.zeros(1, 2)
    for gradient in (torch.tensor([[1.0, 0.5]]), torch.tensor([[-2.0, 0.25]]), torch.tensor([[0.0, 4.0]])):
        model.weight.grad = gradient
        optimizer.step()
        velocity = 0.9 * velocity + gradient + 0.1 * expected
        expected = expected - 1e-3 * velocity
        torch.testing.assert_close(model.weight.detach(), expected)


@pytest.mark.parametrize("changes", [{"optimizer": "sgd"}, {"schedule": "cosine"}, {"schedule": "constant"}])
def test_optimizer_and_schedule_change_what_is_learned(changes, bert, cola, lora_run, tmp_path):
    out = trained(LORA, bert, cola, tmp_path / "run", hyperparameters=changes)
    losses = [load_file(folder / "predictions.safetensors")["step_losses"] for folder in (out, lora_run)]
    assert losses[0][0] == losses[1][0]  # the first step starts from the same model
    assert not np.array_equal(*losses)


def test_what_was_not_measured_is_null(lora_run):
    measured = read_json(lora_run / "run.json")["measurement"]
    energy = measured["energy"]
    assert (energy["meter"], energy["reason"]) == ("none", "measure.meter is none")
    for name in ("source", "train_joules", "train_net_joules", "eval_joules", "idle_watts", "power_mean_watts"):
        assert energy[name] is None, name
    assert measured["conditions"]["temperature_max_celsius"] is None
    memory = measured["memory"]
    assert memory["mean_mb"] > memory["baseline_mb"] > 0
    assert memory["peak_allocated_mb"] is None
    assert memory["saved_for_backward_mb"] > 0


def test_processor_seconds_stand_next_to_the_wall_clock_seconds_of_each_epoch(lora_run):
    with (lora_run / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        wall, all_threads, alone = (float(row[f"train_{name}seconds"]) for name in ("", "processor_", "thread_"))
        assert 0 < alone < wall + 0.01
        assert alone < all_threads + 0.01
    assert {"train_processor_seconds", "train_thread_seconds"} <= MEASURED


def test_counting_what_is_kept_for_backward_changes_no_weight(bert, cola, lora_run, tmp_path, monkeypatch):
    @contextmanager
    def uncounted(model):
        yield SimpleNamespace(mb=0.0)

    monkeypatch.setattr("lora_core.measuring.memory.saved_for_backward", uncounted)
    monkeypatch.setattr("lora_core.training.outputs.predicted_memory_mb", lambda *_: None)
    plain = trained(LORA, bert, cola, tmp_path / "plain")
    name = "weights/adapter_model.safetensors"
    assert (plain / name).read_bytes() == (lora_run / name).read_bytes()


def test_records_name_no_folder_of_the_machine(lora_run, tmp_path_factory):
    folder = str(tmp_path_factory.getbasetemp())
    for file in lora_run.rglob("*.json"):
        if file.name != "adapter_config.json":  # it names the base model, which is opened from there
            assert folder not in file.read_text(), file
    assert json.loads((lora_run / "run.json").read_text())["provenance"]["threads"] == 1


def test_bf16_trains_with_float32_weights(bert, cola, lora_run, tmp_path):
    out = trained(LORA, bert, cola, tmp_path / "bf16", precision="bf16")
    weights = load_file(out / "weights" / "adapter_model.safetensors")
    assert {str(w.dtype) for w in weights.values()} == {"float32"}
    ours, theirs = (load_file(o / "predictions.safetensors")["step_losses"] for o in (out, lora_run))
    assert not np.array_equal(ours, theirs)
    # This model's logits stay below 0.015. An error of 2^-7 of each (bf16 has 8 bits) moves a loss of log 2 by 0.02 %.
    np.testing.assert_allclose(ours, theirs, rtol=2e-4)


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("settings", [FULL, LORA, PEFT_LORA], ids=["full", "lora", "peft"])
def test_the_head_computes_in_float32_under_bf16(family, settings, request):
    """Between 2 and 4, bfloat16 has 128 values: similar examples would share a few of them."""
    run = spec(settings, task="stsb", precision="bf16", hyperparameters={"head_bias": "label_mean"})
    model = build_model(run, request.getfixturevalue(family), [], np.array([2.5])).eval()
    apply_speedups(model, run, CPU)
    ids = np.random.default_rng(0).integers(5, 300, (100, 12))
    batch = Batch(ids, np.ones_like(ids), None, np.zeros(100, np.float32), np.arange(100), ids.size)
    logits = compute_logits(model, batch, CPU, "bf16")
    assert logits.dtype == torch.float32
    assert len(logits.bfloat16().unique()) < 20
    compute_loss(logits, torch.zeros(100)).backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in trained)
    assert len(logits.unique()) == len(compute_logits(model.float(), batch, CPU).unique()) > 95


def test_a_bf16_pass_leaves_nothing_behind_on_the_model(bert):
    run = spec(FULL, precision="bf16")
    model = build_model(run, bert, LABELS, TARGETS).eval()
    ids = np.random.default_rng(0).integers(5, 300, (4, 12))
    batch = Batch(ids, np.ones_like(ids), None, np.zeros(4, np.int64), np.arange(4), ids.size)
    before = compute_logits(model, batch, CPU)
    compute_logits(model, batch, CPU, "bf16")
    assert torch.equal(compute_logits(model, batch, CPU), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_frozen_matrices_and_biases_of_linear_layers_alone_are_cast_once(bert):
    run = spec(LORA, precision="bf16")
    model = build_model(run, bert, LABELS, TARGETS)
    apply_speedups(model, run, CPU)
    cast = {name for name, p in model.named_parameters() if p.dtype == torch.bfloat16}
    linear = {name for name, module in model.named_modules() if hasattr(module, "in_features")}
    expected = {f"{name}.{part}" for name in linear for part in ("weight", "bias") if not name.startswith("classifier")}
    assert cast == expected
    assert sum(name.endswith("bias") for name in cast) == 2 * 6 + 1  # of two layers and the pooler


def test_trained_biases_of_frozen_matrices_stay_in_float32(bert):
    run = spec({"kind": "bitfit"}, precision="bf16")
    model = build_model(run, bert, LABELS, TARGETS)
    apply_speedups(model, run, CPU)
    assert {p.dtype for name, p in model.named_parameters() if name.endswith("bias")} == {torch.float32}
    assert model.get_submodule("bert.encoder.layer.0.output.dense").weight.dtype == torch.bfloat16


@pytest.mark.parametrize("settings", [LORA, LORALIB], ids=["lora", "loralib"])
def test_casting_frozen_matrices_once_changes_no_loss(settings, bert, cola, tmp_path, monkeypatch):
    cast = trained(settings, bert, cola, tmp_path / "a", precision="bf16")
    monkeypatch.setattr(models, "cast_frozen", lambda model, dtype: None)
    at_every_use = trained(settings, bert, cola, tmp_path / "b", precision="bf16")
    assert (cast / "predictions.safetensors").read_bytes() == (at_every_use / "predictions.safetensors").read_bytes()
    weights = [read_json(out / "run.json")["measurement"]["memory"]["weights_mb"] for out in (cast, at_every_use)]
    assert weights[0] < weights[1]


# Runs a training job and prints what it imported: the libraries that this project's modules name, and all.
IMPORTS = """
import builtins, sys
from pathlib import Path, PosixPath, WindowsPath
named, import_as_before = set(), builtins.__import__

def note(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and globals and str(globals.get("__name__")).startswith("lora_core"):
        named.add(name.partition(".")[0])
    return import_as_before(name, globals, locals, fromlist, level)

builtins.__import__ = note
from lora_core.training.run import RunInputs, RunOutputs, train
from lora_core.training.spec import RunSpec
train(RunSpec.from_params({params!r}), {inputs!r}, {outputs!r})
print(sorted(named - set(sys.stdlib_module_names) - {{"lora_core"}}))
print([name for name in ("datasets", "matplotlib", "pydantic", "snakemake", "peft") if name in sys.modules])
"""


def test_a_train_job_imports_no_other_libraries_than_it_needs(bert, cola, tmp_path):
    """All but annotated_types, a small module, since the first version; scikit-learn scores, and brings pandas."""
    params = spec(LORA, hyperparameters={"epochs": 1}).to_params()
    code = IMPORTS.format(params=params, inputs=run_inputs(bert, cola), outputs=run_outputs(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    named, absent = done.stdout.splitlines()[-2:]
    expected = "annotated_types filelock numpy psutil safetensors sklearn torch transformers"
    assert named == str(expected.split())
    assert absent == "[]"


def test_the_record_says_its_format_and_its_run_can_be_read_back(lora_run):
    record = read_json(lora_run / "run.json")
    assert record["format"] == 2
    params = {field.name: record["run"][field.name] for field in fields(RunSpec)}
    assert RunSpec.from_params(params) == spec(LORA, base_model="bert")
    assert record["measurement"]["energy"]["simulated"] is False


def test_a_finished_run_has_no_progress_file_and_no_model_card_among_its_weights(lora_run):
    assert not (lora_run / "progress.json").exists()
    assert not list((lora_run / "weights").glob("*.md"))


def test_progress_is_written_while_a_run_trains(bert, cola, tmp_path, monkeypatch):
    seen = []
    report = Progress.report

    def spy(progress, status):
        report(progress, status)
        seen.append(read_progress(tmp_path / "progress.json"))

    monkeypatch.setattr(Progress, "report", spy)
    train(spec(LORA), run_inputs(bert, cola), run_outputs(tmp_path))
    first, last = (record.progress for record in seen)
    assert (first.method, first.task, first.seed, first.metric) == ("lora", "cola", 1, "matthews")
    assert (first.epoch, first.epochs, first.step, first.steps) == (1, 2, 8, 16)
    assert (last.epoch, last.step, last.seconds_left) == (2, 16, 0)
    assert first.tokens_per_second > 0
    assert first.seconds_left > 0
    assert last.score == read_json(tmp_path / "run.json")["measurement"]["score"]["last"]
    assert seen[0].process.pid == os.getpid()


def test_progress_of_a_run_reads_as_one_line():
    values = {"method": "lora", "task": "cola", "seed": 1, "epoch": 2, "epochs": 3, "step": 60, "steps": 90}
    progress = RunProgress(**values, metric="matthews", score=0.4123, tokens_per_second=3210.4, seconds_left=65.9)
    assert progress.line() == "epoch 2/3, step 60/90, matthews 0.412, 3,210 tokens/s, 1:05 left"


def test_a_damaged_progress_file_is_named(tmp_path):
    (tmp_path / "progress.json").write_text("{}")
    with pytest.raises(ValueError, match=r"progress\.json is damaged"):
        read_progress(tmp_path / "progress.json")
