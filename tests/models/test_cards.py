"""Model cards: what the hub reads is valid, and what they say is what the run has."""

import copy

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load

from lora_core.data.metrics import METRICS as KNOWN
from lora_core.methods.merging import merge
from lora_core.models.model_card import METRICS, card
from lora_core.records import read_json


@pytest.fixture(scope="module")
def record(lora_run):
    return read_json(lora_run / "run.json")


def test_the_hub_reads_the_metadata_and_the_score_is_that_of_the_weights(lora_run, record):
    data = ModelCard.load(lora_run / "weights" / "README.md").data
    assert (data.library_name, data.pipeline_tag, data.language) == ("peft", "text-classification", "en")
    (result,) = data.eval_results
    assert (result.metric_type, result.dataset_split) == ("matthews_correlation", "validation")
    assert result.metric_value == pytest.approx(record["measurement"]["score"]["last"], abs=1e-6)
    assert metadata_load(lora_run / "weights" / "README.md")["model-index"][0]["name"] == "lora-cola-seed1"
    assert set(METRICS) == set(KNOWN)


def test_a_card_names_data_settings_time_and_why_there_is_no_energy(record):
    text = card(record, "peft")
    for words in (
        "mini",
        "rank ",
        "learning_rate",
        "energy of training | n/a (",
        record["provenance"]["device_model"],
    ):
        assert words in text
    measured = copy.deepcopy(record)
    measured["measurement"]["energy"]["train_joules"] = 4321.0
    assert "energy of training | 4.32 kJ" in card(measured, "peft")
    measured["run"]["simulated"] = True
    assert "the energy was not measured" in card(measured, "peft")


def test_a_model_and_data_of_the_hub_are_linked_and_local_ones_are_not(record):
    hub = copy.deepcopy(record)
    hub["run"]["base_model"] = "FacebookAI/roberta-base"
    hub["run"]["data"]["data"] = {"source": "hub", "id": "nyu-mll/glue", "revision": "abc"}
    data = ModelCard(card(hub, "peft")).data
    assert (data.base_model, data.datasets) == ("FacebookAI/roberta-base", ["nyu-mll/glue"])
    assert (data.eval_results[0].dataset_type, data.eval_results[0].dataset_config) == ("nyu-mll/glue", "cola")
    hub["run"]["base_model"] = "results/models/mine"
    assert ModelCard(card(hub, "peft")).data.base_model is None


def test_a_merged_model_has_a_card_of_its_own(bert, lora_run, tmp_path):
    merge(bert, lora_run / "weights", tmp_path / "merged")
    found = ModelCard.load(tmp_path / "merged" / "README.md")
    assert found.data.library_name == "transformers"
    assert "folded into the weights" in found.text


def test_a_name_cannot_break_the_table(record):
    odd = copy.deepcopy(record)
    odd["run"]["data"]["labels"] = ["a|b", "<img src=x>\n---"]
    line = next(line for line in card(odd, None).splitlines() if line.startswith("| labels"))
    assert line == "| labels | a\\|b, &lt;img src=x> --- |"
