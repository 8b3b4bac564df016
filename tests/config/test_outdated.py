"""Which results are not what the configuration and the code ask for, by their records alone."""

import json

import pytest
from agreeing_results import TASK, WEIGHTS, agreeing_results, edit, path, study_in, write
from builders import run_content, write_run

from lora_core.code_digest import StageCode
from lora_core.config import params
from lora_core.config.announcement import announcement, retraining
from lora_core.config.outdated import ResultsComparison, outdated_results
from lora_core.config.run_changes import INPUT_AGAIN
from lora_core.layout import Layout
from lora_core.records import sha256, write_json


@pytest.fixture
def results(tmp_path):
    """Records of a finished study, all in agreement with its configuration."""
    return agreeing_results(tmp_path)


def reasons(folder, code="c0de", **changes):
    """The reasons by the path below the results folder."""
    found = outdated_results(study_in(folder, **changes), None if code is None else lambda method: StageCode(code, {}))
    return {name.removeprefix(f"{folder}/"): reason for name, reason in found.items()}


LORA, FFT = (f"runs/{method}/{TASK}/seed1/run.json" for method in ("lora", "fft"))
MERGED, LATENCY = f"merged/lora/{TASK}/seed1.json", f"latency/{TASK}/seed1.json"
OF_LORA = {MERGED: INPUT_AGAIN, LATENCY: INPUT_AGAIN}


def test_results_that_agree_stay(results):
    assert reasons(results) == {}
    assert reasons(results, code=None, seeds=[1, 2]) == {}  # what is missing is not outdated


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"method_settings__lora__rank": 2}, "rank 8 -> 2"),
        ({"method_settings__lora__hyperparameters": {"learning_rate": 0.5}}, "learning_rate 0.0"),
    ],
)
def test_a_run_with_another_setting_is_named_with_both_values(results, changes, text):
    found = reasons(results, **changes)
    assert text in found.pop(LORA)
    assert found == OF_LORA


def test_a_setting_of_all_runs_outdates_all(results):
    found = reasons(results, train__batching="random")
    assert found.keys() == {LORA, FFT, MERGED, LATENCY}
    assert found[FFT] == "settings differ (batching length_grouped -> random)"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"data__max_length": 17}, "-> 17"),
        ({"data__max_train_examples": 7}, "max_train_examples"),
        ({"data__seed": 5}, "seed 0 -> 5"),
    ],
)
def test_other_data_settings_outdate_the_data_and_what_is_made_from_them(results, changes, text):
    found = reasons(results, **changes)
    assert text in found.pop(f"data/{TASK}/card.json")
    assert found == {LORA: INPUT_AGAIN, FFT: INPUT_AGAIN, **OF_LORA}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"run": {"task": "stsb"}}, "it is the record of lora/stsb/seed1"),
        ({"run": {"seed": 2}}, "it is the record of lora/cola/seed2"),
        ({"run": {"method": "fft"}}, "it is the record of fft/cola/seed1"),
        ({"run": {"data": {"train": {"sha256": "0"}}}}, "it was trained on other data"),
        ({"run": {"model_files": {"model.safetensors": "b"}}}, "it was trained from another prepared model"),
        ({"provenance": {"code": "0ther"}}, "the code changed"),
        ({"run": None}, "its record is damaged"),
    ],
)
def test_a_run_that_was_made_from_something_else_is_named_with_the_reason(results, changes, reason):
    edit(path(results, "run_record"), changes)
    found = reasons(results)
    assert found.pop(LORA) == reason
    assert found == OF_LORA


@pytest.mark.parametrize(
    ("recorded", "text"),
    [
        ({"a.py": "1", "b.py": "2"}, " (b.py)"),
        ({"a.py": "1", "gone.py": "2"}, " (b.py, gone.py)"),
        ({"a.py": "0", "b.py": "0", "c.py": "0", "d.py": "0"}, " (a.py, b.py, c.py and 1 more)"),
        (None, ""),  # an older record
        ({"a.py": "1", "b.py": "1"}, ""),  # what differs is none of the files
    ],
)
def test_the_files_of_other_code_are_named_if_the_record_says_them(results, recorded, text):
    edit(path(results, "run_record"), {"provenance": {"code": "0ther", "code_files": recorded}})
    stage = StageCode("c0de", {"a.py": "1", "b.py": "1"})
    found = outdated_results(study_in(results), lambda method: stage)
    assert found[str(results / LORA)] == f"the code changed{text}"


