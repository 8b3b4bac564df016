"""Jobs of a real Slurm that are requeued, and jobs whose snakemake was killed."""

import os
import signal

import pytest
from builders import FAULTS, HANG_SECONDS
from slurm_project import RUN, STUDY, slurm

from lora_core.records import read_json

pytestmark = pytest.mark.slurm
STATE = "results/checkpoints/lora+cola+seed1/state.safetensors"
LONG = STUDY | {"method_settings__lora__hyperparameters": {"epochs": 400}}  # long enough to be interrupted


def test_a_requeued_job_resumes_without_using_up_a_retry(project, jobs):
    FAULTS["tried"] += 1
    project.configure(**LONG)
    process = project.submit(RUN, "--retries", "0")
    project.wait_for(project.folder / STATE)
    number = project.number("RUNNING")
    slurm("scontrol", "requeue", number)
    project.number("PENDING")
    slurm("scontrol", "update", f"JobId={number}", "StartTime=now")  # Slurm itself waits for two minutes
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0, output
    assert read_json(project.folder / RUN)["measurement"]["parts"] == 2
    assert [job["JobId"] for job in jobs() if job["JobState"] == "COMPLETED"] == [number]


def test_jobs_of_a_killed_snakemake_run_on_until_they_are_ended_by_their_name(project, jobs):
    FAULTS["tried"] += 1
    project.configure(**LONG)
    process = project.submit(RUN)
    project.wait_for(project.folder / STATE)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    ((name,),) = project.in_slurm("%j", "RUNNING")
    (note,) = (project.folder / "results" / "logs" / "slurm").iterdir()
    assert note.name.startswith(f"{name}.")  # the page says to look there
    slurm("scancel", "--name", name)
    project.wait(lambda: not project.in_slurm("%i"))
    assert [job["JobState"] for job in jobs()] == ["CANCELLED"]
    status, output = project.run("--unlock")
    assert status == 0, output
    output, _ = (process := project.submit(RUN)).communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0, output
    assert read_json(project.folder / RUN)["measurement"]["parts"] == 2
