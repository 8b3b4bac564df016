"""What `--config` gives, read by Snakemake: null is none, in every section, and a text of a file stays a text."""

import copy
from operator import attrgetter

import pytest
from builders import DEFAULT
from snakemake.cli import parse_config
from snakemake.utils import update_config

from lora_core.commands.studies import load_study
from lora_core.config.errors import ConfigError

MINI = {"source": "mini", "max_train_examples": 8, "max_validation_examples": 8, "max_length": 9}


def study_of(*options, **overlay):
    """The study of config.yaml with a file's overlay and options of the command line."""
    given = parse_config(options)
    merged, config = copy.deepcopy(overlay), copy.deepcopy(DEFAULT)
    update_config(merged, copy.deepcopy(given))
    update_config(config, copy.deepcopy(merged))
    return load_study(config, merged, given)


@pytest.mark.parametrize("null", ["null", "~", "Null", "NULL", '"null"'])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ('train={"checkpoint_seconds": %s}', "train.checkpoint_seconds"),
        ('train={"threads": %s, "checkpoint_seconds": 4}', "train.threads"),
        ('data={"max_train_examples": %s}', "data.max_train_examples"),
        ('data={"source": "mini", "max_length": %s}', "data.max_length"),
        ('references={"library": %s}', "references.library"),
        ("references={library: %s}", "references.library"),
    ],
)
def test_null_on_the_command_line_is_none(option, value, null):
    study = study_of(option % null, train={"threads": 2}, data=MINI)
    assert attrgetter(value)(study) is None


def test_null_in_the_settings_of_a_method_is_none():
    option = 'method_settings={"lora": {"label": null, "hyperparameters": {"start_from": null, "max_grad_norm": ~}}}'
    overlay = {"lora": {"label": "Mine", "hyperparameters": {"start_from": "mnli"}}}
    study = study_of(option, method_settings=overlay)
    assert study.entry("lora").label is None
    hyperparameters = study.hyperparameters("lora", "rte")
    assert (hyperparameters.start_from, hyperparameters.max_grad_norm) == (None, None)


def test_null_in_a_list_is_none():
    entry = {"wide": {"kind": "lora", "sweep": {"hyperparameters.max_grad_norm": [2.0]}}}
    option = 'method_settings={"wide": {"sweep": {"hyperparameters.max_grad_norm": [~, 1.0]}}}'
    study = study_of(option, methods=["wide"], method_settings=entry, references={"full": None, "adapter": None})
    assert {study.hyperparameters(method, "rte").max_grad_norm for method in study.methods} == {None, 1.0}


def test_a_text_of_a_file_stays_a_text():
    study = study_of('train={"threads": null}', method_settings={"lora": {"label": "null"}})
    assert study.entry("lora").label == "null"
    assert study.train.threads is None


def test_null_where_a_value_is_needed_is_refused_as_null():
    with pytest.raises(ConfigError, match=r"seed|epochs") as error:
        study_of('method_settings={"lora": {"hyperparameters": {"epochs": null}}}')
    assert "leave the key out" in str(error.value)
    assert "'null'" not in str(error.value)


def test_the_configuration_itself_is_not_changed():
    given = parse_config(['train={"checkpoint_seconds": null}'])
    config = copy.deepcopy(DEFAULT)
    update_config(config, copy.deepcopy(given))
    before = copy.deepcopy(config)
    load_study(config, copy.deepcopy(given), given)
    assert config == before
