"""Sweeps: one entry becomes a method of each combination of values."""

import pytest
from builders import changed

from lora_core.config.params import swept_params
from lora_core.config.study import ConfigError, load


def test_a_sweep_is_a_method_of_each_combination_in_its_place():
    entry = {"kind": "lora", "alpha": 16, "sweep": {"rank": [1, 64], "targets": [["query"], ["query", "value"]]}}
    study = load(changed(method_settings__sweep=entry, methods=["fft", "sweep", "lora"]))
    names = ["sweep-rank1-query", "sweep-rank1-query.value", "sweep-rank64-query", "sweep-rank64-query.value"]
    assert study.methods == ("fft", *names, "lora")
    assert study.settings("sweep-rank64-query").rank == 64
    assert study.settings("sweep-rank64-query").alpha == 16
    assert swept_params(study)["sweep-rank64-query"] == {
        "entry": "sweep",
        "values": {"rank": 64, "targets": ["query"]},
    }


def test_a_method_of_a_sweep_takes_no_other_entrys_name():
    sweep = {"kind": "lora", "sweep": {"rank": [4]}}
    with pytest.raises(ConfigError, match="a sweep makes a method of the same name as another: lora-rank4"):
        load(changed(method_settings__lora=sweep, **{"method_settings__lora-rank4": {"kind": "lora", "rank": 8}}))


def test_a_sweep_reaches_hyperparameters_and_a_librarys_configuration():
    rates = {"kind": "lora", "sweep": {"hyperparameters.learning_rate": [0.001, 0.01]}}
    ranks = {"kind": "peft", "config": {"peft_type": "LORA"}, "sweep": {"config.r": [2, 4]}}
    study = load(changed(method_settings__rates=rates, method_settings__ranks=ranks, methods=["rates", "ranks"]))
    assert [study.hyperparameters(m, "cola").learning_rate for m in study.methods[:2]] == [0.001, 0.01]
    assert [study.settings(m).config for m in study.methods[2:]] == [{"peft_type": "LORA", "r": r} for r in (2, 4)]
    assert study.methods == ("rates-learning_rate0.001", "rates-learning_rate0.01", "ranks-r2", "ranks-r4")


def test_a_pattern_that_is_swept_names_a_file():
    sweep = {"config.target_modules": [".*query", ".*(query|value)"]}
    entry = {"kind": "peft", "config": {"peft_type": "LORA"}, "sweep": sweep}
    study = load(changed(method_settings__places=entry, methods=["places"]))
    assert study.methods == ("places-target_modules._query", "places-target_modules._query_value_")
    assert study.settings(study.methods[1]).config["target_modules"] == ".*(query|value)"
