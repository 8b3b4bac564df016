"""`make paper`: the estimate before a study, from a short trial and the runs that are left."""

import pytest
from builders import changed

from lora_core.commands import estimate, status
from lora_core.commands.status import DONE, LEFT, Run
from lora_core.config.study import ConfigError, load
from lora_core.records import write_json


def study_of(tmp_path, **changes):
    hyper = {"hyperparameters": {"epochs": 3, "batch_size": 10}}
    data = {"source": "hub", "id": "glue", "revision": "0" * 40}
    settings = {f"method_settings__{m}__hyperparameters": hyper["hyperparameters"] for m in ("fft", "lora")}
    told = {"results_dir": str(tmp_path), "tasks": ["cola"], "methods": ["fft", "lora"], "seeds": [1], "data": data}
    return load(changed(**told, **settings, **changes))


def test_a_run_takes_its_steps_and_its_tokens(tmp_path):
    study = study_of(tmp_path)
    card = {"train": {"examples": 95, "tokens": 950}, "validation": {"examples": 50}}
    write_json(tmp_path / "data" / "cola" / "card.json", card)
    found = estimate.seconds_of(study, Run("fft", "cola", 1, LEFT), estimate.Speed(own=0.5, token=0.001))
    # Each of three epochs: 10 steps; 950 tokens trained and 500 evaluated at a third, 2 % of padding.
    assert found == pytest.approx(3 * (10 * 0.5 + 950 * 1.02 * 0.001 + 500 * 1.02 * 0.001 / 3))


def test_data_that_is_not_tokenised_has_glues_size_with_the_studys_limits(tmp_path):
    assert estimate.examples(study_of(tmp_path), "cola") == (8551, 1043, 11)
    assert estimate.examples(study_of(tmp_path, data__max_train_examples=100), "cola")[:2] == (100, 1043)
    with pytest.raises(ConfigError, match="not tokenised yet"):
        estimate.examples(load(changed(results_dir=str(tmp_path))), "cola")


def test_the_text_counts_what_is_left_weights_and_energy(tmp_path):
    study = study_of(tmp_path)
    speeds = {m: estimate.Speed(1.0, 0.0) for m in study.methods}
    runs = [Run("fft", "cola", 1, LEFT), Run("lora", "cola", 1, LEFT)]
    text = estimate.text(study, estimate.Trial(speeds, 125_000_000, 300.0, None), runs)
    seconds = 2 * 3 * 856  # steps of two runs, a second each
    assert "2 of 2 runs are left" in text
    assert status.duration(seconds) in text
    assert "about 1.0 GB of weights" in text  # one full model and one merged, four bytes a parameter
    assert f"{300 * seconds / 3.6e6:.2f} kWh at 300 W" in text
    runs[0] = Run("fft", "cola", 1, DONE, "", 1.0)
    without = estimate.text(study, estimate.Trial(speeds, 125_000_000, None, "no meter"), runs)
    assert "1 of 2 runs are left" in without
    assert "n/a (no meter)" in without
    assert "about 0.5 GB" in without


def test_a_trial_times_every_method_of_a_real_model(bert, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "SECONDS", 0.2)
    model = {"source": "local", "path": str(bert)}
    study = load(changed(results_dir=str(tmp_path), tasks=["cola"], methods=["fft", "lora"], model=model))
    found = estimate.trial(study)
    assert set(found.speeds) == {"fft", "lora"}
    assert all(speed.own > 0 or speed.token > 0 for speed in found.speeds.values())
    assert found.parameters > 10_000
    assert status.look(study)


@pytest.mark.parametrize(
    ("seconds", "text"), [(20, "1 min"), (3600, "1 h 0 min"), (5400, "1 h 30 min"), (90_000, "1 d 1 h")]
)
def test_durations_have_two_parts(seconds, text):
    assert status.duration(seconds) == text
