"""Model cards: what the hub reads is valid, and what they say is what the run has."""

import pytest
from builders import merged
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load

from lora_core.evaluation.run_record import RunRecord
from lora_core.records import read_run_record
from lora_core.reporting.card_metadata import CardFacts
from lora_core.reporting.card_usage import Repository
from lora_core.reporting.model_card import model_card, write_model_card


@pytest.fixture(scope="module")
def record(lora_run):
    return read_run_record(lora_run / "run.json")


@pytest.fixture(scope="module")
def written(lora_run, tmp_path_factory):
    """The card of a finished run, as a file."""
    card = tmp_path_factory.mktemp("card") / "README.md"
    write_model_card(lora_run / "run.json", card, label="LoRA (own)", library="peft", can_merge=True)
    return card


def card(record, library="peft", can_merge=True, facts=None, **changes):
    """The text of the card of a run whose record has these changes."""
    return model_card(RunRecord.from_json(merged(record, changes)), "LoRA (own)", library, can_merge, facts)


def test_the_hub_reads_the_metadata_and_the_score_is_that_of_the_weights(written, record):
    data = ModelCard.load(written).data
    assert (data.library_name, data.pipeline_tag, data.language) == ("peft", "text-classification", "en")
    (result,) = data.eval_results
    assert (result.metric_type, result.dataset_split) == ("matthews_correlation", "validation")
    assert result.metric_value == pytest.approx(record["measurement"]["score"]["last"], abs=1e-6)
    assert metadata_load(written)["model-index"][0]["name"] == "lora-cola-seed1"


def test_a_card_names_data_settings_time_and_why_there_is_no_energy(record):
    text = card(record)
    for expected in (
        "mini",
        "rank ",
        "learning_rate",
        "training energy | n/a (",
        record["provenance"]["device_model"],
    ):
        assert expected in text
    measured = card(record, measurement={"energy": {"train_joules": 4321.0}})
    assert "training energy | 4.32 kJ" in measured
    assert "was not measured" not in measured
    simulated = card(record, measurement={"energy": {"train_joules": 4321.0, "simulated": True}})
    assert "the energy was not measured" in simulated


def test_a_card_says_where_the_weights_are_and_what_loads_them(record):
    merges, stays = (card(record, can_merge=can_merge) for can_merge in (True, False))
    assert "`weights/` next to this file holds what was trained; the package `peft` loads it." in merges
    assert "`merged/lora/cola/seed1/` is the base model with the adapter folded into its weights" in merges
    assert "merged/" not in stays
    assert "`lora_core.methods.registry.load` loads it." in card(record, None, can_merge=False)


def test_a_model_and_data_of_the_hub_are_linked_and_local_ones_are_not(record):
    source = {"source": "hub", "id": "nyu-mll/glue", "revision": "abc"}
    data = ModelCard(card(record, run={"base_model": "FacebookAI/roberta-base", "data": {"data": source}})).data
    assert (data.base_model, data.datasets) == ("FacebookAI/roberta-base", ["nyu-mll/glue"])
    assert (data.eval_results[0].dataset_type, data.eval_results[0].dataset_config) == ("nyu-mll/glue", "cola")
    assert ModelCard(card(record, run={"base_model": "results/models/mine"})).data.base_model is None


def test_a_card_names_the_base_model_as_the_hub_does_with_its_revision(record):
    published = {"base_model": "FacebookAI/roberta-base", "model": "FacebookAI--roberta-base"}
    assert "| base model | FacebookAI/roberta-base |" in card(record, run=published)
    with_revision = card(record, run=published | {"base_revision": "abc"})
    assert "| base model | FacebookAI/roberta-base, revision abc |" in with_revision
    assert "| base model | mine |" in card(record, run={"base_model": "results/models/mine", "model": "mine"})


def test_a_base_model_in_a_folder_is_never_named_as_one_of_the_hub(record):
    for folder in ("/models", "/home/me/bert", "results/models/mine"):
        text = card(record, run={"base_model": folder})
        assert ModelCard(text).data.base_model is None
        assert folder not in text


