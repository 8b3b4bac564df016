"""Files that are there but not finished are made again by the same command; finished ones are never lost."""

import csv
import os
import re

import pandas as pd
import pytest
from builders import HANG_SECONDS
from faults import COMPARED, TABLE
from project import Project, rules

from lora_core.config.unfinished import CUT_OFF, EMPTY, ZEROED, ZEROED_END, unfinished_products
from lora_core.evaluation.frames import read_costs, read_curves, read_differences, read_scores
from lora_core.records import PowerRow, read_json, read_rows, write_rows
from lora_core.reporting.page.report import _read_claims
from lora_core.reporting.page.runs_table import read_runs
from lora_core.sealed import SEAL
from lora_core.sealed_csv import read_sealed_csv, write_sealed_csv

RUN = "results/runs/lora/cola/seed1"


def empty(file):
    file.write_bytes(b"")


def cut(file):
    file.write_bytes(file.read_bytes()[:-2])  # without its last newline alone, JSON is whole


def zero(file):
    file.write_bytes(bytes(file.stat().st_size))


def keep_the_header(file):
    """Only the names of columns, at the same size."""
    content = file.read_bytes()
    file.write_bytes((content.splitlines()[0] + b"\n").ljust(len(content), b"\n"))


def blank(file):
    file.write_bytes(b" " * file.stat().st_size)


def no_text(file):
    """Bytes that are not UTF-8 after the first line."""
    content = file.read_bytes()
    file.write_bytes(content[: content.index(b"\n") + 1].ljust(len(content), b"\xff"))


@pytest.mark.faults
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
        assert ("rerun because it is " in output) == bool(plan), target
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
    assert f"rerun because {EMPTY if harm is empty else CUT_OFF}: " in output
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
    assert "holds results for other data" in refused
    assert "Traceback" not in refused
    assert read_json(results / "study.json")["data"]["seed"] == statuses.index(0)


@pytest.mark.faults
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


# --- texts of the same size with another content --------------------------------------------------------------------

RUNS = pd.DataFrame({"method": ["fft", "lora"], "seed": [1, 1], "best": [0.5, 0.6]})
SAMPLE = PowerRow(0.0, 0, "idle", "cpu", None, None, None, None)
READERS = {
    "scores/cola.csv": lambda file: read_scores([file]),
    "scores/cola_differences.csv": lambda file: read_differences([file]),
    "energy/cola.csv": lambda file: read_costs([file]),
    "energy/cola_curve.csv": lambda file: read_curves([file]),
    "runs.csv": read_runs,
    "claims.csv": _read_claims,
    "power.csv": lambda file: read_rows(file, PowerRow),
}


@pytest.mark.parametrize("harm", [empty, zero, keep_the_header, blank, no_text])
@pytest.mark.parametrize("name", READERS)
def test_a_csv_file_that_lost_its_rows_is_refused_by_name(tmp_path, name, harm):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    if name == "power.csv":
        write_rows(file, [SAMPLE] * 9, PowerRow)
    elif name == "claims.csv":
        pd.DataFrame({"claim": ["x"], "verdict": ["reproduced"]}).to_csv(file, index=False)
    else:
        write_sealed_csv(file, RUNS)
    harm(file)
    if (name, harm) == ("power.csv", keep_the_header):  # a job that is killed at once leaves no sample
        assert READERS[name](file) == []
        return
    with pytest.raises(ValueError, match=rf"^[^\n]*{name}[^\n]*; delete it and run again$"):
        READERS[name](file)


def test_a_study_with_one_method_has_no_differences(tmp_path):
    (tmp_path / "scores").mkdir()
    file = tmp_path / "scores/cola_differences.csv"
    write_sealed_csv(file, RUNS[:0])
    assert file.read_text() == "method,seed,best\n"
    assert read_differences([file]).empty
    file.write_text(f"method,seed,best,{SEAL}\n")  # what is left of a file that had rows
    with pytest.raises(ValueError, match="its rows are missing"):
        read_sealed_csv(file)


def test_a_cell_that_is_too_long_for_the_reader_is_refused_by_name(tmp_path):
    file = tmp_path / "power.csv"
    write_rows(file, [SAMPLE], PowerRow)
    with file.open("a") as stream:
        stream.write("9" * (csv.field_size_limit() + 1))
    with pytest.raises(ValueError, match=r"power\.csv is damaged \(field larger than field limit"):
        read_rows(file, PowerRow)


