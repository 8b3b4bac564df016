"""`lora-core status --why`: what changed for each run that would be made again."""

import base64
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from agreeing_results import TASK, agreeing_results, edit, path, study_in, study_of_files, write
from builders import ROOT, write_run

from lora_core import code_digest, provenance
from lora_core.code_digest import CodeDigests, StageCode, read_source
from lora_core.commands import keep, remembered, run_names, status, why
from lora_core.commands.training_code import code_of_training
from lora_core.config import params
from lora_core.config.preflight import write_identity
from lora_core.job_records import JobRecord
from lora_core.layout import Layout
from lora_core.processes import this_process
from lora_core.records import sha256, write_json

ONE = "lora/cola/seed1"
CODE = {"a.py": "1", "b.py": "1"}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A finished study whose runs are those that it asks for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(why, "code_of_training", lambda *_: lambda method: StageCode("c0de", CODE))
    return agreeing_results(Path("results"))


def explained(study, *names):
    runs = run_names.select_runs(study, names) if names else list(run_names.study_runs(study))
    return why.format_why(study, runs, selected=bool(names))


def test_nothing_would_be_made_again(results):
    assert explained(study_in(results)) == "results: 0 of 2 runs would be made again."


@pytest.mark.parametrize(
    ("changes", "study", "line"),
    [
        ({}, {"method_settings__lora__rank": 2}, "settings: rank 8 -> 2"),
        ({}, {"train__batching": "random"}, "settings: batching length_grouped -> random"),
        ({"provenance": {"code": "0ther", "code_files": CODE | {"b.py": "0"}}}, {}, "code: b.py"),
        ({"provenance": {"code": "0ther"}}, {}, "code: the code changed"),
        ({"run": {"data": {"train": {"sha256": "0"}}}}, {}, "data: it was trained on other data"),
        ({"run": {"model_files": {"model.safetensors": "b"}}}, {}, "model: it was trained from another prepared model"),
        ({"run": {"seed": 2}}, {}, "record: it is the record of lora/cola/seed2"),
        (
            {},
            {"data__max_length": 17, "data__max_train_examples": 90},
            "input: tokenize_dataset/cola is made again, because settings differ (max_train_examples none -> 90, "
            "max_length 128 -> 17)",
        ),
    ],
)
def test_what_changed_is_said_for_each_cause(results, changes, study, line):
    edit(path(results, "run_record"), changes)
    lines = explained(study_in(results, **study)).splitlines()
    assert f"  {line}" in lines[lines.index(next(each for each in lines if "lora/cola/seed1" in each)) :]


def test_several_causes_are_all_said_and_runs_with_the_same_ones_are_together(results):
    for method in ("fft", "lora"):
        edit(path(results, "run_record", method), {"provenance": {"code": "0ther"}})
    text = explained(study_in(results, train__batching="random"))
    assert "fft/cola/seed1, lora/cola/seed1\n  settings: batching" in text
    assert text.count("  code: the code changed") == 1


def test_a_changed_limit_on_examples_is_said_with_both_values(results):
    sources = Path(Layout("results").data_sources.format(task=TASK))
    edit(sources, {"made_from": {"dataset": {"source": {"max_train_examples": 96}}}})
    text = explained(study_in(results, data__max_train_examples=90))
    reason = "tokenize_dataset/cola is made again, because settings differ (max_train_examples 96 -> 90)"
    assert f"fft/cola/seed1, lora/cola/seed1\n  input: {reason}" in text


def test_a_run_that_starts_from_one_that_is_made_again_is_said_with_the_reason(results):
    def study(rank):
        start = {"method_settings__lora__task_hyperparameters": {TASK: {"start_from": "rte"}}}
        return study_in(results, method_settings__lora__rank=rank, **start)

    for task in (TASK, "rte"):
        record = json.loads(path(results, "run_record").read_text())
        record["run"] |= params.run_params(study(8), "lora", task, 1)
        write(Layout("results").run_record, record, method="lora", task=task, seed=1)
    assert "0 of 3" in explained(study(8))
    assert "input: train/lora/rte is made again, because settings differ (rank 8 -> 2)" in explained(study(2))


def test_another_model_is_refused_with_both_as_snakemake_does(results):
    write_identity(study_in(results))
    assert "0 of 2" in explained(study_in(results))
    with pytest.raises(
        ValueError, match=f"holds results for another model .* sha256 53.*; this study has .* {'0' * 64}"
    ):
        explained(study_in(results, model__sha256="0" * 64))


def test_keeping_is_advised_only_if_a_run_can_be_kept(results):
    for method in ("fft", "lora"):
        edit(path(results, "run_record", method), {"provenance": {"code": "0ther"}})
    assert "lora-core keep RUN" in explained(study_in(results))
    assert "lora-core keep RUN" in explained(study_in(results, method_settings__lora__rank=2))
    for changes in ({"train__batching": "random"}, {"data__max_length": 17}):
        text = explained(study_in(results, **changes))
        assert "code: the code changed" in text
        assert "lora-core keep" not in text
    assert "lora-core keep" not in explained(study_in(results, method_settings__lora__rank=2), ONE)


