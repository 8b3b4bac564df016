"""`lora-core estimate`: time, disk space and energy of a study, from a short trial and the runs that are left."""

from dataclasses import replace

import pytest
from builders import changed

from lora_core.commands import estimate, status
from lora_core.commands.status import RunStatus, State
from lora_core.commands.studies import load_study
from lora_core.config.errors import ConfigError
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


def test_a_run_takes_its_steps_and_its_tokens(tmp_path, cola):
    study = study_of(tmp_path)
    card = {name: value for name, value in read_json(cola / "card.json").items() if name != SEAL}
    card["train"] |= {"examples": 95, "tokens": 950}
    card["validation"] |= {"examples": 50}
    write_json(tmp_path / "data" / "cola" / "card.json", card)
    seconds = estimate.run_seconds(study, FFT, estimate.StepTime(constant=0.5, per_token=0.001))
    # Each of three epochs: 10 steps; 950 tokens trained and 500 evaluated at a third of the cost, 2 % of padding.
    assert seconds == pytest.approx(3 * (10 * 0.5 + 950 * 1.02 * 0.001 + 500 * 1.02 * 0.001 / 3))


def test_data_that_is_not_tokenized_has_the_size_of_glue_within_the_studys_limits(tmp_path):
    assert estimate.data_size(study_of(tmp_path), "cola") == estimate.DataSize(8551, 1043, 11)
    limited = estimate.data_size(study_of(tmp_path, data__max_train_examples=100), "cola")
    assert limited == estimate.DataSize(100, 1043, 11)
    with pytest.raises(ConfigError, match="not tokenized yet"):
        estimate.data_size(load_study(changed(results_dir=str(tmp_path))), "cola")


def test_the_text_has_what_is_left_weights_and_energy(tmp_path):
    study = study_of(tmp_path)
    trial = estimate.Trial({m: estimate.StepTime(1.0, 0.0) for m in study.methods}, 125_000_000, 300.0, None)
    text = estimate.format_estimate(study, trial, [FFT, LORA])
    seconds = 2 * 3 * 856  # steps of two runs, a second each
    assert "2 of 2 runs are left" in text
    assert all(f"\n  {label}: " in text for label in ("Full fine-tuning", "LoRA (own)"))
    assert status.format_duration(seconds) in text
    assert "about 1.0 GB of weights" in text  # one full model and one merged, four bytes per parameter
    assert f"{300 * seconds / 3.6e6:.2f} kWh at 300 W" in text
    on_two = estimate.format_estimate(study, replace(trial, gpus=2), [FFT, LORA])
    assert f"about {status.format_duration(seconds / 2)} of training and evaluation on 2 GPUs at once" in on_two
    assert f"{300 * seconds / 3.6e6:.2f} kWh" in on_two
    without = estimate.format_estimate(
        study, replace(trial, power_watts=None, no_power_reason="no meter"), [replace(FFT, state=State.DONE), LORA]
    )
    assert "1 of 2 runs are left" in without
    assert "n/a (no meter)" in without
    assert "about 0.5 GB" in without


def test_a_trial_times_every_method_of_a_real_model(bert, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "TRIAL_SECONDS", 0.2)
    model = {"source": "local", "path": str(bert)}
    study = load_study(changed(results_dir=str(tmp_path), tasks=["cola"], methods=["fft", "lora"], model=model))
    trial = estimate.run_trial(study)
    assert set(trial.step_times) == {"fft", "lora"}
    # Both parts are at least zero by construction; a step of the longer batch takes some time.
    assert all(0 < time.of(16 * 128) < 60 for time in trial.step_times.values())
    shapes = estimate.build_model(study)
    assert trial.parameters == sum(p.numel() for p in shapes.parameters()) > 10_000
