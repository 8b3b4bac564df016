"""Files that are there but not finished are made again by the same command; finished ones are never lost."""

import os

import pytest
from builders import HANG_SECONDS
from faults import COMPARED, TABLE
from project import Project, rules

from lora_core.config.unfinished import CUT_OFF, EMPTY
from lora_core.records import read_json

RUN = "results/runs/lora/cola/seed1"


def empty(file):
    file.write_bytes(b"")


def cut(file):
    file.write_bytes(file.read_bytes()[:-2])  # without its last newline alone, JSON is whole


def test_only_the_unfinished_results_that_a_target_needs_are_made_again(project, finished):
    project.take(finished)
    empty(project.results / "tables/table1.md")
    cut(project.results / "scores/cola.csv")
    cut(next((project.results / "merged/lora/cola/seed1").glob("*.safetensors")))
    before = {file: file.read_bytes() for file in project.results.rglob("*") if file.is_file()}
    plans = {
        "results/tables/table7.md": set(),
        "results/runs.csv": set(),
        "results/tables/table1.md": {"render_table"},
        TABLE: {"compare_scores", "render_table"},
        "results/merged/lora/cola/seed1": {"merge_adapter"},
    }
    for target, plan in plans.items():
        status, output = project.run("-n", target)
        assert status == 0, output
        assert ("made again, because it is " in output) == bool(plan), target
        assert rules(project.plan(target)) == plan
    assert before == {file: file.read_bytes() for file in project.results.rglob("*") if file.is_file()}


@pytest.mark.faults
@pytest.mark.parametrize("harm", [empty, cut])
@pytest.mark.parametrize("records", ["with exit records", "without Snakemake's memory"])
def test_every_file_that_a_loss_of_power_emptied_or_cut_off_is_made_again(project, finished, finish, harm, records):
    project.take(finished)
    files = [
        "tables/table1.md", "tables/table2.csv", "tables/table7.json", "runs.csv", "energy/cola.csv", "scores/cola.csv",
        "merged/lora/cola/seed1.json", "counts.json", "runs/lora/cola/seed1/history.csv",
    ]  # fmt: skip
    for name in files:
        harm(project.results / name)
    harm(next((project.results / "merged/lora/cola/seed1").glob("*.safetensors")))
    if records == "without Snakemake's memory":
        for file in (project.folder / ".snakemake").rglob("*"):
            if file.is_file():
                empty(file)
        if harm is empty:
            for file in (project.results / "logs").rglob("*.json"):
                empty(file)
    output = finish(*COMPARED)
    assert f"made again, because {EMPTY if harm is empty else CUT_OFF}: " in output
    assert "Nothing to be done" in finish(*COMPARED)


@pytest.mark.faults
def test_a_crash_of_the_interpreter_after_a_run_is_finished_loses_nothing(project, finish):
    process = project.begin("exit")
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0, output
    project.note()
    assert len(project.whole) == 2
    assert "Nothing to be done" in finish()


@pytest.mark.faults
def test_of_two_studies_that_start_in_one_folder_at_the_same_moment_one_is_refused(ready, tmp_path):
    results = tmp_path / "results"
    studies = [Project(tmp_path / name, ready) for name in ("one", "two")]
    for seed, study in enumerate(studies):
        study.configure(results_dir=str(results), data__seed=seed)
    processes = [study.start(f"{results}/tables/table1.md") for study in studies]
    outputs = [process.communicate(timeout=HANG_SECONDS)[0] for process in processes]
    statuses = [process.returncode for process in processes]
    assert sorted(status != 0 for status in statuses) == [False, True], outputs
    refused = outputs[0 if statuses[0] else 1]
    assert "holds results for another data" in refused
    assert "Traceback" not in refused
    assert read_json(results / "study.json")["data"]["seed"] == statuses.index(0)


@pytest.mark.parametrize("content", ["", "{"])
def test_a_damaged_note_of_an_owner_blocks_no_command(project, finished, content):
    project.take(finished)
    note = project.folder / ".snakemake/owners/1.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(content)
    (project.results / "tables/table1.md").unlink()
    assert project.unlock() == ""
    status, output = project.run("results/tables/table1.md")
    assert status == 0, output
    assert not note.exists()


@pytest.mark.parametrize("name", [".weights.{pid}.part", ".weights.{pid}-1-abc.part"])
def test_a_process_id_that_comes_back_does_not_block_a_file(name, tmp_path):
    from lora_core.atomic_files import atomic_folder

    (tmp_path / name.format(pid=os.getpid())).mkdir()
    with atomic_folder(tmp_path / "weights") as folder:
        (folder / "a").write_text("a")
    assert [file.name for file in tmp_path.iterdir()] == ["weights"]
