"""`lora-core estimate`: time, disk space and energy of a study, from the cost of a step and the runs that are left."""

import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from builders import changed, write_regimes

from lora_core import device as devices
from lora_core.code_digest import ROOT
from lora_core.commands import cli, estimate, predicted_step_costs, step_costs
from lora_core.commands.durations import format_duration
from lora_core.commands.status import RunStatus, State
from lora_core.commands.studies import load_study
from lora_core.config.errors import ConfigError
from lora_core.data import batches
from lora_core.evaluation.step_model import count_step
from lora_core.job import SILENCE_LIBRARIES
from lora_core.layout import Layout
from lora_core.models import model as models
from lora_core.records import read_json, write_json
from lora_core.sealed import SEAL

FFT, LORA = (RunStatus(method, "cola", 1, State.LEFT) for method in ("fft", "lora"))


def study_of(tmp_path, **changes):
    """A study of GLUE from the hub: three epochs in batches of ten."""
    hyperparameters = {"epochs": 3, "batch_size": 10}
    config = {
        "results_dir": str(tmp_path), "tasks": ["cola"], "methods": ["fft", "lora"], "seeds": [1],
        "data": {"source": "hub", "id": "glue", "revision": "0" * 40},
        **{f"method_settings__{method}__hyperparameters": hyperparameters for method in ("fft", "lora")},
    }  # fmt: skip
    return load_study(changed(**config, **changes))


def a_second_each(study):
    return {(method, task): step_costs.StepTime(1.0, 0.0) for method in study.methods for task in study.tasks}


def test_a_run_takes_its_steps_and_its_tokens(tmp_path, cola):
    study = study_of(tmp_path)
    card = {name: value for name, value in read_json(cola / "card.json").items() if name != SEAL}
    card["train"] |= {"examples": 95, "tokens": 950}
    card["validation"] |= {"examples": 50}
    write_json(tmp_path / "data" / "cola" / "card.json", card)
    seconds = estimate.run_seconds(study, FFT, step_costs.StepTime(constant=0.5, per_token=0.001))
    # Each of three epochs: 10 steps; 950 tokens trained and 500 evaluated at a third of the cost, 2 % of padding.
    assert seconds == pytest.approx(3 * (10 * 0.5 + 950 * 1.02 * 0.001 + 500 * 1.02 * 0.001 / 3))


def test_an_epoch_has_one_update_for_each_batch_of_micro_batches(tmp_path):
    """The time of a step with micro-batches is that of all of them: 856 batches of ten, however they are divided."""
    study = study_of(tmp_path, method_settings__fft__task_hyperparameters={"cola": {"micro_batch_size": 2}})
    step_time = step_costs.StepTime(constant=0.5, per_token=0.0, rows=10)
    assert estimate.run_seconds(study, FFT, step_time) == pytest.approx(3 * 856 * 0.5)


