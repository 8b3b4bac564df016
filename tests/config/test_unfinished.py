"""A result is unfinished if its file is empty, or smaller than the job that made it recorded."""

import json
import os
import shutil

import pytest

from lora_core.config import unfinished
from lora_core.config.unfinished import CUT_OFF, EMPTY, INCOMPLETE
from lora_core.job_records import read_outputs

MADE = {"report.html": 9, "tables/table2.md": 1200, "merged/lora/cola/seed1/a": 4, "merged/lora/cola/seed1/below/b": 5}
RECORD = "logs/write_report.json"


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A results folder whose jobs have finished."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results"
    for name, size in MADE.items():
        write(folder / name, "x" * size)
    write(folder / RECORD, json.dumps({"state": "finished", "outputs": MADE}))
    write(folder / "logs/write_report.log", "")
    return folder


def unfinished_products(results):
    return unfinished.unfinished_products(results, read_outputs(f"{results}/logs"))


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_what_is_as_it_was_made_is_finished(results):
    assert unfinished_products("results") == {}


def test_a_file_that_is_larger_or_older_than_it_was_is_finished(results):
    write(results / "report.html", "x" * 10)
    os.utime(results / "tables/table2.md", (1, 1))
    assert unfinished_products("results") == {}


@pytest.mark.parametrize("results_dir", ["relative", "absolute"])
@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("size", [0, 3])
def test_an_empty_or_cut_off_file_is_named(results, results_dir, name, size):
    place = "results" if results_dir == "relative" else str(results)
    write(results / name, "x" * size)
    found = unfinished_products(place)
    assert found[f"{place}/{name}"] == (CUT_OFF if size else EMPTY)
    assert (f"{place}/merged/lora/cola/seed1" in found) == name.startswith("merged")


@pytest.mark.parametrize("record", [None, "", "{", "[]", '{"outputs": 3}', '{"outputs": {"report.html": []}}', "\0\0"])
def test_without_an_exit_record_only_emptiness_counts(results, record):
    write(results / "report.html", "x")
    write(results / "tables/table2.md", "")
    if record is None:
        (results / RECORD).unlink()
    else:
        write(results / RECORD, record)
    assert set(unfinished_products("results")) == {"results/tables", "results/tables/table2.md"}


def test_a_product_that_is_missing_is_left_to_snakemake(results):
    (results / "report.html").unlink()
    (results / "tables/table2.md").unlink()
    shutil.rmtree(results / "merged/lora/cola/seed1")
    products = {"results/report.html", "results/tables/table2.md", "results/merged/lora/cola/seed1"}
    assert not products & set(unfinished_products("results"))


def test_a_file_that_is_missing_in_a_folder_makes_the_folder_unfinished(results):
    (results / "merged/lora/cola/seed1/below/b").unlink()
    reason = unfinished_products("results")["results/merged/lora/cola/seed1"]
    assert reason == INCOMPLETE


def test_a_file_that_its_job_left_empty_is_finished(results):
    write(results / "report.html", "")
    write(results / RECORD, json.dumps({"outputs": MADE | {"report.html": 0}}))
    assert unfinished_products("results") == {}


def test_of_two_records_of_a_file_the_smaller_size_counts(results):
    write(results / "logs/of_an_earlier_version.json", json.dumps({"outputs": {"report.html": 4}}))
    write(results / "report.html", "x" * 5)
    assert unfinished_products("results") == {}


def test_logs_checkpoints_and_hidden_files_are_no_results(results):
    for name in ("logs/train.log", "checkpoints/a/key", "runs/lora/.lock", ".cache/a"):
        write(results / name, "")
    assert unfinished_products("results") == {}


def test_links_are_followed_and_one_that_leads_back_ends(results, tmp_path):
    (results / "models").symlink_to(tmp_path / "elsewhere")
    write(tmp_path / "elsewhere/bert/config.json", "")
    (results / "loop").symlink_to(results)
    (results / "nowhere").symlink_to(tmp_path / "nothing")
    assert "results/models/bert" in unfinished_products("results")


def test_special_files_are_not_read(results):
    os.mkfifo(results / "fifo.json")
    os.mkfifo(results / "logs/fifo.json")
    assert unfinished_products("results") == {}


def test_a_study_without_results_has_nothing_unfinished(tmp_path):
    assert unfinished_products(str(tmp_path / "none")) == {}
