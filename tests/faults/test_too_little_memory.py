"""Batches that do not fit into memory: refused before anything is trained, and by later starts on a smaller machine."""

import shutil

import pytest
from faults import TABLE

LOW = ("--resources", "mem_mb=300")  # less than Python with torch alone


@pytest.mark.faults
def test_a_study_that_does_not_fit_ends_before_it_trains_and_goes_on_with_more_memory(project, finish):
    status, output = project.run(TABLE, *LOW)
    assert status != 0
    assert "fft on cola needs " in output
    assert "lora on cola needs " in output
    assert "and a job (mem_mb) has 300 MB; not even one example fits, so use a smaller model" in output
    assert "train lora cola" not in output
    assert not (project.results / "memory/cola.json").exists()
    assert "lora on cola needs" not in finish()


@pytest.mark.faults
def test_runs_that_are_left_are_refused_by_the_start_on_a_smaller_machine(project, finished):
    project.take(finished)
    run = "results/runs/lora/cola/seed1"
    assert project.run("-n", f"{run}/run.json", *LOW)[0] == 0  # nothing is left to train
    shutil.rmtree(project.folder / run)
    status, output = project.run("-n", f"{run}/run.json", *LOW)
    assert status != 0
    assert "lora on cola needs " in output
    assert "fft on cola" not in output
    assert "Traceback" not in output
    assert project.run("-n", f"{run}/run.json")[0] == 0
