"""What the tests on a real Slurm share: its record of finished jobs, and projects whose model and data are prepared."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from project import Project
from slurm_project import STUDY, SlurmProject, slurm


@pytest.fixture(scope="session", autouse=True)
def cluster() -> Path:
    """The running Slurm's file of finished jobs."""
    if shutil.which("scontrol") is None:
        pytest.fail("no Slurm is running; as root, make test-slurm SLURM=FOLDER starts one by FOLDER/start-slurm.sh")
    setting = re.search(r"^JobCompLoc\s*=\s*(\S+)", slurm("scontrol", "show", "config"), re.MULTILINE)
    if setting is None or not Path(setting[1]).is_file():
        pytest.fail("this Slurm keeps no file of finished jobs (JobCompLoc) to check against")
    return Path(setting[1])


@pytest.fixture
def jobs(cluster, tmp_path) -> Callable[[], list[dict[str, str]]]:
    """A function that returns the jobs of this test that have finished, by Slurm's own record."""
    before = cluster.read_text().count("\n")

    def finished() -> list[dict[str, str]]:
        ended = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in cluster.read_text().splitlines()[before:]]
        return [job for job in ended if job["WorkDir"].startswith(str(tmp_path))]

    return finished


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """The folder of a project whose model and data are prepared."""
    project = Project(tmp_path_factory.mktemp("slurm") / "prepared")
    project.configure(**STUDY)
    status, output = project.run("results/data/cola/card.json")
    assert status == 0, output
    return project.folder


@pytest.fixture
def project(prepared, tmp_path):
    """A prepared project; what it has left in Slurm is cancelled afterwards."""
    project = SlurmProject(tmp_path / "project", prepared)
    yield project
    for (number,) in project.in_slurm("%i"):
        slurm("scancel", number)