def test_other_packages_are_named_where_a_run_is_made_again_and_are_no_reason_themselves(results):
    versions = {"packages": provenance.installed_packages() | {"torch": "0.1"}}
    edit(path(results, "run_record"), {"provenance": versions})
    assert "0 of 2" in explained(study_in(results))
    edit(path(results, "run_record"), {"provenance": {"code": "0ther"}})
    text = explained(study_in(results))
    assert f"torch 0.1 -> {provenance.installed_packages()['torch']}" in text
    assert "by itself no reason" in text


@pytest.mark.parametrize(
    "name", [ONE, f"results/runs/{ONE}", f"results/runs/{ONE}/run.json", "results/runs/lora", "results/runs/lora/"]
)
def test_a_run_is_named_by_its_folder_or_one_above(results, name):
    text = explained(study_in(results), name)
    assert "lora/cola/seed1: nothing that is known changed" in text
    assert "fft" not in text
    assert explained(study_in(results, seeds=[1, 2]), os.path.abspath("results/runs")).count("not made yet") == 2


@pytest.fixture
def mood(tmp_path, monkeypatch):
    """A finished study of a task in three files, which are newer than it, as those of a copy are."""
    monkeypatch.chdir(tmp_path)
    for module in (why, keep, status):
        monkeypatch.setattr(module, "code_of_training", lambda *_: lambda method: StageCode("c0de", CODE))
    return study_of_files(Path("moods"), Path("results"))


@pytest.mark.parametrize("file", ["train.csv", "test.csv"])
@pytest.mark.parametrize("edit", ["of the same size", "of another size, dated back"])
def test_an_edited_file_of_data_is_said_and_its_runs_cannot_be_kept(mood, file, edit):
    assert "0 of 2" in explained(mood)
    data = Path("moods", file)
    if edit == "of the same size":
        data.write_text(data.read_text().replace("glad", "sick"))
    else:
        data.write_text(data.read_text() + "How nice,happy\n")
        os.utime(data, (1e9, 1e9))
    assert f"fft/mood/seed1, lora/mood/seed1\n  data: moods/{file} changed" in explained(mood)
    with pytest.raises(ValueError, match=f"cannot be kept, because moods/{file} changed, nor can 1 others"):
        list(keep.keep(mood, list(run_names.study_runs(mood)), "the same examples"))
    assert [run.detail for run in status.read_runs(mood)] == [f"rerun because moods/{file} changed"] * 2


def test_files_of_data_that_came_or_went_are_said(mood):
    os.rename("moods/train.csv", "moods/train-0.csv")
    assert "  data: moods/train-0.csv is new, train.csv is gone" in explained(mood)


def test_without_the_files_of_its_data_a_study_is_explained_by_its_records(mood):
    shutil.rmtree("moods")
    assert "0 of 2" in explained(mood)


def test_an_unknown_run_is_refused_with_the_nearest_name(results):
    with pytest.raises(ValueError, match="no run 'lora/cola/seed9'; did you mean 'lora/cola/seed1'"):
        explained(study_in(results), "lora/cola/seed9")
    with pytest.raises(ValueError, match="no run 'lor'"):
        explained(study_in(results), "lor")


def remember(study, run, **changes):
    """What Snakemake keeps of a run, as it writes it."""
    values = [params.run_params(study, run.method, run.task, run.seed), "c0de"]
    memory = {"params": sorted(map(repr, values)), "input_checksums": {}, "conda_env": None} | changes
    for product in ("run.json", "history.csv", "power.csv", "predictions.safetensors", "weights"):
        write_json(memory_of(f"results/runs/{run}/{product}"), memory)


def memory_of(product):
    return Path(".snakemake", "metadata", base64.urlsafe_b64encode(product.encode()).decode())


def test_what_snakemake_alone_would_repeat_is_said(results):
    study = study_in(results)
    run = run_names.RunName("lora", TASK, 1)
    remember(study, run)
    assert "0 of 2" in explained(study)
    # A hyperparameter that the earlier version did not have: to the record it says nothing, to Snakemake it differs.
    earlier = params.run_params(study, "lora", TASK, 1)
    hyperparameters = {k: v for k, v in earlier["hyperparameters"].items() if k != "start_from"}
    earlier["hyperparameters"] = hyperparameters | {"momentum": 0.5}
    remember(study, run, params=[repr(earlier), repr("c0de")])
    assert "Snakemake: its parameters differ from those that Snakemake remembers (" in explained(study)
    assert "momentum 0.5 -> none" in explained(study)
    remember(study, run, params=[repr(params.run_params(study, "lora", TASK, 1)), repr("0ther")])
    assert "Snakemake: its code differs from that which Snakemake remembers" in explained(study)


def test_a_run_of_which_snakemake_forgot_one_file_is_not_repeated_by_it(results):
    study, run = study_in(results), run_names.RunName("lora", TASK, 1)
    remember(study, run, params=[])
    assert "1 of 2" in explained(study)
    memory_of(f"results/runs/{run}/power.csv").unlink()
    assert "0 of 2" in explained(study)