@pytest.mark.parametrize(
    "name",
    [
        "tables/table1.md", "tables/table1.csv", "figures/scores.svg", "runs.csv", "counts.json", "data/cola/card.json",
        "data/cola/train.safetensors", "latency/cola/seed1.csv", "merged/lora/cola/seed1/model.safetensors",
        "models/bert/model.safetensors", "models/bert/config.json", f"{RUN[8:]}/history.csv", f"{RUN[8:]}/README.md",
        f"{RUN[8:]}/predictions.safetensors", f"{RUN[8:]}/weights/adapter_model.safetensors",
    ],
)  # fmt: skip
def test_a_file_of_zero_bytes_is_unfinished(tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("method,best\nlora,1\n")
    assert unfinished_products(str(tmp_path), {}) == {}
    zero(file)
    assert unfinished_products(str(tmp_path), {})[str(file)] == ZEROED


@pytest.mark.parametrize("zeros", [1, 63, 64, 5000])
def test_a_page_with_zeros_at_its_end_is_unfinished(tmp_path, zeros):
    file = tmp_path / "report.html"
    file.write_text("<p>" * 3000)
    assert unfinished_products(str(tmp_path), {}) == {}
    file.write_bytes(file.read_bytes()[:-zeros] + bytes(zeros))
    assert unfinished_products(str(tmp_path), {})[str(file)] == ZEROED_END


@pytest.mark.faults
def test_every_product_of_zero_bytes_is_made_again(project, finished, finish):
    project.take(finished)
    files = [
        "tables/table1.md",
        "tables/table2.csv",
        "tables/table7.json",
        "runs.csv",
        "energy/cola.csv",
        "counts.json",
    ]
    files += ["scores/cola.csv", "scores/cola_differences.csv"]
    files += ["merged/lora/cola/seed1/model.safetensors"]
    before = {name: (project.results / name).read_bytes() for name in files}
    for name in files:
        zero(project.results / name)
    assert f"rerun because {ZEROED}: " in finish(*COMPARED)
    assert {name: (project.results / name).read_bytes() for name in files} == before
    assert "Nothing to be done" in finish(*COMPARED)


# --- what is no file where the study writes one ---------------------------------------------------------------------

KINDS = {
    "folder": (lambda path: path.mkdir(), "is a folder, but the study writes there"),
    "link to a folder": (lambda path: path.symlink_to(path.parent), "is a folder, but the study writes there"),
    "pipe": (os.mkfifo, "is a pipe, a socket or a device, but"),
    "link to nothing": (lambda path: path.symlink_to("nowhere"), "is a link to 'nowhere', which is no file, but"),
    "link to itself": (
        lambda path: path.symlink_to(path.name),
        "is a link to .*, which is no file, but",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["report.html", "claims.md", "tables/table2.md", f"{RUN[8:]}/run.json"])
def test_what_is_no_file_is_named_where_the_study_writes_one(tmp_path, name, kind):
    make, sentence = KINDS[kind]
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    make(file)
    with pytest.raises(ValueError, match=f"^{re.escape(str(file))} {sentence}.*; move it away, or remove it, and run"):
        unfinished_products(str(tmp_path), {})


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "folder" not in kind])
@pytest.mark.parametrize("name", ["data", "runs/lora", "merged/lora/cola/seed1"])
def test_what_is_no_folder_is_named_where_the_study_has_one(tmp_path, name, kind):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    KINDS[kind][0](file)
    with pytest.raises(ValueError, match=re.escape(name)):
        unfinished_products(str(tmp_path), {})


def test_what_the_study_does_not_write_is_left_as_it_is(tmp_path):
    for name in ("notes", "mine.csv", "logs", "checkpoints"):
        (tmp_path / name).symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("runs/lora.md", "models/a.json", "data/mine.csv", "merged/a.json"):  # names of a method, model, task
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/loop").symlink_to("loop")
    zero_after = tmp_path / "tables/table1.md"
    zero_after.write_bytes(bytes(9))
    with pytest.raises(ValueError, match="loop"):  # it hides no other file of its folder
        unfinished_products(str(tmp_path), {})
    (tmp_path / "tables/loop").unlink()
    assert unfinished_products(str(tmp_path), {})[str(zero_after)] == ZEROED


@pytest.mark.faults
def test_a_link_to_nothing_in_place_of_a_page_is_named_by_every_start(project, finished):
    project.take(finished)
    page = project.results / "report.html"
    page.symlink_to("nowhere")
    for arguments in ((TABLE,), ("-n", "results/report.html")):
        status, output = project.run(*arguments)
        assert status != 0
        assert "results/report.html is a link to 'nowhere', which is no file, but the study writes there" in output
        assert "Traceback" not in output
    page.unlink()
    assert project.run(TABLE)[0] == 0