@pytest.mark.parametrize(
    ("data", "dataset"),
    [
        ({"source": "hub", "id": "nyu-mll/glue", "revision": "abc"}, ("nyu-mll/glue", "mrpc", "abc")),
        ({"source": "mini", "seed": 0}, ("mini", "mrpc", None)),
        ({"source": "user"}, ("user", "mrpc", None)),
    ],
)
def test_every_metric_is_a_result_of_the_data_set_and_its_config(record, data, dataset):
    facts = CardFacts(metrics={"accuracy": 0.75, "f1": 0.8})
    changes = {"data": {"task": "mrpc", "data": data}, "task": "mrpc"}
    score = {"metric": "accuracy", "last": 0.75}
    read = ModelCard(card(record, facts=facts, run=changes, measurement={"score": score})).data
    results = {result.metric_type: result for result in read.eval_results}
    assert {name: result.metric_value for name, result in results.items()} == {"accuracy": 0.75, "f1": 0.8}
    for result in results.values():
        assert (result.dataset_type, result.dataset_config, result.dataset_revision) == dataset
        assert result.dataset_split == "validation"
    assert sorted(read.metrics) == ["accuracy", "f1"]


def test_the_license_and_the_emissions_are_read_back_as_the_hub_reads_them(record):
    energy = {"train_joules": 7.2e6, "boundary": "GPU board", "simulated": False}  # 2 kWh
    facts = CardFacts(license={"license": "mit"}, grid_co2_grams_per_kwh=400.0)
    text = card(record, facts=facts, measurement={"energy": energy})
    data = ModelCard(text).data
    assert data.license == "mit"
    assert data.co2_eq_emissions["emissions"] == 800.0
    assert type(data.co2_eq_emissions["emissions"]) is float
    assert "(GPU board) x 400 g/kWh" in data.co2_eq_emissions["source"]
    assert data.co2_eq_emissions["hardware_used"] == record["provenance"]["device_model"]
    assert "| CO2 of the training energy | 800 g, at 400 g per kWh |" in text


@pytest.mark.parametrize(
    ("grams", "energy"),
    [
        (None, {"train_joules": 7.2e6, "simulated": False}),
        (400.0, {"train_joules": None, "simulated": False}),
        (400.0, {"train_joules": 7.2e6, "simulated": True}),
    ],
)
def test_emissions_that_nobody_knows_are_left_out(record, grams, energy):
    text = card(record, facts=CardFacts(grid_co2_grams_per_kwh=grams), measurement={"energy": energy})
    assert "co2_eq_emissions" not in text
    assert "CO2" not in text


def test_a_card_has_the_call_that_opens_the_weights_and_the_length_that_was_trained(record):
    text = card(record, run={"base_revision": "1" * 40})
    call = text.partition("```python\n")[2].partition("```")[0]
    compile(call, "the card", "exec")
    labels = record["run"]["data"]["labels"]
    for expected in ("tokenizer='weights'", f"revision='{'1' * 40}'", "'num_labels': 2", str(dict(enumerate(labels)))):
        assert expected in call
    assert "revision" not in card(record)
    assert "| maximum input length | 128 tokens |" in text
    assert "model_kwargs" not in card(record, "transformers")
    assert "pipeline(" not in card(record, None)
    number = card(record, run={"data": {"labels": []}})
    assert "model_kwargs={'num_labels': 1, 'problem_type': 'regression'}" in number


@pytest.mark.parametrize("base", ["an/id", None])
@pytest.mark.parametrize("library", ["peft", "transformers", None])
def test_a_published_card_says_what_the_repository_holds_and_how_to_open_it(record, library, base):
    run = RunRecord.from_json(merged(record, {"run": {"base_model": "an/id", "data": {"labels": []}}}))
    text = model_card(run, "LoRA (own)", library, False, repository=Repository("me/x", base))
    call = text.partition("```python\n")[2].partition("```")[0]
    compile(call, "the card", "exec")
    assert "weights/" not in text
    assert "pipeline(" not in call or library == "transformers"
    assert ("only those who have its folder" in text) is (base is None and library != "transformers")
    assert ("FOLDER_OF_THE_BASE_MODEL" in call) is (base is None and library == "peft")
    assert ("num_labels=1,\n    problem_type='regression'" in call) is (library == "peft")
    assert (call == "") is (library is None)


def test_a_name_cannot_break_the_table(record):
    text = card(record, None, can_merge=False, run={"data": {"labels": ["a|b", "<img src=x>\n---"]}})
    line = next(line for line in text.splitlines() if line.startswith("| labels"))
    assert line == "| labels | a\\|b, &lt;img src=x&gt; --- |"
