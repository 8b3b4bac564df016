"""The same DAG through a real Slurm (`make test-slurm`): which jobs run where, and the same results."""

import re
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from builders import FAULTS, HANG_SECONDS
from project import unmeasured
from slurm_project import STUDY, SlurmProject, slurm

from lora_core.records import read_json

pytestmark = pytest.mark.slurm


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def test_a_study_runs_through_slurm_and_ends_as_a_local_one_does(tmp_path, jobs):
    here, there = SlurmProject(tmp_path / "here"), SlurmProject(tmp_path / "on the cluster")
    for project in (here, there):
        project.configure(**STUDY)
    status, output = here.run()
    assert status == 0, output
    process = there.submit()
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0, output

    ran = jobs()
    # What is measured, and nothing else, was a job of Slurm's: two runs and a latency job.
    assert len(ran) == 3
    assert {job["JobState"] for job in ran} == {"COMPLETED"}
    spans = sorted([seconds(job[f"{name}Time"]) for name in ("Start", "End", "Submit")] for job in ran)
    assert all(one[1] <= two[0] for one, two in pairwise(spans)), "two jobs had the one GPU at a time"
    assert spans[1][2] < spans[0][1], "the second run did not have to wait for the GPU: this shows nothing"
    assert unmeasured(there.folder / "results") == unmeasured(here.folder / "results")
    # Without `train.threads` a job has one thread, and torch no more than Slurm gave.
    assert read_json(there.folder / "results/runs/lora/cola/seed1/run.json")["provenance"]["threads"] == 1
    assert all("cpu=1," in job["Tres"] for job in ran)


def test_a_job_killed_for_memory_is_retried_with_more_memory_and_time_and_then_fails_with_a_sentence(tmp_path, jobs):
    FAULTS["tried"] += 1
    project = SlurmProject(tmp_path / "project")
    project.configure(**STUDY)
    # As the kernel does it: SIGKILL, which the job's shell reports as 137.
    work = "        from lora_core.training.checkpoint import"
    project.edit("workflow/scripts/train.py", work, f"        import os\n\n        os.kill(os.getpid(), 9)\n{work}")
    process = project.submit("results/runs/lora/cola/seed1/run.json")
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode != 0
    (log,) = re.findall(r"Complete log\(s\): (.*)", output)
    asked = re.findall(r"rule train:.*?runtime=(\d+).*?mem_mb=(\d+)", Path(log).read_text(), re.DOTALL)
    assert asked == [("10", "2000"), ("20", "4000")], output
    assert [(job["JobState"], job["TimeLimit"]) for job in jobs()] == [("FAILED", "10"), ("FAILED", "20")]
    assert "train LoRA (own) on CoLA, seed 1: killed (SIGKILL; possibly out of memory" in output
    assert not (project.folder / "results/runs/lora/cola/seed1/run.json").exists()


def test_a_cancelled_job_resumes_from_its_last_epoch(tmp_path, jobs):
    FAULTS["tried"] += 1
    whole, project = SlurmProject(tmp_path / "whole"), SlurmProject(tmp_path / "project")
    target = "results/runs/lora/cola/seed1/run.json"
    for one in (whole, project):
        one.configure(**STUDY, method_settings__lora__hyperparameters={"epochs": 400})
    status, output = whole.run(target)
    assert status == 0, output
    process = project.submit(target, "--retries", "0")
    state = project.folder / "results/checkpoints/lora+cola+seed1/state.safetensors"
    project.wait_for(state)
    here = [line.split("|") for line in slurm("squeue", "--noheader", "--format=%i|%Z").splitlines()]
    slurm("scancel", *(number for number, folder in here if folder == str(project.folder)))
    process.communicate(timeout=HANG_SECONDS)
    assert process.returncode != 0
    assert state.exists()
    process = project.submit(target)
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0, output
    FAULTS["wrong"] += project.weights("lora", 1) != whole.weights("lora", 1)
    assert project.weights("lora", 1) == whole.weights("lora", 1)
    assert '"parts": 2' in (project.folder / target).read_text()
    assert not state.parent.exists()
