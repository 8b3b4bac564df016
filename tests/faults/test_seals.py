"""Records without their seal, those of the first version, and files of another task: none is believed."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from builders import ROOT, merged, metered_run, scored

from lora_core.commands.compare import compare_studies
from lora_core.commands.studies import load_study
from lora_core.commands.summary import _records, format_summary
from lora_core.config.foreign import NOT_WRITTEN, foreign_products
from lora_core.evaluation.frames import read_costs, read_curves, read_differences, read_scores
from lora_core.evaluation.gradients import read_gradients
from lora_core.evaluation.memory_fit import read_predictions
from lora_core.evaluation.run_record import RunRecord
from lora_core.intact import check_weights
from lora_core.job_records import read_outputs
from lora_core.kept_runs import KeptRun, read_kept, write_kept
from lora_core.layout import Layout, place
from lora_core.records import file_digests, read_json, write_json
from lora_core.sealed import SEAL, seal
from lora_core.sealed_csv import write_sealed_rows

# --- records that lost their seal, and those that never had one -----------------------------------------------------


def without_seal(file):
    """Take the line with the digest out of a record, as somebody might who edits it by hand."""
    write_json(file, {name: value for name, value in read_json(file).items() if name != SEAL})


def test_a_run_without_its_seal_is_refused_by_name(tmp_path):
    record = metered_run(tmp_path) / "run.json"
    without_seal(record)
    refused = (
        rf"run\.json was edited after it was written \(its {SEAL} is missing\); delete the folder .*/seed1 and run"
    )
    for read in (RunRecord.read, lambda file: check_weights(file.parent, file), lambda file: compared(tmp_path)):
        with pytest.raises(ValueError, match=refused):
            read(record)


def compared(folder):
    return compare_studies(folder, folder)


def test_a_decision_to_keep_a_run_without_its_seal_is_refused_by_name(tmp_path):
    write_kept(tmp_path / "run.json", KeptRun("lora", "cola", 1, "why", "2026-11-28", "0", "c0de", ["code: a.py"]))
    without_seal(tmp_path / "kept.json")
    with pytest.raises(ValueError, match=r"kept\.json was edited after it was written"):
        read_kept(tmp_path / "kept.json")


@pytest.fixture
def first_version(tmp_path):
    """The results of a study of the first version, whose records have no seal."""
    with zipfile.ZipFile(ROOT / "tests/fixtures/h200_study.zip") as archive:
        archive.extractall(tmp_path)
    changes = {"results_dir": str(tmp_path / "results"), "references": {"full": "fft", "adapter": "lora"}}
    study = load_study(read_json(tmp_path / "config.json") | changes)
    records = _records(study)
    drawn = (records.counts, *records.differences, *records.costs, Path(Layout(study.results_dir).report))
    for file in (*drawn, *records.latency, *records.latency_records):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return study


@pytest.mark.parametrize("name", ["score.best", "train_seconds", "energy.train_joules"])
def test_an_edited_run_of_the_first_version_is_not_shown(first_version, name):
    results = Path(first_version.results_dir)
    record = results / "runs/lora/cola/seed1/run.json"
    assert "Left out" not in compared(results)
    section, _, figure = name.rpartition(".")
    change = {figure: 0.125}
    write_json(record, merged(read_json(record), {"measurement": {section: change} if section else change}))
    says = f"{record} says {name} = 0.125, but its files give"
    assert f"- {says}" in compared(results)
    with pytest.raises(ValueError, match=re.escape(says)):
        format_summary(first_version)


# --- files that belong elsewhere ------------------------------------------------------------------------------------

ROWS = [["method", "seed", "best"], ["lora", 1, 0.5]]
READERS = {
    Layout.scores: read_scores,
    Layout.differences: read_differences,
    Layout.costs: read_costs,
    Layout.curve: read_curves,
    Layout.gradients: lambda files: read_gradients(files[0]),
    Layout.memory: lambda files: read_predictions(files, "resident"),
}


@pytest.mark.parametrize("pattern", READERS)
def test_a_computed_file_of_another_task_or_method_is_refused_by_name(tmp_path, pattern):
    first, second = (tmp_path / pattern.format(task=name, method=name) for name in ("cola", "rte"))
    first.parent.mkdir()
    if first.suffix == ".csv":
        write_sealed_rows(first, ROWS, place(pattern, first))
    else:
        write_json(first, seal({"kind": "resident"}, place(pattern, first)))
    shutil.copy(first, second)
    refused = rf"{second.name} was edited after it was written, or is the file of another task or method"
    with pytest.raises(ValueError, match=refused):
        READERS[pattern]([second])
    problem = ""
    try:
        READERS[pattern]([first])
    except (ValueError, KeyError) as error:  # it lacks columns, but it is in its place
        problem = str(error)
    assert "was edited" not in problem


def test_scores_that_an_earlier_version_sealed_are_read(tmp_path):
    (file,) = scored(tmp_path, ("lora", 1, 0.5, 0.5, 0.5, False))
    lines = [line.split(",") for line in file.read_text().splitlines()]
    write_sealed_rows(file, lines)
    assert read_scores([file])["best"].tolist() == [0.5]


# --- files that are not what their jobs wrote -----------------------------------------------------------------------

COMPUTED = [
    "counts.json", "gradients/lora.json", "scores/cola.csv", "scores/cola_differences.csv",
    "energy/cola.csv", "energy/cola_curve.csv", "runs.csv", "tables/table2.json",
]  # fmt: skip


KEPT = ["tables/table2.tex", "report.html", "figures/scores.svg", "memory/cola.json"]


@pytest.fixture
def made_by_jobs(tmp_path):
    """A results folder whose files a job recorded when it finished."""
    files = [tmp_path / name for name in (*COMPUTED, *KEPT)]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text("ours")
    log = tmp_path / "logs/all.log"
    program = f"with job_log({str(log)!r}, 'all', {list(map(str, files))!r}): pass"
    command = [sys.executable, "-c", f"from lora_core.job import job_log\n{program}"]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    return tmp_path


@pytest.mark.parametrize("name", COMPUTED)
def test_a_computed_file_that_is_not_what_its_job_wrote_is_made_again(made_by_jobs, name):
    recorded = read_outputs(str(made_by_jobs / "logs"))
    assert foreign_products(str(made_by_jobs), recorded) == {}
    (made_by_jobs / name).write_text("that of another study")
    assert foreign_products(str(made_by_jobs), recorded) == {f"{made_by_jobs}/{name}": NOT_WRITTEN}


def test_what_people_may_edit_what_runs_depend_on_and_what_older_jobs_made_is_left_as_it_is(made_by_jobs):
    for name in KEPT:
        (made_by_jobs / name).write_text("edited")
    assert foreign_products(str(made_by_jobs), read_outputs(str(made_by_jobs / "logs"))) == {}
    (made_by_jobs / "counts.json").write_text("edited")
    record = made_by_jobs / "logs/all.json"
    write_json(record, read_json(record) | {"digests": None})
    assert foreign_products(str(made_by_jobs), read_outputs(str(made_by_jobs / "logs"))) == {}


def test_a_file_that_two_rules_have_made_may_be_as_either_left_it(made_by_jobs):
    record, name = read_json(made_by_jobs / "logs/all.json"), "counts.json"
    (made_by_jobs / name).write_text("of the other rule")
    write_json(made_by_jobs / "logs/other.json", record | {"digests": file_digests(made_by_jobs, name)})
    found = read_outputs(str(made_by_jobs / "logs"))
    assert len(found[name].digests) == 2
    assert foreign_products(str(made_by_jobs), found) == {}


def test_a_summary_of_a_computed_file_of_another_study_is_refused(first_version):
    results = Path(first_version.results_dir)
    costs = results / "energy/cola.csv"
    digests = file_digests(results, "energy/cola.csv")
    write_json(results / "logs/costs.json", {"outputs": {"energy/cola.csv": 0}, "digests": digests})
    costs.write_text("that of another study")
    with pytest.raises(ValueError, match=r"^.*energy/cola\.csv is not what its job wrote; run the study again$"):
        format_summary(first_version)
