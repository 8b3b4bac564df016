"""Records without their seal, those of the first version, and files of another task: none is believed."""

import re
import shutil
import zipfile
from pathlib import Path

import pytest
from builders import ROOT, merged, metered_run, scored

from lora_core.commands.compare import compare_studies
from lora_core.commands.studies import load_study
from lora_core.commands.summary import _records, format_summary
from lora_core.evaluation.frames import read_costs, read_curves, read_differences, read_scores
from lora_core.evaluation.gradients import read_gradients
from lora_core.evaluation.memory_fit import read_predictions
from lora_core.evaluation.run_record import RunRecord
from lora_core.intact import check_weights
from lora_core.kept_runs import KeptRun, read_kept, write_kept
from lora_core.layout import Layout, place
from lora_core.records import read_json, write_json
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
