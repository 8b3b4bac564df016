"""The example of a search with Optuna: each trial is a study of its own, and a search goes on where it stopped."""

import json
import os
import sqlite3
import subprocess

import pytest
from builders import ROOT
from other_tools import run_python
from project import Project

pytestmark = pytest.mark.packaging

OPTUNA = ("optuna==5.0.0", "alembic==1.20.1", "colorlog==6.12.0", "mako==1.4.3")
SEARCH = ROOT / "examples" / "search.py"


@pytest.fixture(scope="module")
def searched(peers, tmp_path_factory):
    """A project in which a search made two trials, and then, called again for three, a third; the output of both."""
    project = Project(tmp_path_factory.mktemp("search") / "project")
    project.configure(
        model__config__num_hidden_layers=1, data__max_train_examples=16, data__max_validation_examples=16,
        method_settings__lora__hyperparameters={"epochs": 1},
    )  # fmt: skip
    outputs = []
    for trials in ("2", "3"):
        options = ["--cores", "1", "--configfile", "tiny.yaml"]
        command = [peers(*OPTUNA), SEARCH, "results/search", "cola", trials, *options]
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        outputs.append(done.stdout)
    return project, outputs


def trials_of(project):
    """`{number: (state, {parameter: value}, score)}` of a search."""
    with sqlite3.connect(project.folder / "results/search/search.db") as database:
        rows = database.execute("SELECT trial_id, number, state FROM trials").fetchall()
        parameters = database.execute("SELECT trial_id, param_name, param_value FROM trial_params").fetchall()
        scores = dict(database.execute("SELECT trial_id, value FROM trial_values").fetchall())
    return {
        number: (state, {name: value for owner, name, value in parameters if owner == trial}, scores.get(trial))
        for trial, number, state in rows
    }


def test_each_trial_is_a_study_in_a_folder_of_its_own_with_its_own_settings(searched):
    project, outputs = searched
    trials = trials_of(project)
    assert sorted(trials) == [0, 1, 2]
    for number, (state, parameters, score) in trials.items():
        record = json.loads(
            (project.folder / f"results/search/trial{number}/runs/lora/cola/seed1/run.json").read_text()
        )
        assert state == "COMPLETE"
        assert record["measurement"]["score"]["last"] == score
        assert record["run"]["hyperparameters"]["learning_rate"] == parameters["learning_rate"]
        assert record["run"]["settings"]["rank"] == record["run"]["settings"]["alpha"]
    assert "best of 2 trials" in outputs[0]
    assert "best of 3 trials" in outputs[1]


def test_a_search_that_goes_on_proposes_new_trials(searched):
    proposed = [tuple(parameters.items()) for _, parameters, _ in trials_of(searched[0]).values()]
    assert len(set(proposed)) == 3


# Runs in Optuna's environment: the search with a stand-in for snakemake, which writes one score for each trial. Instead
# of a score, a trial may fail, be interrupted, or kill the process.
IN_PROCESS = """
import importlib.util, json, os, sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("search", sys.argv[1])
search = importlib.util.module_from_spec(spec)
spec.loader.exec_module(search)
folder = Path(sys.argv[2])
outcomes = sys.argv[3].split(",")

def run_snakemake(results, task, settings, options):
    outcome = outcomes[int(results.name.removeprefix("trial"))]
    if outcome == "failed":
        raise search.TrialFailed("snakemake ended with status 1")
    if outcome == "interrupted":
        raise KeyboardInterrupt
    if outcome == "killed":
        os._exit(0)
    results.mkdir(parents=True)
    (results / "run.json").write_text(json.dumps({"measurement": {"score": {"last": float(outcome)}}}))
    return [results / "run.json"]

search.run_snakemake = run_snakemake
try:
    search.search(folder, "cola", int(sys.argv[4]), [])
except KeyboardInterrupt:
    sys.exit(0)
study = search.open_study(folder)
print(json.dumps([[t.state.name, t.params] for t in study.trials]))
print(json.dumps(study.best_value))
"""


def in_process(python, folder, outcomes, trials):
    """The state and the parameters of each trial of a search with these outcomes, and the best score."""
    output = run_python(python, IN_PROCESS, SEARCH, folder / "search", outcomes, str(trials), folder=folder)
    return [json.loads(line) for line in output.splitlines()[-2:]]


def test_a_score_that_is_no_number_and_a_failed_snakemake_are_failed_trials(peers, tmp_path):
    trials, best = in_process(peers(*OPTUNA), tmp_path, "nan,inf,-inf,failed,0.5", 5)
    assert [state for state, _ in trials] == ["FAIL"] * 4 + ["COMPLETE"]
    assert best == 0.5


@pytest.mark.parametrize("end", ["interrupted", "killed"])
def test_the_trial_in_which_a_search_was_stopped_is_tried_again(peers, tmp_path, end):
    python = peers(*OPTUNA)
    assert in_process(python, tmp_path, f"0.1,{end}", 3) == []
    trials, best = in_process(python, tmp_path, f"0.1,{end},0.7,0.3", 4)
    assert [state for state, _ in trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    parameters = [parameters for _, parameters in trials]
    assert parameters[1] == parameters[2]
    assert parameters[0] != parameters[1] != parameters[3]
    assert best == 0.7
