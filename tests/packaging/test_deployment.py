"""The workflow as snakedeploy deploys it from a git repository, with `lora_core` installed by pip."""

import json
import os
import shutil
import subprocess

import pytest
import yaml
from builders import HANG_SECONDS, ROOT
from other_tools import run_python

pytestmark = pytest.mark.packaging

# snakedeploy itself, for a local git repository: it knows those of forges, and copies a local folder without its tags.
DEPLOY = """
import subprocess, sys
from pathlib import Path
from snakedeploy import deploy, providers

class LocalGit(providers.Local):
    def clone(self, folder):
        subprocess.run(["git", "clone", "-q", self.source_url, folder], check=True)

    def checkout(self, folder, ref):
        subprocess.run(["git", "checkout", "-q", ref], cwd=folder, check=True)

    def get_source_file_declaration(self, path, tag, branch, commit=None):
        return f'gitfile("{self.source_url}", path="{path}", tag="{tag}")'

providers.PROVIDERS.insert(0, LocalGit)
with deploy.WorkflowDeployer(sys.argv[1], Path(sys.argv[2]), tag="v1") as deployer:
    deployer.deploy("lora")
    print("schema of", deployer.get_json_schema("config")["title"])
"""


@pytest.fixture(scope="module")
def deployed(peers, wheel, repository, tmp_path_factory):
    """The folder of a user, and a function that runs Snakemake in it with the package installed from its wheel."""
    # What is not tagged must not be used.
    repository = shutil.copytree(repository, tmp_path_factory.mktemp("changed") / "repository")
    (repository / "workflow" / "Snakefile").write_text("raise ValueError('not the tag')\n")
    python = peers(str(wheel), "snakedeploy==0.17.1")
    folder = tmp_path_factory.mktemp("user") / "study"
    output = run_python(python, DEPLOY, repository, folder, folder=tmp_path_factory.mktemp("elsewhere"))
    assert "schema of Study" in output  # workflow/schemas, as the catalog reads it

    def run(*arguments: str) -> subprocess.CompletedProcess:
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        variables |= {"HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(folder.parent / "cache")}
        command = [python, "-m", "snakemake", "--cores", "2", *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=HANG_SECONDS, env=variables)

    return folder, run


def test_a_deployed_workflow_has_the_default_study_and_draws_table_2_of_a_small_one(deployed):
    folder, run = deployed
    assert yaml.safe_load((folder / "config/config.yaml").read_text()) == yaml.safe_load(
        (ROOT / "config.yaml").read_text()
    )
    assert 'tag="v1"' in (folder / "workflow/Snakefile").read_text()
    (folder / "config/config.yaml").write_text((ROOT / ".test/config.yaml").read_text())
    first = run("results/tables/table2.md")
    assert first.returncode == 0, (first.stdout + first.stderr)[-4000:]
    scores = json.loads((folder / "results/tables/table2.json").read_text())["cells"]
    assert {cell["method"] for cell in scores} >= {"fft", "lora"}
    assert not (folder / "lora_core").exists()
    # The profile that snakedeploy copies, in which the `code` trigger is left out, holds for the second call.
    again = run("results/tables/table2.md")
    assert (again.returncode, "Nothing to be done" in again.stderr) == (0, True), again.stderr[-4000:]


def test_the_triggers_by_hand_are_those_of_the_profile(deployed):
    _, run = deployed
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    triggers = usage["mandatory-flags"]["flags"]
    name, *values = triggers.split()
    assert name == "--rerun-triggers"
    assert values == yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())["rerun-triggers"]
    without = run("results/tables/table2.md", "-n", "--workflow-profile", "none", *triggers.split())
    output = without.stdout + without.stderr
    assert (without.returncode, "Nothing to be done" in output) == (0, True), output[-4000:]