def test_every_change_of_a_run_is_found_if_all_are_asked_for(results):
    edit(path(results, "run_record"), {"run": {"data": {"train": {"sha256": "0"}}}, "provenance": {"code": "0ther"}})
    study = study_in(results, train__batching="random")
    comparison = ResultsComparison(study, lambda method: StageCode("c0de", {}), every=True)
    assert [change.cause for change in comparison.changes[str(results / LORA)]] == ["settings", "data", "code"]
    assert comparison.reasons[str(results / LORA)] == "settings differ (batching length_grouped -> random)"


def test_merged_models_and_latencies_of_another_run_are_outdated(results):
    edit(path(results, "run_record"), {"files": {WEIGHTS: "b"}})
    assert reasons(results) == {MERGED: "it was made from other weights", LATENCY: "it was made from other runs"}


def test_a_latency_with_another_plan_is_outdated_alone(results):
    found = reasons(results, measure__latency_passes=77)
    assert found.keys() == {LATENCY}
    assert "-> 77" in found[LATENCY]


def test_latencies_in_another_precision_are_made_again(results):
    assert reasons(results, train__precision="bf16")[LATENCY] == "settings differ (precision fp32 -> bf16)"
    record = json.loads(path(results, "latency_record").read_text())
    del record["made_from"]["plan"]["precision"]  # an older record, whose passes were all in float32
    write_json(path(results, "latency_record"), record)
    assert LATENCY not in reasons(results)
    assert reasons(results, train__precision="bf16")[LATENCY] == "settings differ (precision fp32 -> bf16)"
    write_json(path(results, "latency_record"), record | {"precision": "bf16"})
    assert reasons(results)[LATENCY] == "settings differ (precision bf16 -> fp32)"


OTHER_FORMATS = pytest.mark.parametrize("version", [99, "3", "2.1", 2.5, None, [2]])


@OTHER_FORMATS
def test_timings_of_another_version_are_left(results, version):
    edit(path(results, "latency_record"), {"format": version, "made_from": {"plan": {"passes": 77}}})
    assert reasons(results) == {}


def test_records_that_do_not_say_what_they_were_made_from_are_accepted(results):
    record = json.loads(path(results, "run_record").read_text())
    del record["run"]["model_files"], record["provenance"]["code"]
    write_run(path(results, "run_record"), record)
    for file in (results / MERGED, results / LATENCY):
        write_json(file, {})
    assert reasons(results) == {}


def test_a_truncated_record_is_made_again(results):
    file = path(results, "run_record")
    file.write_text(file.read_text()[:100])
    assert reasons(results)[LORA] == "its record is damaged"


@OTHER_FORMATS
def test_the_record_of_another_version_is_left(results, version):
    edit(path(results, "run_record"), {"format": version, "run": {"seed": 5}})
    assert LORA not in reasons(results)


def test_a_run_that_started_from_other_weights_is_outdated(results):
    start = {"method_settings__lora__task_hyperparameters": {TASK: {"start_from": "rte"}}}
    study = study_in(results, **start)
    record = json.loads(path(results, "run_record").read_text())
    record["run"] |= params.run_params(study, "lora", TASK, 1) | {"start": {"adapter_model.safetensors": "a"}}
    write_run(path(results, "run_record"), record)
    assert LORA not in reasons(results, **start)
    other = run_content("lora", "rte") | {"files": {"weights/adapter_model.safetensors": "b"}}
    other["run"] = params.run_params(study, "lora", "rte", 1) | {"data": record["run"]["data"]}
    write_run(results / "runs/lora/rte/seed1/run.json", other)
    assert reasons(results, **start)[LORA] == "it started from other weights"


def test_each_reason_is_one_line_that_names_some_products():
    lines = announcement({f"run{number}": "the code changed" for number in range(5)} | {"x": "y"})
    assert lines == ["rerun because the code changed: run0, run1, run2 and 2 more",
                     "rerun because y: x"]  # fmt: skip