def test_an_input_that_is_newer_and_another_than_snakemake_remembers_is_said(results):
    study, run = study_in(results), run_names.RunName("lora", TASK, 1)
    card = f"results/data/{TASK}/card.json"
    later = os.stat(run.record(study)).st_mtime + 10
    os.utime(card, (later, later))
    remember(study, run, input_checksums={card: f"sha256:{sha256(Path(card))}"})
    assert "0 of 2" in explained(study)
    remember(study, run, input_checksums={card: "sha256:0"})
    assert f"Snakemake: {card} changed after it" in explained(study)


def test_another_conda_environment_is_said(results):
    study, run = study_in(results), run_names.RunName("lora", TASK, 1)
    now = (ROOT / remembered.ENVIRONMENT).read_bytes()
    remember(study, run, conda_env=base64.b64encode(now).decode())
    assert "0 of 2" in explained(study)
    remember(study, run, conda_env=base64.b64encode(now + b"#").decode())
    assert "envs/lora.yaml changed" in explained(study)


def write_made_by_other_code(job):
    """The record of a job that finished before the code changed."""
    made_from = {"code": "0ther", "params": "", "inputs": None}
    record = JobRecord("a title", "a study", "finished", this_process(), outputs={}, made_from=made_from)
    write_json(Path(f"results/logs/{job}.json"), asdict(record))


def test_preparation_that_other_code_made_is_said_where_snakemake_remembers_the_run(results):
    study, run = study_in(results), run_names.RunName("lora", TASK, 1)
    write_made_by_other_code(f"tokenize_dataset/{TASK}")
    assert "0 of 2" in explained(study)
    remember(study, run)
    assert f"  input: tokenize_dataset/{TASK} is made again, because the code changed" in explained(study)


def test_a_memory_that_cannot_be_read_says_nothing(results):
    study, run = study_in(results), run_names.RunName("lora", TASK, 1)
    remember(study, run, params="no list")
    assert "0 of 2" in explained(study)
    folder = Path(".snakemake", "metadata")
    for file in folder.iterdir():
        file.write_text("{")
    assert "0 of 2" in explained(study)


def test_status_why_needs_no_torch(results):
    Path("config.yaml").write_text(json.dumps(json.loads(study_in(results).model_dump_json(exclude_unset=True))))
    command = (
        "import sys; from lora_core.commands.cli import main; main(['status', '--why']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'pandas', 'snakemake.workflow')))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "of 2 runs would be made again" in result.stdout


START = """
import sys, time
from pathlib import Path
from lora_core.commands import run_names, why
from lora_core.commands.studies import read_study
study = read_study()
runs = list(run_names.study_runs(study))
started = time.process_time()
text = why.format_why(study, runs, selected=False)
print(time.process_time() - started, "torch" in sys.modules, text.partition("\\n")[0])
"""


def test_explaining_a_thousand_runs_takes_less_than_a_second(results):
    """0.25 s of processor time; twice that with other code next to it on a processor's two threads."""
    for method in ("fft", "lora"):
        record = json.loads(path(results, "run_record", method).read_text())
        for seed in range(1, 501):
            record["run"]["seed"] = seed
            file = Path(Layout(str(results)).run_record.format(method=method, task=TASK, seed=seed))
            write_run(file, record)
    for job in ("prepare_model", f"tokenize_dataset/{TASK}"):
        write_made_by_other_code(job)
    study = study_in(results, seeds=list(range(1, 501)), train__batching="random")
    Path("config.yaml").write_text(study.model_dump_json(exclude_unset=True))
    Path(".snakemake").mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for _ in range(2):  # the first time the code is parsed
        done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    seconds, with_torch, text = done.stdout.split(maxsplit=2)
    assert text.startswith("results: 1000 of 1000 runs would be made again")
    assert (float(seconds) < 1, with_torch) == (True, "False")


def test_code_is_parsed_once_and_not_again_the_next_time(results, monkeypatch):
    monkeypatch.setattr(why, "code_of_training", code_of_training)
    write_made_by_other_code("prepare_model")
    parsed = []
    monkeypatch.setattr(code_digest, "read_source", lambda content: parsed.append(content) or read_source(content))
    Path(".snakemake").mkdir()
    explained(study_in(results))
    modules = [content for content in parsed if len(content) > 200]  # empty ones are alike
    assert len(modules) == len(set(modules)) > 50
    parsed.clear()
    explained(study_in(results))
    assert parsed == []


def test_without_the_workflow_no_code_is_compared_and_that_is_said(results, monkeypatch):
    edit(path(results, "run_record"), {"provenance": {"code": "0ther"}})
    monkeypatch.setattr(why, "code_of_training", lambda *_: None)
    text = explained(study_in(results))
    assert text.startswith("results: 0 of 2 runs would be made again.")
    assert "Code was not compared" in text


def test_the_code_that_would_train_is_named_by_file():
    files = why.code_of_training(study_in("results"), CodeDigests())("lora").files
    assert {"workflow/scripts/train.py", "lora_core/training/loop.py", "lora_core/methods/lora.py"} <= files.keys()
