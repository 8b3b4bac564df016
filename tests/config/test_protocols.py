"""Protocols: what each says, where it comes from, and what is filled in from it."""

import json

import pytest
from builders import ROOT, changed

from lora_core.config.entries import HyperparameterOverrides
from lora_core.config.protocol import COLUMNS, Protocol, compare, protocol_names, read_protocol
from lora_core.config.study import load
from lora_core.data.tasks import PAPER_TASKS
from lora_core.reporting.published import TABLES

# Every value and its source as the files had them before they shared what they share.
WRITTEN_OUT = json.loads((ROOT / "tests" / "fixtures" / "protocol_values.json").read_text())


@pytest.mark.parametrize("name", protocol_names())
def test_a_protocol_that_extends_another_says_what_it_said_written_out(name):
    protocol, expected = read_protocol(name), WRITTEN_OUT[name]
    assert protocol.title == expected["title"]
    for column in COLUMNS:
        values = {key: {"value": v.value, "source": v.source} for key, v in protocol.columns[column].items()}
        assert values == expected[column]


def test_a_protocol_to_extend_cannot_be_chosen():
    assert protocol_names() == sorted(WRITTEN_OUT)


def test_table7_holds_the_printed_values_and_names_the_source_of_every_other():
    study = load(changed(protocol="table7"))
    columns = {"FFT": "fft", "LoRA": "lora"}
    compared = 0
    for row in TABLES["table7"].rows:
        key = row.quantity.replace(" ", "_")
        if key in HyperparameterOverrides.model_fields:
            for task, value in zip(PAPER_TASKS, row.values, strict=True):
                assert getattr(study.hyperparameters(columns[row.method], task), key) == value
                assert "Table 7" in study.hyperparameter_source(columns[row.method], task, key)
                compared += 1
    assert compared >= 2 * 4 * len(PAPER_TASKS)
    assert study.max_length("cola") == 512
    assert "for LoRA alone" in study.max_length_source
    assert "Liu" in study.hyperparameter_source("fft", "cola", "warmup_ratio")
    assert "Hu" in study.hyperparameter_source("lora", "cola", "warmup_ratio")


@pytest.mark.parametrize("name", protocol_names())
def test_a_protocol_gives_every_hyperparameter_a_value_and_a_source(name):
    protocol = read_protocol(name)
    for column in ("full", "adapter"):
        for task in PAPER_TASKS:
            values = protocol.resolve(column, task)
            needed = HyperparameterOverrides.model_fields.keys() - {"micro_batch_size"}
            assert values.keys() >= {*needed, "max_length"}
            assert all(protocol.source(column, key) for key in values)
            HyperparameterOverrides(**{name: values[name] for name in needed})


def test_rank_and_alpha_come_from_the_protocol_unless_they_are_given():
    scripts = load(changed(protocol="ms-scripts", method_settings__lora_ref__alpha=4))
    assert [scripts.settings(m).alpha for m in ("lora", "lora_ref")] == [16, 4]
    assert load(changed(protocol="hu-table9")).settings("lora").alpha == 8
    assert "roberta_base" in scripts.setting_source("lora", "alpha")
    assert scripts.setting_source("lora_ref", "alpha") == "method_settings"


@pytest.mark.parametrize("protocol", ["hu-table9", "ms-scripts"])
def test_hu_et_al_start_three_tasks_from_mnli_for_the_adapter_and_the_full_model(protocol):
    study = load(changed(protocol=protocol))
    for method in study.methods:
        assert {t: study.starts(method, t) for t in study.tasks} == {
            "sst2": [], "cola": [], "mrpc": ["mnli"], "rte": ["mnli"], "stsb": ["mnli"]
        }  # fmt: skip
    assert study.trained_tasks == [*study.tasks, "mnli"]
    assert load(changed(protocol="table7")).trained_tasks == list(study.tasks)


def test_the_table_of_protocols_in_the_documentation_is_what_they_say():
    assert compare("table7", "hu-table9", "ms-scripts") in (ROOT / "docs" / "protocols.md").read_text()


def test_a_hyperparameter_with_a_default_may_be_left_out_of_a_protocol(monkeypatch):
    written = read_protocol("table7")
    columns = {
        column: {name: value for name, value in values.items() if name != "start_from"}
        for column, values in written.columns.items()
    }
    monkeypatch.setattr("lora_core.config.study.read_protocol", lambda name: Protocol(written.title, columns))
    study = load(changed(protocol="table7"))
    assert study.hyperparameters("lora", "rte").start_from is None
    assert study.hyperparameter_source("lora", "rte", "start_from") == "the project's default"
