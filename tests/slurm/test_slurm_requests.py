"""What jobs ask a real Slurm for, by the settings of a site, and how a request that cannot be met is seen."""

import os
import re
import signal
import subprocess
import sys

import pytest
from builders import HANG_SECONDS, ROOT
from slurm_project import RUN, slurm

from lora_core.records import read_json

pytestmark = pytest.mark.slurm
FEATURE, PARTITION = "lora_core_a100", "lora_core_short"


def administer(*command: str) -> None:
    """Change the cluster, or skip the test where that is not ours to do."""
    done = subprocess.run(["scontrol", *command], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"scontrol {' '.join(command)}: {done.stderr.strip()}")


@pytest.fixture
def node():
    """A node that has a feature for this test."""
    name = slurm("sinfo", "--noheader", "--Node", "--format=%N").split()[0]
    before = slurm("sinfo", "--noheader", f"--nodes={name}", "--format=%f").strip().replace("(null)", "")
    wanted = ",".join(filter(None, [before, FEATURE]))
    administer("update", f"NodeName={name}", f"AvailableFeatures={wanted}", f"ActiveFeatures={wanted}")
    yield name
    slurm("scontrol", "update", f"NodeName={name}", f"AvailableFeatures={before}", f"ActiveFeatures={before}")


@pytest.fixture
def partition():
    """A partition that allows one minute."""
    administer("create", f"PartitionName={PARTITION}", "Nodes=ALL", "MaxTime=1", "State=UP")
    yield PARTITION
    slurm("scontrol", "delete", f"PartitionName={PARTITION}")


def test_a_job_gets_the_node_of_its_constraint_for_itself_and_uses_the_cores_of_its_threads(project, node, jobs):
    profile = project.profile(**{"set-resources": {"train": {"constraint": FEATURE, "slurm_extra": "'--exclusive'"}}})
    process = project.submit(RUN, profile=profile)
    project.number("RUNNING")
    ((features,),) = project.in_slurm("%f")
    process.send_signal(signal.SIGTERM)  # snakemake waits for the job that runs
    output, _ = process.communicate(timeout=HANG_SECONDS)
    (job,) = jobs()
    assert (features, job["JobState"]) == (FEATURE, "COMPLETED"), output
    assert job["ProcCnt"] == slurm("sinfo", "--noheader", f"--nodes={node}", "--format=%c").strip()
    assert read_json(project.folder / RUN)["provenance"]["threads"] == 1


def test_set_resources_of_the_command_line_replaces_those_of_the_profile(project, node):
    profile = project.profile(**{"set-resources": {"train": {"constraint": FEATURE}}})
    process = project.submit(RUN, "--set-resources", "train:mem_mb=1900", profile=profile)
    project.number()
    assert project.in_slurm("%f|%m") == [["(null)", "1900M"]]
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=HANG_SECONDS)


def test_a_constraint_in_slurm_extra_is_refused_and_the_default_profile_decides_how_often(project):
    default = project.folder / "profiles/default/config.yaml"
    default.write_text(f"{default.read_text()}\nretries: 0\n")  # profiles/slurm has 1
    process = project.submit(RUN, "--set-resources", "train:slurm_extra='--constraint=a100'")
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode != 0
    assert len(re.findall("option is not allowed in the 'slurm_extra' parameter", output)) >= 1
    assert output.count("Trying to restart job") == 0


@pytest.mark.parametrize(
    ("request_", "answer"),
    [("constraint=no_such_feature", "Invalid feature specification"), ("slurm_partition=none", "invalid partition")],
)
def test_a_request_that_no_node_meets_is_refused_at_once(project, request_, answer):
    process = project.submit(RUN, "--set-resources", f"train:{request_}")
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode != 0
    assert answer in output


def test_a_job_that_waits_for_ever_is_seen_in_the_status_alone(project, partition):
    process = project.submit(RUN, "--default-resources", f"slurm_partition={partition}")
    number = project.number("PENDING")
    project.wait(lambda: project.in_slurm("%r") == [["PartitionTimeLimit"]])
    status = project.status()
    assert f"pending in Slurm: train lora_cola_1 (job {number})" in status
    assert f"because of PartitionTimeLimit (partition {partition}, time limit 10:00)" in status
    slurm("scontrol", "update", f"PartitionName={partition}", "MaxTime=60", "State=DOWN")
    project.wait(lambda: project.in_slurm("%r") == [["PartitionDown"]])
    assert "because of PartitionDown" in project.status()
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert "PartitionTimeLimit" not in output
    assert "PartitionDown" not in output
    project.wait(lambda: not project.in_slurm("%i"))


def test_a_job_sees_the_gpu_that_slurm_gave_it_and_one_that_asked_for_none_sees_all(fake_driver):
    code = "from lora_core.measuring import gpus; print(gpus.visible_gpus())"
    driver = {"LD_LIBRARY_PATH": str(fake_driver), "FAKE_NVML_DEVICES": "2", "FAKE_NVML_CUDA": "99000"}

    def visible(*request: str) -> str:
        command = ["srun", "--ntasks=1", "--mem=500", *request, sys.executable, "-c", code]
        variables = {n: v for n, v in os.environ.items() if n != "CUDA_VISIBLE_DEVICES"} | driver
        return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True).stdout

    assert visible("--gpus=1") == visible("--gres=gpu:1") == "['GPU-fake-0']\n"
    assert visible() == "['GPU-fake-0', 'GPU-fake-1']\n"
