"""The real snakemake on a study that was copied or touched: contents count, at any size, and time stamps do not."""

import os
import shutil
import time

import pytest
from project import Project, rules

ROWS = 25_000  # 1.5 MB a split
TARGETS = [
    f"results/{name}"
    for name in ("tables/table2.md", "tables/table3.md", "figures/power.svg", "figures/loss_curves.svg")
]
# What Snakemake compares by itself without the project's profile, so that the files of data are above it.
SMALL = ["--max-checksum-file-size", "1MB"]
TASK = {"path": "reviews", "texts": ["text"], "labels": ["no", "yes"]}


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    """A finished study of a user's own task, whose files are large."""
    project = Project(tmp_path_factory.mktemp("reviews") / "project")
    (project.folder / "reviews").mkdir()
    for split in ("train", "validation"):
        rows = (
            f"review number {row:06} of many that people write every day,{('no', 'yes')[row % 2]}"
            for row in range(ROWS)
        )
        file = project.folder / "reviews" / f"{split}.csv"
        file.write_text("text,label\n" + "\n".join(rows) + "\n")
        assert file.stat().st_size > 1_400_000
    project.configure(tasks=["reviews"], task_settings={"reviews": TASK}, seeds=[1])
    status, output = project.run(*TARGETS)
    assert status == 0, output
    return project


@pytest.fixture
def copied(reviews, tmp_path):
    """A copy of it in another folder, every file newer than all that came before."""
    project = Project.__new__(Project)
    project.folder = tmp_path / "copy"
    shutil.copytree(reviews.folder, project.folder, copy_function=shutil.copyfile)
    # The order in which they are made is reversed: what others are made from is newer.
    for number, folder in enumerate(
        ("results", "results/merged", "results/runs", "results/data", "results/models", "reviews")
    ):
        for file in (project.folder / folder).rglob("*"):
            os.utime(file, (time.time() - 100 + number,) * 2)
    return project


def test_a_copied_study_has_nothing_to_do(copied):
    status, output = copied.run("-n", *SMALL, *TARGETS)
    assert (status, "Nothing to be done" in output) == (0, True), output


def test_changed_data_of_the_same_size_runs_again(copied):
    file = copied.folder / "reviews" / "train.csv"
    file.write_text(file.read_text().replace("number 000001 of", "number 000002 of"))
    assert {"tokenize_dataset", "train", "time_inference"} <= rules(copied.plan(*SMALL, *TARGETS))


def test_older_data_of_another_size_runs_again(copied):
    file = copied.folder / "reviews" / "validation.csv"
    file.write_text(file.read_text().removesuffix("\n"))
    os.utime(file, (1e9, 1e9))
    assert {"tokenize_dataset", "train"} <= rules(copied.plan(*SMALL, *TARGETS))
