"""Results that are not what their records say are refused by name; those of another configuration are made again."""

import os
import re
import shutil
import time

import pytest
from builders import write_run
from faults import STUDY, TABLE
from project import rules

from lora_core.config.foreign import NOT_WRITTEN
from lora_core.records import read_json, write_json
from lora_core.sealed_csv import read_sealed_rows, write_sealed_rows

LORA_RUN = "runs/lora/cola/seed1"
EDIT = """
layers = Path("lora_core/methods/layers.py")
layers.write_text(layers.read_text() + "\\nEDITED = 1\\n")
"""
MADE_AGAIN = "rerun because"
EVERYTHING = [TABLE, "results/energy/cola.csv", "results/merged/lora/cola/seed1", "results/runs.csv"]


@pytest.fixture
def study(project, finished):
    """A finished study, to be harmed."""
    project.take(finished)
    return project


def edit(path, **changes):
    """Change numbers of a run's score and energy as somebody might by hand."""
    record = read_json(path)
    for name, value in changes.items():
        *parents, last = name.split("__")
        section = record
        for parent in parents:
            section = section[parent]
        section[last] = value
    write_json(path, record)


def forget(study):
    """Leave what an unpacked archive has: no memory of Snakemake, and the time stamps of its unpacking."""
    shutil.rmtree(study.folder / ".snakemake")
    order = ("runs", "merged", "data", "models")  # what others are made from is newer
    for number, name in enumerate(order):
        for file in [study.results / name, *(study.results / name).rglob("*")]:
            os.utime(file, (time.time() - 100 + number,) * 2)


@pytest.mark.faults
def test_an_edited_score_is_refused_by_name(study):
    record = study.results / LORA_RUN / "run.json"
    edit(record, measurement__score__best=0.99)
    status, output = study.run(TABLE)
    assert status != 0
    assert f"{LORA_RUN}/run.json was edited after it was written" in output
    assert f"delete the folder results/{LORA_RUN} and run again" in output
    # Somebody who computes the digest again is contradicted by the predictions.
    write_run(record, read_json(record))
    status, output = study.run(TABLE)
    assert status != 0
    assert f"{LORA_RUN}/run.json says score.best = 0.99, but its files give" in output


@pytest.mark.faults
def test_an_edited_time_is_refused_by_name(study):
    record, history = (study.results / LORA_RUN / name for name in ("run.json", "history.csv"))
    size = record.stat().st_size
    edit(record, measurement__train_seconds=0.001)
    write_run(record, read_json(record))
    record.write_text(record.read_text().ljust(size))  # a smaller file would be made again
    status, output = study.run("results/energy/cola.csv")
    assert status != 0
    assert f"{LORA_RUN}/run.json says train_seconds = 0.001, but its files give" in output
    assert history.is_file()


@pytest.mark.faults
@pytest.mark.parametrize(
    ("file", "target"), [("scores/cola.csv", TABLE), ("energy/cola.csv", "results/tables/table6.md")]
)
def test_an_intermediate_table_that_was_edited_or_is_of_another_study_is_made_again(study, file, target):
    path = study.results / file
    status, output = study.run(target)
    assert status == 0, output
    before, table = path.read_bytes(), (study.results / target.removeprefix("results/")).read_bytes()
    header, row, *rest = read_sealed_rows(path, file)
    row = [cell.replace("0.", "0.9", 1) for cell in row]
    write_sealed_rows(path, [header, row, *rest], file)  # sealed, as that of another study is
    status, output = study.run(target)
    assert status == 0, output
    assert f"{MADE_AGAIN} {NOT_WRITTEN}: results/{file}" in output
    assert path.read_bytes() == before
    assert (study.results / target.removeprefix("results/")).read_bytes() == table
    # Without exit records only its seal is left.
    shutil.rmtree(study.results / "logs")
    path.write_bytes(before.replace(b"0.", b"0.9", 1))
    status, output = study.run(target)
    assert status != 0
    assert f"{file} was edited after it was written" in output


@pytest.mark.faults
def test_a_run_in_the_folder_of_another_is_made_again(study, undisturbed):
    shutil.rmtree(study.results / "runs/fft/cola/seed1")
    shutil.copytree(study.results / LORA_RUN, study.results / "runs/fft/cola/seed1")
    status, output = study.run(TABLE)
    assert status == 0, output
    assert f"{MADE_AGAIN} it is the record of lora/cola/seed1: results/runs/fft/cola/seed1/run.json" in output
    assert (study.results / "scores/cola.csv").read_bytes() == undisturbed["scores/cola.csv"]


