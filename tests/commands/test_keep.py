"""`lora-core keep`: results that are kept although their code changed, and what cannot be kept."""

import os
from pathlib import Path

import pytest
from agreeing_results import TASK, agreeing_results, edit, path, study_in, write
from builders import write_run

from lora_core.code_digest import StageCode
from lora_core.commands import cli, keep, run_names, why
from lora_core.config import params
from lora_core.config.outdated import INPUT_AGAIN, ResultsComparison, outdated_results
from lora_core.kept_runs import kept_run, read_kept
from lora_core.layout import Layout
from lora_core.records import read_json, write_json
from lora_core.sealed import SEAL, seal

CODE = {"a.py": "1", "b.py": "1"}
LORA = f"results/runs/lora/{TASK}/seed1/run.json"
REASON = "only messages changed"


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A finished study, of which other code made the run of LoRA."""
    monkeypatch.chdir(tmp_path)
    for module in (why, keep):
        monkeypatch.setattr(module, "code_of_training", lambda *_: code)
    folder = agreeing_results(Path("results"))
    path(folder, "latency_record").unlink()
    edit(path(folder, "run_record"), {"provenance": {"code": "0ther", "code_files": CODE | {"b.py": "0"}}})
    return folder


def code(method):
    return StageCode("c0de", CODE)


def unsealed(file):
    return {name: value for name, value in read_json(file).items() if name != SEAL}


def kept(study, *names, because=REASON):
    return list(keep.keep(study, run_names.select_runs(study, names), because))


def test_a_kept_run_is_not_made_again_nor_what_is_made_from_it(results):
    study = study_in(results)
    assert outdated_results(study, code)[LORA] == "the code changed (b.py)"
    assert kept(study, "lora/cola/seed1") == ["lora/cola/seed1: kept"]
    comparison = ResultsComparison(study, code)
    assert comparison.reasons == {}
    assert comparison.kept.keys() == {LORA}
    decision = kept_run(LORA)
    assert (decision.because, decision.code, decision.changes[0]) == (REASON, "c0de", "code: b.py")
    text = why.format_why(study, run_names.select_runs(study, ["lora"]), selected=True)
    assert "0 of 1 runs would be made again" in text
    assert f"kept, because “{REASON}”: lora/cola/seed1" in text


def test_a_run_without_a_change_is_left_as_it_is(results):
    now = why.installed_versions()
    packages = {name: version for name, version in now.items() if name != "python"}
    record = read_json(path(results, "run_record", "fft"))
    record["provenance"] |= {"python": now["python"], "packages": packages}
    write_run(path(results, "run_record", "fft"), record)
    lines = kept(study_in(results), "results/runs")
    nothing = "nothing that is known changed, so there is nothing to keep"
    assert lines == [f"fft/cola/seed1: {nothing}", "lora/cola/seed1: kept"]


def test_tables_follow_only_where_a_decision_changed(results, capsys):
    now = why.installed_versions()
    provenance = {"python": now.pop("python"), "packages": now}
    edit(path(results, "run_record", "fft"), {"provenance": provenance})
    write_json(Path("config.yaml"), study_in(results).model_dump(mode="json", exclude_unset=True))
    for arguments, is_said in (
        (["fft/cola/seed1", "--because", REASON], False),
        (["results/runs", "--because", REASON], True),
        (["results/runs", "--undo"], True),
    ):
        assert cli.main(["keep", *arguments]) == 0
        assert ("Tables and the report follow" in capsys.readouterr().out) == is_said


def test_a_run_of_other_packages_can_be_kept_and_says_which(results):
    edit(path(results, "run_record", "fft"), {"provenance": {"packages": {"torch": "0.1"}}})
    assert kept(study_in(results), "fft/cola/seed1") == ["fft/cola/seed1: kept"]
    decision = kept_run(LORA.replace("lora", "fft"))
    assert decision.changes[0].startswith("packages: ")
    assert "torch 0.1 -> " in decision.changes[0]


@pytest.mark.parametrize(
    ("changes", "study", "reason"),
    [
        ({}, {"method_settings__lora__rank": 2}, "settings differ (rank 8 -> 2)"),
        ({"run": {"data": {"train": {"sha256": "0"}}}}, {}, "it was trained on other data"),
        ({"run": {"model_files": {"model.safetensors": "b"}}}, {}, "it was trained from another prepared model"),
        ({}, {"data__max_length": 17}, INPUT_AGAIN),
        ({"run": None}, {}, "its record is damaged"),
    ],
)
def test_other_settings_data_and_models_cannot_be_kept(results, changes, study, reason):
    edit(path(results, "run_record"), changes)
    with pytest.raises(ValueError, match="cannot be kept, because") as refused:
        kept(study_in(results, **study), "lora/cola/seed1")
    assert reason in str(refused.value)
    assert str(refused.value).endswith(": only a change of code or packages can be kept")
    assert not list(results.rglob("kept.json"))


def test_nothing_is_kept_if_one_of_several_cannot_be(results):
    with pytest.raises(ValueError, match="cannot be kept, because settings differ"):
        kept(study_in(results, method_settings__fft__hyperparameters={"epochs": 77}), "results/runs")
    assert not list(results.rglob("kept.json"))


def test_the_decision_is_about_one_run_and_one_state_of_the_code(results):
    study = study_in(results)
    kept(study, "lora/cola/seed1")
    later = outdated_results(study, lambda method: StageCode("l4ter", CODE | {"a.py": "2"}))
    assert later[LORA] == "the code changed (a.py, b.py)"
    edit(path(results, "run_record"), {"measurement": {"steps": 1}})  # a new run in its place
    assert kept_run(LORA) is None
    assert outdated_results(study, code)[LORA] == "the code changed (b.py)"


def test_keeping_is_taken_back_by_the_command_or_by_deleting_the_file(results):
    study = study_in(results)
    for remove in (lambda: list(keep.undo(study, run_names.select_runs(study, ["results/runs"]))),
                   lambda: os.unlink("results/runs/lora/cola/seed1/kept.json")):  # fmt: skip
        kept(study, "lora/cola/seed1")
        assert LORA not in outdated_results(study, code)
        remove()
        assert outdated_results(study, code)[LORA] == "the code changed (b.py)"
    with pytest.raises(ValueError, match="none of these runs is kept"):
        list(keep.undo(study, run_names.select_runs(study, ["lora"])))


def test_a_run_that_starts_from_a_kept_one_is_kept_with_it(results):
    start = {"method_settings__lora__task_hyperparameters": {TASK: {"start_from": "rte"}}}
    study = study_in(results, **start)
    for task in (TASK, "rte"):
        record = read_json(path(results, "run_record"))
        record["run"] |= params.run_params(study, "lora", task, 1)
        write(Layout("results").run_record, record, method="lora", task=task, seed=1)
    with pytest.raises(ValueError, match=f"lora/cola/seed1 cannot be kept, because {INPUT_AGAIN}"):
        kept(study, "lora/cola/seed1")
    assert kept(study, "lora") == ["lora/cola/seed1: kept", "lora/rte/seed1: kept"]
    assert LORA not in outdated_results(study, code)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("  ", "is empty"), ("x" * 301, "has 301 characters"), ("a\x1b[31mb", "has characters that cannot be printed")],
)
def test_a_reason_is_one_line_of_plain_text(results, text, problem):
    with pytest.raises(ValueError, match=f"--because {problem}"):
        kept(study_in(results), "lora", because=text)
    assert kept(study_in(results), "lora", because="two\nlines") == ["lora/cola/seed1: kept"]
    assert kept_run(LORA).because == "two lines"


def test_a_run_that_was_not_made_cannot_be_kept(results):
    with pytest.raises(ValueError, match=r"seed2/run\.json does not exist: only a run that was made can be kept"):
        kept(study_in(results, seeds=[1, 2]), "lora/cola/seed2")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (lambda kept: kept | {"because": "nothing at all changed"}, "was edited after it was written"),
        (lambda kept: seal({**kept, "format": 9}), "has format 9, and this version reads 1"),
        (lambda kept: seal({**kept, "changes": [1]}), "a field has another type"),
        (lambda kept: {"format": 1}, "is missing"),
        (None, "is not a regular file"),
    ],
)
def test_a_decision_that_cannot_be_read_is_refused_by_name(results, content, problem):
    study = study_in(results)
    kept(study, "lora/cola/seed1")
    file = Path(LORA).with_name("kept.json")
    if content:
        write_json(file, content(unsealed(file) if "edited" not in problem else read_json(file)))
    else:
        file.unlink()
        file.mkdir()
    for read in (lambda: read_kept(file), lambda: outdated_results(study, code)):
        with pytest.raises(ValueError, match=problem) as refused:
            read()
        assert "kept.json" in str(refused.value)
