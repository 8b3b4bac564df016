"""The workflow as a module of another Snakefile: from a folder, and from a git repository without its package."""

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from builders import HANG_SECONDS, ROOT
from project import SNAKEMAKE, TINY
from snakemake.utils import update_config

TABLE = "results/tables/table1.md"  # needs a model and no training
SNAKEFILE = """
configfile: "mine.yaml"

module lora:
    snakefile: {snakefile}
    config: config

use rule * from lora as lora_*

rule mine:
    default_target: True
    input: "{table}"
    output: "results/tables/mine.md"  # lies where the workflow's own tables do
    shell: "cp {{input}} {{output}}"
"""


def write_snakefile(folder: Path, snakefile: str) -> None:
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(config, TINY | {"seeds": [1], "methods": ["lora"]})
    (folder / "mine.yaml").write_text(yaml.safe_dump(config | {key: TINY[key] for key in ("model", "data")}))
    (folder / "Snakefile").write_text(SNAKEFILE.format(snakefile=snakefile, table=TABLE))


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = [SNAKEMAKE, "--cores", "1", *arguments]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= {"HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(folder / "cache"), **environment}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=HANG_SECONDS, env=variables)


@pytest.mark.parametrize("file", [pytest.param("Snakefile", marks=pytest.mark.slow), "workflow/Snakefile"])
def test_another_snakefile_uses_the_workflow_as_a_module(tmp_path, file):
    write_snakefile(tmp_path, f'"{ROOT / file}"')
    result = run(tmp_path)
    assert result.returncode == 0, result.stderr
    assert "| LoRA (own) |" in (tmp_path / "results/tables/mine.md").read_text()
    assert "Nothing to be done" in run(tmp_path, "--rerun-triggers", "mtime", "params", "input", "software-env").stderr


@pytest.mark.slow
def test_measured_jobs_of_a_module_that_lost_their_resource_still_run_one_at_a_time(tmp_path):
    write_snakefile(tmp_path, f'"{ROOT / "workflow/Snakefile"}"')
    with (tmp_path / "Snakefile").open("a") as snakefile:  # all resources of the rule are replaced, `device` too
        snakefile.write("\nuse rule train from lora as lora_train with:\n    resources: mem_mb=4000\n")
    config = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    hyperparameters = {"epochs": 40}  # some seconds, so that two runs at the same time would be seen
    changes = {
        "seeds": [1, 2],
        "train": {"threads": 1},
        "method_settings": {"lora": {"hyperparameters": hyperparameters}},
    }
    update_config(config, changes)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    records = [tmp_path / "results" / "runs" / "lora" / "cola" / f"seed{seed}" / "run.json" for seed in (1, 2)]
    result = run(tmp_path, "--cores", "2", *(str(record.relative_to(tmp_path)) for record in records))
    assert result.returncode == 0, result.stderr
    first, second = sorted(records, key=lambda record: record.stat().st_mtime)
    started = {record: start_of_training(record) for record in records}
    assert first.stat().st_mtime - started[first] > 3, "training is too short to overlap"
    assert started[second] >= int(first.stat().st_mtime), "the second run was measured while the first one trained"
    logs = [file.read_text() for file in (tmp_path / "results" / "logs" / "train" / "lora" / "cola").glob("seed*.log")]
    assert sum("waiting: another measured job is using cpu" in log for log in logs) == 1, logs


def start_of_training(record: Path) -> float:
    """When a run started, in whole seconds."""
    return datetime.fromisoformat(json.loads(record.read_text())["provenance"]["started"]).timestamp()


def test_of_a_module_with_other_names_only_measured_jobs_are_submitted_to_a_cluster(tmp_path):
    write_snakefile(tmp_path, f'"{ROOT / "workflow/Snakefile"}"')
    with (tmp_path / "Snakefile").open("a") as snakefile:
        snakefile.write(
            "\nprint('submitted:', *(r.name for r in workflow.rules if r.name not in workflow._localrules))\n"
        )
    result = run(tmp_path, "--list-rules")
    assert result.returncode == 0, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("submitted:")]
    measured = {"train", "time_inference", "predict_memory", "measure_regimes"}
    assert set(line.split()[1:]) == {f"lora_{name}" for name in measured} | {"mine"}
    assert "localrules" not in result.stderr  # the warning about names that no rule has


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A git repository of the workflow alone, at the tag v1."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("workflow", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "workflow"], ["tag", "v1"]):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder that the package is installed into, as a wheel from its sources."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    shutil.copytree(ROOT / "lora_core", source / "lora_core", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", target, source], check=True, capture_output=True)
    return target


def test_an_installed_package_has_every_file_of_the_sources(installed):
    def files(folder):
        names = (file.relative_to(folder) for file in (folder / "lora_core").rglob("*") if file.is_file())
        return {str(name) for name in names if "__pycache__" not in name.parts}

    assert files(installed) == files(ROOT)
    assert (installed / "bin" / "lora-core").exists()


def is_installed_in_the_environment() -> bool:
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('lora_core') is None)"
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([sys.executable, "-c", code], cwd="/", env=variables).returncode == 0


def test_a_workflow_without_its_package_uses_an_installed_one(tmp_path, repository, installed):
    write_snakefile(tmp_path, f'gitfile("{repository}", path="workflow/Snakefile", tag="v1")')
    triggers = ["--rerun-triggers", "mtime", "params", "input", "software-env"]
    result = run(tmp_path, *triggers, PYTHONPATH=str(installed))
    assert result.returncode == 0, result.stderr
    assert "| LoRA (own) |" in (tmp_path / "results/tables/mine.md").read_text()
    again = run(tmp_path, *triggers, PYTHONPATH=str(installed))
    assert (again.returncode, "Nothing to be done" in again.stderr) == (0, True), again.stderr


def test_a_workflow_whose_package_is_missing_says_what_to_install(tmp_path, repository):
    if is_installed_in_the_environment():
        # A package of the same name that cannot be imported hides the installed one, an editable one too.
        (tmp_path / "hidden" / "lora_core").mkdir(parents=True)
        (tmp_path / "hidden" / "lora_core" / "__init__.py").write_text('raise ImportError("hidden")\n')
    write_snakefile(tmp_path, f'gitfile("{repository}", path="workflow/Snakefile", tag="v1")')
    result = run(tmp_path, "-n", PYTHONPATH=str(tmp_path / "hidden"))
    assert result.returncode != 0
    output = result.stdout + result.stderr
    assert "pip install 'lora-core[workflow] @ git+" in output
    assert "Traceback" not in output