@pytest.mark.faults
def test_results_with_other_settings_are_made_again_without_a_memory(study):
    forget(study)
    study.configure(**STUDY, method_settings__lora__rank=2)
    plan = study.plan(*EVERYTHING)
    assert {job for job in plan if job.startswith(("train", "merge"))} == {
        "train method=lora, task=cola, seed=1", "merge_adapter method=lora, task=cola, seed=1",
    }  # fmt: skip
    _, output = study.run("-n", TABLE)
    assert f"{MADE_AGAIN} settings differ (rank 8 -> 2): results/{LORA_RUN}/run.json" in output
    study.configure(**STUDY, data__max_length=16)
    assert rules(study.plan(TABLE)) >= {"tokenize_dataset", "train", "compare_scores"}
    # What nobody asks for is not made again.
    assert study.plan("results/counts.json") <= {"count_parameters"}


@pytest.mark.faults
def test_an_unpacked_study_has_nothing_to_do(study):
    status, output = study.run(*EVERYTHING)
    assert status == 0, output
    forget(study)
    assert "Nothing to be done" in study.run(*EVERYTHING)[1]
    # What takes seconds is compared, too.
    study.configure(**STUDY, references__adapter=None)
    assert rules(study.plan(*EVERYTHING)) == {"compare_scores", "aggregate_energy", "render_table"}
    study.configure(**STUDY | {"methods": ["lora"]})
    assert rules(study.plan("results/runs.csv")) == {"collect_runs", "check_memory"}


@pytest.mark.faults
def test_files_from_the_future_cost_no_run(study):
    kept = study.results / "runs/fft/cola/seed1/run.json"
    before = kept.read_bytes()
    shutil.rmtree(study.results / LORA_RUN)
    for file in [*study.results.rglob("*"), *study.results.rglob(".snakemake_timestamp")]:
        os.utime(file, (time.time() + 3600,) * 2)
    status, output = study.run(TABLE, f"results/{LORA_RUN}/run.json")
    assert status == 0, output
    assert "files were dated in the future" in output
    assert kept.read_bytes() == before
    assert "Nothing to be done" in study.run(TABLE)[1]


@pytest.mark.faults
def test_a_run_that_other_code_made_is_made_again_when_the_code_is_put_back(study):
    record = study.results / LORA_RUN / "run.json"
    assert re.fullmatch("[0-9a-f]{16}", read_json(record)["provenance"]["code"])
    record.unlink()
    layers = study.folder / "lora_core/methods/layers.py"
    original = layers.read_bytes()
    # After the plan is made and before the job imports it, as an editor may.
    script = study.folder / "workflow/scripts/train.py"
    planned = script.read_text()
    script.write_text(planned.replace("with job_log", EDIT + "with job_log", 1))
    status, output = study.run(f"results/{LORA_RUN}/run.json")
    assert status == 0, output
    assert layers.read_bytes() != original
    layers.write_bytes(original)
    script.write_text(planned)
    _, output = study.run("-n", TABLE)
    files = "lora_core/methods/layers.py, workflow/scripts/train.py"
    assert f"{MADE_AGAIN} the code changed ({files}): results/{LORA_RUN}/run.json" in output


@pytest.mark.faults
def test_a_table_that_other_code_made_is_made_again(study):
    record = study.results / "logs/render_table/table2.json"
    assert re.fullmatch("[0-9a-f]{16}", read_json(record)["made_from"]["code"])
    edit(record, made_from__code="0" * 16)  # as if the code was edited while the study ran, and put back
    assert study.plan(TABLE) == {"render_table table=table2"}
    assert f"{MADE_AGAIN} the code changed: results/tables/table2." in study.run("-n", TABLE)[1]
    assert study.run(TABLE)[0] == 0
    assert study.plan(TABLE) == set()


@pytest.mark.faults
@pytest.mark.parametrize(
    ("name", "change", "remedy"),
    [
        ("data/cola/card.json", {"train__baseline_score": 0.5}, "delete the folder results/data/cola"),
        ("models/random-bert.json", {"files": {}}, "delete results/models/random-bert and results/models/random-bert."),
        ("merged/lora/cola/seed1.json", {"made_from": {}}, "delete results/merged/lora/cola/seed1 and results/merged/"),
    ],
)
def test_an_edited_record_of_data_or_a_model_is_refused_by_name(study, name, change, remedy):
    status, output = study.run(*EVERYTHING)
    assert status == 0, output
    record = study.results / name
    size = record.stat().st_size
    edit(record, **change)
    record.write_text(record.read_text().ljust(size))
    status, output = study.run(*EVERYTHING)
    assert status != 0
    assert f"{name} was edited after it was written" in output
    assert remedy in output