def test_a_model_that_needs_equal_lengths_has_its_own_number_of_batches(tmp_path, cola):
    study, layout = study_of(tmp_path), Layout(str(tmp_path))
    for file in ("card.json", "train.safetensors"):
        copy = Path(layout.data_card.format(task="cola")).with_name(file)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(cola / file, copy)
    lengths = Counter(batches.load(cola / "train.safetensors").lengths.tolist())
    config = Path(layout.model_config.format(model=study.model.name))
    for equal_length, expected in ((False, 7), (True, sum(-(-n // 10) for n in lengths.values()))):
        config.parent.mkdir(parents=True, exist_ok=True)
        write_json(config, {"equal_length_batches": True} if equal_length else {})
        seconds = estimate.run_seconds(study, FFT, step_costs.StepTime(constant=1.0, per_token=0.0))
        assert seconds == pytest.approx(3 * expected)


def test_data_that_is_not_tokenized_has_the_size_of_glue_within_the_studys_limits(tmp_path):
    assert estimate.data_size(study_of(tmp_path), "cola") == estimate.DataSize(8551, 1043, 11)
    limited = estimate.data_size(study_of(tmp_path, data__max_train_examples=100), "cola")
    assert limited == estimate.DataSize(100, 1043, 11)
    with pytest.raises(ConfigError, match="not tokenized yet"):
        estimate.data_size(load_study(changed(results_dir=str(tmp_path))), "cola")


def test_the_text_has_what_is_left_weights_and_energy(tmp_path):
    study = study_of(tmp_path)
    trial = step_costs.StepCosts(a_second_each(study), 125_000_000, 300.0, None)
    text = estimate.format_estimate(study, trial, [FFT, LORA])
    seconds = 2 * 3 * 856  # steps of two runs, a second each
    assert "2 of 2 runs are left" in text
    assert all(f"\n  {label}: " in text for label in ("Full fine-tuning", "LoRA (own)"))
    assert format_duration(seconds) in text
    assert "about 1.0 GB of weights" in text  # one full model and one merged, four bytes per parameter
    assert f"{300 * seconds / 3.6e6:.2f} kWh at 300 W" in text
    on_two = estimate.format_estimate(study, replace(trial, gpus=2), [FFT, LORA])
    assert f"about {format_duration(seconds / 2)} of training and evaluation on 2 GPUs at once" in on_two
    assert f"{300 * seconds / 3.6e6:.2f} kWh" in on_two
    without = estimate.format_estimate(
        study, replace(trial, power_watts=None, no_power_reason="no meter"), [replace(FFT, state=State.DONE), LORA]
    )
    assert "1 of 2 runs are left" in without
    assert "n/a (no meter)" in without
    assert "about 0.5 GB" in without


def test_libraries_print_nothing_while_a_trial_loads_models(monkeypatch):
    silenced = {}

    def predict(study):
        silenced.update({name: os.environ.get(name) for name in SILENCE_LIBRARIES})
        raise ConfigError("enough")

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(predicted_step_costs, "predict", predict)
    for name in SILENCE_LIBRARIES:
        monkeypatch.delenv(name)
    assert cli.main(["estimate"]) == 1
    assert silenced == SILENCE_LIBRARIES


def test_a_trial_times_every_method_of_a_real_model(bert, tmp_path, monkeypatch):
    monkeypatch.setattr(step_costs, "TRIAL_SECONDS", 0.2)
    model = {"source": "local", "path": str(bert)}
    study = load_study(changed(results_dir=str(tmp_path), tasks=["cola"], methods=["fft", "lora"], model=model))
    trial = step_costs.run_trial(study)
    assert set(trial.step_times) == {("fft", "cola"), ("lora", "cola")}
    # Both parts are at least zero by construction; a step of the longer batch takes some time.
    assert all(0 < time.of(16 * 128) < 60 for time in trial.step_times.values())
    shapes = step_costs.build_model(study)
    assert trial.parameters == sum(p.numel() for p in shapes.parameters()) > 10_000


def test_a_trial_divides_batches_as_runs_do_and_tries_each_kind_of_step_once(bert, tmp_path, monkeypatch):
    divided = []

    def create_step(*args, original=step_costs.create_step):
        step = original(*args)
        prepare = step.prepare
        step.prepare = lambda batch: divided.append([rows for rows, _ in batch.parts]) or prepare(batch)
        return step

    monkeypatch.setattr(step_costs, "TRIAL_SECONDS", 0.1)
    monkeypatch.setattr(step_costs, "create_step", create_step)
    study = load_study(changed(
        results_dir=str(tmp_path), tasks=["cola", "rte"], methods=["fft"], references={},
        model={"source": "local", "path": str(bert)},
        method_settings__fft__task_hyperparameters={
            "cola": {"epochs": 7}, "rte": {"batch_size": 6, "micro_batch_size": 2},
        },
    ))  # fmt: skip
    trial = step_costs.run_trial(study)
    assert divided == [[16]] * 2 + [[2, 2, 2]] * 2  # each in two lengths
    assert {task: time.rows for (_, task), time in trial.step_times.items()} == {"cola": 16, "rte": 6}


@pytest.fixture
def measured(bert, tmp_path):
    """A study of two methods, and a function that writes regimes.json of its model on this device."""
    model = {"source": "local", "path": str(bert)}
    study = load_study(changed(
        results_dir=str(tmp_path), tasks=["cola"], methods=["fft", "lora"], model=model, train__threads=2
    ))  # fmt: skip
    layout = Layout(str(tmp_path))
    prepared = Path(layout.model.format(model=study.model.name))
    prepared.parent.mkdir(parents=True)
    prepared.symlink_to(bert)
    here = devices.model_name(torch.device("cpu"))

    def write(energy=None, device=here, model=str(prepared), threads=2):
        write_regimes(
            Path(layout.regimes), {"cola": {"time": 1.5, "energy": energy}}, device, threads=threads, model=model
        )  # fmt: skip

    return study, write


def test_steps_are_predicted_by_what_make_regimes_measured_on_this_device(measured, bert):
    study, write = measured
    write(energy=1.5)
    costs = predicted_step_costs.predict(study)
    assert set(costs.step_times) == {("fft", "cola"), ("lora", "cola")}
    # The record's constants are those of a device on which an operation takes a millisecond, and nothing else takes
    # time; half of its steps took 0.06 s, the others 0.04 s, and 0.03 s were predicted.
    shapes = models.model_shapes(bert, 2, "meta")
    count = count_step(shapes, (16, 32), "cpu", "fp32")
    operations = len(count.forward) + len(count.backward) + len(count.update)
    fft, lora = costs.step_times.values()
    assert fft.constant == pytest.approx(5 / 3 * 1e-3 * operations, rel=0.2)
    assert fft.per_token == lora.per_token == 0
    assert costs.power_watts == pytest.approx(200, rel=1e-4)  # 8 J in about 0.04 s, and 12 J in about 0.06 s
    assert costs.parameters == sum(p.numel() for p in shapes.parameters())
    assert costs.source.startswith("Predicted from ")
    assert "took 1.67 of their predicted time" in costs.source


def test_a_record_whose_operations_were_counted_otherwise_predicts_nothing(measured):
    study, write = measured
    write()
    file = Path(Layout(study.results_dir).regimes)
    record = read_json(file)
    del record["constants"]["squares_per_second"]  # which older ones do not have
    write_json(file, record)
    assert predicted_step_costs.predict(study) is None


def test_without_energy_in_the_record_there_is_no_power(measured):
    study, write = measured
    write()
    assert predicted_step_costs.predict(study).power_watts is None


@pytest.mark.parametrize(
    "changes", [{"device": "another device"}, {"model": "another model"}, {"model": ""}, {"threads": 3}]
)
def test_what_was_measured_of_another_device_or_model_or_with_other_threads_predicts_nothing_here(measured, changes):
    study, write = measured
    assert predicted_step_costs.predict(study) is None
    write(**changes)
    assert predicted_step_costs.predict(study) is None


@pytest.mark.parametrize(("threads", "cores", "known"), [(2, 8, True), (None, 2, True), (None, 8, False)])
def test_threads_are_those_of_the_study_or_all_cores(measured, monkeypatch, threads, cores, known):
    study, write = measured
    write(threads=2)
    monkeypatch.setattr(predicted_step_costs, "usable_cores", lambda: cores)
    study = study.model_copy(update={"train": study.train.model_copy(update={"threads": threads})})
    assert (predicted_step_costs.predict(study) is not None) == known


def test_each_task_is_predicted_with_its_own_hyperparameters(measured, bert, tmp_path):
    """On a device where only launches take time, four micro-batches have four times the passes, and one update.

    Three add a gradient to each trained tensor's.
    """
    _, write = measured
    write()
    rte = {"batch_size": 8, "micro_batch_size": 2}
    study = load_study(changed(
        results_dir=str(tmp_path), tasks=["cola", "rte"], methods=["fft", "lora"],
        model={"source": "local", "path": str(bert)}, train__threads=2,
        method_settings__fft__task_hyperparameters={"rte": rte},
    ))  # fmt: skip
    times = predicted_step_costs.predict(study).step_times
    count = count_step(models.model_shapes(bert, 2, "meta"), (16, 32), "cpu", "fp32")
    passes, update = len(count.forward) + len(count.backward), len(count.update)
    added = 3 * update / 2  # of which half are norms
    ratio = times["fft", "rte"].constant / times["fft", "cola"].constant
    expected = (4 * passes + added + update) / (passes + update)
    assert ratio == pytest.approx(expected, rel=0.05)  # dropout of a CPU is installed
    assert times["lora", "rte"] == times["lora", "cola"]
    assert times["fft", "rte"].rows == 8


def test_a_trial_says_that_make_regimes_gives_a_better_estimate(tmp_path):
    study = study_of(tmp_path)
    trial = step_costs.StepCosts(a_second_each(study), 10, None, "no meter")
    assert "`make regimes` measures this device" in estimate.format_estimate(study, trial, [FFT])
