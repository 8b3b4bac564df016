"""A result is made again if its job would make something else than what it recorded."""

import json
from types import SimpleNamespace

import pytest

from lora_core.config.made_from import Comparison, PlannedJob
from lora_core.config.run_changes import INPUT_AGAIN, OTHER_CODE
from lora_core.job_records import JobSource, output_sizes, params_digest, read_outputs
from lora_core.records import sha256

PARAMS = {"references": {"full": "fft"}, "code": "a"}
SCORES, RUN = "results/scores/cola.csv", "results/runs/lora/cola/seed1/run.json"


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A results folder in which compare_scores has finished; returns the path of its exit record."""
    monkeypatch.chdir(tmp_path)
    for name in (SCORES, RUN):
        write(tmp_path / name, name)
    made_from = {"code": "a", "params": params_digest(PARAMS), "inputs": {RUN[8:]: sha256(tmp_path / RUN)}}
    record = tmp_path / "results/logs/compare_scores/cola.json"
    write(record, json.dumps({"outputs": output_sizes(str(tmp_path / "results"), [SCORES]), "made_from": made_from}))
    return record


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def reasons(made_again=(), **job):
    """Why a job would run again, and the files that are made again for it."""
    comparison = Comparison("results", read_outputs("results/logs"), set(made_again))
    planned = {"outputs": [SCORES], "inputs": [RUN], "params": PARAMS}
    comparison.add(PlannedJob(**(planned | {"is_remembered": False} | job)))
    assert comparison.made_again >= comparison.reasons.keys()
    return comparison.reasons


def test_what_a_job_would_make_once_more_is_kept(recorded):
    assert reasons() == {}


@pytest.mark.parametrize("is_remembered", [True, False])
def test_what_other_code_made_is_made_again(recorded, is_remembered):
    assert reasons(params=PARAMS | {"code": "b"}, is_remembered=is_remembered) == {SCORES: OTHER_CODE}


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ({"params": PARAMS | {"references": {}}}, "its settings differ"),
        ({"inputs": [RUN, SCORES]}, "it was made from other files"),
        ({"inputs": []}, "it was made from other files"),
        ({"made_again": [RUN]}, INPUT_AGAIN),
    ],
)
def test_what_has_other_settings_or_inputs_is_made_again_if_snakemake_does_not_remember_it(recorded, job, reason):
    assert reasons(**job) == {SCORES: reason}
    assert reasons(**job, is_remembered=True) == {}


def test_an_input_of_another_content_is_named(recorded, tmp_path):
    write(tmp_path / RUN, "other")
    assert reasons() == {SCORES: f"{RUN} has changed"}
    assert reasons(is_remembered=True) == {}  # Snakemake compares it


@pytest.mark.parametrize("text", [None, "{", '{"outputs": {"scores/cola.csv": 22}}', '{"outputs": {}, "made_from": 3}'])
def test_without_a_record_what_is_drawn_is_made_again_and_the_rest_is_kept(recorded, text):
    recorded.unlink() if text is None else recorded.write_text(text)
    assert reasons() == {SCORES: "nothing says how it was made"}
    assert reasons(is_remembered=True) == {}
    assert reasons(outputs=[RUN], inputs=[]) == {}


def test_a_file_that_two_records_claim_has_no_source(recorded):
    (recorded.parent / "earlier.json").write_text(recorded.read_text())
    assert read_outputs("results/logs")["scores/cola.csv"].made_from is None


def test_a_job_records_its_inputs_as_they_were_before_it_ran(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / RUN, "before")
    before = sha256(tmp_path / RUN)
    snakemake = SimpleNamespace(input=[RUN, "results"], params=SimpleNamespace(**PARAMS, items=PARAMS.items))
    source = JobSource(snakemake, "an address")
    source.read()
    write(tmp_path / RUN, "after")
    made_from = source.made_from(str(tmp_path / "results"))
    assert (made_from.inputs, made_from.code) == ({RUN[8:]: before}, "a")
    assert made_from.params == params_digest(PARAMS | {"code": "another"}) != params_digest({"references": {}})


def test_a_job_whose_code_is_edited_while_it_runs_fails(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text("import lora_core.stats\n")
    params = SimpleNamespace(**PARAMS, items=PARAMS.items)
    source = JobSource(SimpleNamespace(input=[], params=params), str(script))
    source.read()
    assert source.made_from("results").inputs == {}
    code = source._code
    assert code is not None
    edited = dict.fromkeys(code._lines, b"other")
    monkeypatch.setattr(code, "_lines", edited)
    monkeypatch.setattr(code, "_imported", set())
    with pytest.raises(ValueError, match="was edited while this job started or ran"):
        source.made_from("results")
