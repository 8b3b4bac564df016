"""Training in fp16: the loss is scaled, steps with gradients that are not finite are skipped, and so on after a stop.

A CPU is refused for fp16, but can compute it: here the check is left out.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from builders import FULL, LORA, interrupted_before_epoch, run_inputs, run_outputs, spec, trained
from safetensors.numpy import load_file

from lora_core import precision
from lora_core.data import batches
from lora_core.models.model import head_parameters
from lora_core.records import read_json
from lora_core.training import loss_scaling, training_step
from lora_core.training.checkpoint import CheckpointSettings
from lora_core.training.device_batches import DeviceExamples
from lora_core.training.loss_scaling import LossScaling
from lora_core.training.preparation import undone
from lora_core.training.run import apply_speedups, build_model, train
from lora_core.training.training_step import TrainingStep, create_step

CPU = torch.device("cpu")
OVERFLOWS = 2.0**60  # a scale at which every gradient is infinite in fp16
OVERFLOWS_AT_FIRST = 2.0**26


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch):
    monkeypatch.setattr(precision, "check_available", lambda *_: None)


def step_of(bert, cola, settings=LORA, scale=2.0**16, **hyperparameters):
    """A step in fp16, and a batch to train on."""
    loss_scaling.INITIAL_SCALE = scale
    run = spec(settings, precision="fp16", hyperparameters={"warmup_ratio": 0.0, "weight_decay": 0.0} | hyperparameters)
    model = build_model(run, bert, ["a", "b"], np.zeros(1))
    apply_speedups(model, run, CPU)
    examples = DeviceExamples(batches.load(cola / "train.safetensors"), model.train())
    (batch,) = examples.batches([np.arange(8)])
    return TrainingStep(run, model, examples, steps=8), batch


@pytest.fixture(autouse=True)
def usual_scale(monkeypatch):
    monkeypatch.setattr(loss_scaling, "INITIAL_SCALE", loss_scaling.INITIAL_SCALE)


# --- steps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_step_whose_gradients_overflow_changes_nothing_and_the_schedule_does_not_count_it(bert, cola, optimizer):
    step, batch = step_of(bert, cola, scale=OVERFLOWS, optimizer=optimizer)
    before = [p.detach().clone() for p in step.trained]
    assert torch.isfinite(step(batch))
    assert all(torch.equal(p, start) for p, start in zip(step.trained, before, strict=True))
    assert (step.scaling.skipped, step.rates.done) == (1, 0)
    assert step.scaling.state()["scaler"]["scale"] == OVERFLOWS / 2
    step, batch = step_of(bert, cola, optimizer=optimizer)
    step(batch)
    assert any(not torch.equal(p, start) for p, start in zip(step.trained, before, strict=True))
    assert (step.scaling.skipped, step.rates.done) == (0, 1)


@pytest.mark.parametrize("scale", [2.0**4, 2.0**14])
def test_gradients_are_divided_by_the_scale_before_they_are_clipped(bert, cola, scale):
    norm, rate = 1e-4, 0.5
    step, batch = step_of(bert, cola, FULL, scale, optimizer="sgd", max_grad_norm=norm, learning_rate=rate)
    before = [p.detach().clone() for p in step.trained]
    step(batch)
    moved = torch.cat([(p.detach() - start).flatten() for p, start in zip(step.trained, before, strict=True)])
    assert float(moved.norm()) == pytest.approx(rate * norm, rel=0.02)


def test_the_preparation_leaves_the_scale_and_the_count_as_they_were(bert, cola):
    step, batch = step_of(bert, cola, scale=OVERFLOWS)
    before = step.scaling.state()
    with undone(step.model, step.optimizer, step.rates, step.scaling):
        step(batch)
        assert step.scaling.state() != before
    assert step.scaling.state() == before


def test_frozen_matrices_are_cast_once_and_the_head_computes_in_float32(bert, cola):
    step, batch = step_of(bert, cola)
    types = {p.dtype for name, p in step.model.named_parameters() if p.ndim == 2 and "query" in name}
    assert types == {torch.float16, torch.float32}  # the frozen matrix, and LoRA's
    seen = []
    head = {id(p) for _, p in head_parameters(step.model)}
    for module in step.model.modules():
        if any(id(p) in head for p in module.parameters(recurse=False)):
            module.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0].dtype, output.dtype)))
    step(batch)
    assert set(seen) == {(torch.float32, torch.float32)}


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_other_precisions_have_no_scale(name):
    scaling = LossScaling(name, CPU)
    assert scaling.state() is None
    assert scaling.record() is None
    loss = torch.ones(1, requires_grad=True)
    scaling.backward(loss * 3)
    assert float(loss.grad) == 3.0


@pytest.mark.parametrize(
    ("name", "graphs", "captures"), [("fp16", "auto", False), ("fp16", "off", False), ("bf16", "auto", True)]
)
def test_fp16_runs_without_graphs_and_the_log_says_so_once(name, graphs, captures, monkeypatch, capsys):
    made = []
    monkeypatch.setattr(training_step, "CudaGraphs", lambda device: "graphs")
    monkeypatch.setattr(training_step, "StaticStep", lambda *arguments: made.append(arguments[-1]))
    examples = SimpleNamespace(device=torch.device("cuda", 0))
    create_step(spec(LORA, precision=name, cuda_graphs=graphs), None, examples, 8)
    assert made == ["graphs" if captures else None]
    said = capsys.readouterr().err
    assert said.count("no CUDA graphs: ") == (name == "fp16" and graphs == "auto")


# --- runs ------------------------------------------------------------------------------------------------------------


def test_a_run_in_fp16_trains_float32_weights_as_in_float32(bert, cola, lora_run, tmp_path):
    out = trained(LORA, bert, cola, tmp_path / "fp16", precision="fp16")
    weights = load_file(out / "weights" / "adapter_model.safetensors")
    assert {str(w.dtype) for w in weights.values()} == {"float32"}
    ours, theirs = (load_file(o / "predictions.safetensors")["step_losses"] for o in (out, lora_run))
    assert not np.array_equal(ours, theirs)
    np.testing.assert_allclose(ours, theirs, rtol=5e-5)  # 11 bits, three more than bf16 has
    measured, other = (read_json(o / "run.json")["measurement"] for o in (out, lora_run))
    assert (measured["execution"], measured["skipped_steps"]) == ("eager", 0)
    assert other["skipped_steps"] is None


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_run_counts_the_steps_that_it_skipped(bert, cola, tmp_path, monkeypatch, optimizer):
    monkeypatch.setattr(loss_scaling, "INITIAL_SCALE", OVERFLOWS_AT_FIRST)
    hyperparameters = {"optimizer": optimizer}
    out = trained(LORA, bert, cola, tmp_path / "run", precision="fp16", hyperparameters=hyperparameters)
    measured = read_json(out / "run.json")["measurement"]
    assert 0 < measured["skipped_steps"] < measured["steps"]
    assert all(np.isfinite(w).all() for w in load_file(out / "weights" / "adapter_model.safetensors").values())


def test_a_run_of_which_every_step_is_skipped_fails_in_one_sentence(bert, cola, tmp_path, monkeypatch):
    monkeypatch.setattr(loss_scaling, "INITIAL_SCALE", OVERFLOWS)
    with pytest.raises(ValueError, match=r"^every one of the 16 steps was skipped.* set train\.precision to 'fp32'$"):
        trained(LORA, bert, cola, tmp_path / "run", precision="fp16")
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_resumed_run_goes_on_with_the_scale_that_it_had(bert, cola, tmp_path, monkeypatch):
    monkeypatch.setattr(loss_scaling, "INITIAL_SCALE", OVERFLOWS_AT_FIRST)
    run = spec(LORA, precision="fp16", hyperparameters={"epochs": 3})
    whole = trained(LORA, bert, cola, tmp_path / "whole", precision="fp16", hyperparameters={"epochs": 3})
    outputs, checkpoints = run_outputs(tmp_path / "resumed"), CheckpointSettings(tmp_path / "checkpoint", 0, "code")
    with interrupted_before_epoch(2):
        train(run, run_inputs(bert, cola), outputs, checkpoints=checkpoints)
    train(run, run_inputs(bert, cola), outputs, checkpoints=checkpoints)
    records = [read_json(out / "run.json")["measurement"] for out in (whole, tmp_path / "resumed")]
    assert records[1]["parts"] == 2
    assert records[0]["skipped_steps"] == records[1]["skipped_steps"] > 0
    files = ("predictions.safetensors", "weights/adapter_model.safetensors")
    assert all((whole / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes() for name in files)


def test_a_loss_that_is_not_finite_in_fp16_names_the_precision(bert, cola, tmp_path):
    with pytest.raises(ValueError, match=r"the loss is nan at step .*, or set train\.precision to 'fp32'$"):
        trained(FULL, bert, cola, tmp_path / "run", precision="fp16", hyperparameters={"learning_rate": 1e6})