def test_one_sentence_says_how_much_recorded_work_is_made_again_if_it_is_more_than_an_hour(tmp_path):
    reasons = {}
    for number in range(3):
        file = tmp_path / f"{number}.json"
        write_json(file, {"measurement": {"train_seconds": 1500, "eval_seconds": 300, "preparation": None}})
        reasons[str(file)] = "the code changed (a.py)" if number else "settings differ (rank 8 -> 2)"
    assert retraining(dict(list(reasons.items())[1:])) is None  # 60 min
    text = retraining(reasons)
    assert "3 finished runs with 1.5 h of recorded work" in text
    assert "because the code changed (a.py) (2); settings differ (rank 8 -> 2) (1)" in text
    assert text.endswith("or keep those with `lora-core keep`")
    write_json(tmp_path / "0.json", {"measurement": {"train_seconds": 7200, "eval_seconds": 0, "preparation": None}})
    text = retraining({str(tmp_path / "0.json"): None, str(tmp_path / "absent.json"): None})
    assert "2.0 h of recorded work will be trained again, because Snakemake plans it:" in text
    assert "lora-core keep" not in text


def test_after_a_change_of_settings_a_line_says_how_to_keep_both_results():
    first, last = announcement({"run": "settings differ (rank 8 -> 2)"})
    assert first == "rerun because settings differ (rank 8 -> 2): run"
    assert "--config results_dir=results/other" in last
    assert "another entry of `method_settings`" in last


@pytest.mark.parametrize("before", [{}, {"validation_fraction": 0.2}])
def test_data_that_is_split_another_way_is_made_again(tmp_path, before):
    def study(split):
        task = {"path": "mine.csv", "texts": ["text"], **split}
        return study_in(tmp_path, tasks=["mine"], task_settings={"mine": task})

    made, layout = study(before), Layout(str(tmp_path))
    write(layout.data_card, run_content()["run"]["data"], task="mine")
    dataset = json.loads(json.dumps(params.data_params(made, "mine")))
    write(layout.data_sources, {"files": {}, "made_from": {"dataset": dataset}}, task="mine")
    assert outdated_results(made) == {}
    (reason,) = outdated_results(study({"validation_fraction": 0.1})).values()
    assert f"validation_fraction {before.get('validation_fraction', 'none')} -> 0.1" in reason


def test_an_older_record_without_micro_batches_was_of_whole_batches(results):
    record = path(results, "run_record")
    content = json.loads(record.read_text())
    del content["run"]["hyperparameters"]["micro_batch_size"]
    write_run(record, content)
    assert not any("micro" in reason for reason in reasons(results).values())
    changes = {"method_settings__lora__hyperparameters": {"micro_batch_size": 2}}
    assert (
        reasons(results, **changes)[str(record.relative_to(results))] == "settings differ (micro_batch_size none -> 2)"
    )


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({}, {"test": "test"}, "test none -> test"),
        ({"test": "test"}, {}, "test test -> none"),
        ({"test": "one/held.csv"}, {"test": "one/other.csv"}, "test held.csv -> other.csv"),
        ({"test": "one/held.csv"}, {"test": "elsewhere/held.csv"}, None),
        ({"validation_fraction": 0.2}, {"validation_fraction": 0.2, "test_fraction": 0.1}, "test_fraction none -> 0.1"),
    ],
)
def test_a_task_with_another_test_split_is_made_again(before, after, reason, tmp_path):
    """The folder that a test file is in does not count: it is another one on another machine."""

    def study(split):
        return study_in(
            tmp_path, tasks=["mine"], task_settings={"mine": {"path": "mine.csv", "texts": ["text"], **split}}
        )

    made, layout = study(before), Layout(str(tmp_path))
    write(layout.data_card, run_content()["run"]["data"], task="mine")
    dataset = json.loads(json.dumps(params.data_params(made, "mine")))
    dataset["source"] = made.source("mine").without_folders()
    write(layout.data_sources, {"files": {}, "made_from": {"dataset": dataset}}, task="mine")
    assert outdated_results(made) == {}
    assert [reason in text for text in outdated_results(study(after)).values()] == ([True] if reason else [])


@pytest.mark.parametrize("change", ["added", "removed", "other"])
def test_a_run_that_was_trained_with_another_test_split_is_made_again(change, results):
    card, run = path(results, "data_card"), path(results, "run_record")
    data = json.loads(card.read_text())
    for name in ("train", "validation"):  # the files are those of the card
        file = results / getattr(Layout, f"{name}_data").format(task=TASK)
        file.write_bytes(name.encode())
        data[name]["sha256"] = sha256(file)
    write_json(card, data)
    edit(run, {"run": {"data": data}})
    assert LORA not in reasons(results)
    if change in ("added", "other"):
        edit(card, {"test": {"sha256": "t"}})
    if change in ("removed", "other"):
        edit(run, {"run": {"data": {"test": {"sha256": "u"}}}})
    assert reasons(results)[LORA] == "it was trained on other data"
