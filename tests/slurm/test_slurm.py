"""The same DAG through a real Slurm (`make test-slurm`): which jobs run where, and the same results."""

import re
import shutil
import subprocess
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from builders import FAULTS, HANG_SECONDS
from project import Project, unmeasured

from lora_core.records import read_json

pytestmark = pytest.mark.slurm
# One GPU is requested, which stands in for a real one: the runs train on the CPU.
RESOURCES = {"measured": {"mem_mb": 2000, "runtime": 10, "gpu": 1}, "other": {"mem_mb": 1000, "runtime": 10}}
STUDY = {"seeds": [1], "train": {"device": "cpu", "checkpoint_seconds": 0}, "resources": RESOURCES}


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Path:
    """The running Slurm's file of finished jobs."""
    if shutil.which("scontrol") is None:
        pytest.fail("no Slurm is running; as root, make test-slurm SLURM=FOLDER starts one by FOLDER/start-slurm.sh")
    setting = re.search(r"^JobCompLoc\s*=\s*(\S+)", slurm("scontrol", "show", "config"), re.MULTILINE)
    if setting is None or not Path(setting[1]).is_file():
        pytest.fail("this Slurm keeps no file of finished jobs (JobCompLoc) to check against")
    return Path(setting[1])


@pytest.fixture
def jobs(cluster):
    """A function that returns the jobs that have finished in this test, by Slurm's own record."""
    before = cluster.read_text().count("\n")

    def finished() -> list[dict[str, str]]:
        lines = cluster.read_text().splitlines()[before:]
        return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines]

    return finished


def start(project: Project, *arguments: str):
    profile = ["--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5"]
    return project.start(*profile, *arguments, cores=False)


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def test_a_study_runs_through_slurm_and_ends_as_a_local_one_does(tmp_path, jobs):
    here, there = Project(tmp_path / "here"), Project(tmp_path / "on the cluster")
    for project in (here, there):
        project.configure(**STUDY)
    status, output = here.run()
    assert status == 0, output
    process = start(there)
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
    project = Project(tmp_path / "project")
    project.configure(**STUDY)
    # As the kernel does it: SIGKILL, which the job's shell reports as 137.
    work = "        from lora_core.training.checkpoint import"
    project.edit("workflow/scripts/train.py", work, f"        import os\n\n        os.kill(os.getpid(), 9)\n{work}")
    process = start(project, "results/runs/lora/cola/seed1/run.json")
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
    whole, project = Project(tmp_path / "whole"), Project(tmp_path / "project")
    target = "results/runs/lora/cola/seed1/run.json"
    for one in (whole, project):
        one.configure(**STUDY, method_settings__lora__hyperparameters={"epochs": 400})
    status, output = whole.run(target)
    assert status == 0, output
    process = start(project, target, "--retries", "0")
    state = project.folder / "results/checkpoints/lora+cola+seed1/state.safetensors"
    project.wait_for(state)
    here = [line.split("|") for line in slurm("squeue", "--noheader", "--format=%i|%Z").splitlines()]
    slurm("scancel", *(number for number, folder in here if folder == str(project.folder)))
    process.communicate(timeout=HANG_SECONDS)
    assert process.returncode != 0
    assert state.exists()
    process = start(project, target)
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0, output
    FAULTS["wrong"] += project.weights("lora", 1) != whole.weights("lora", 1)
    assert project.weights("lora", 1) == whole.weights("lora", 1)
    assert '"parts": 2' in (project.folder / target).read_text()
    assert not state.parent.exists()
