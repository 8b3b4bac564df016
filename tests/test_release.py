"""One version everywhere, and what other people's tools read of the repository: pre-commit, a forge, the catalog."""

import json
import re
import subprocess
import sys
import tomllib
from datetime import date

import pytest
import yaml
from builders import ROOT

from lora_core.commands import cli

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_the_citation_has_the_version_of_the_project_as_a_text():
    assert CITATION["version"] == PROJECT["version"]
    assert isinstance(CITATION["date-released"], date)
    # 1.10 without quotes is a number, and another version.
    assert f'version: "{PROJECT["version"]}"\n' in (ROOT / "CITATION.cff").read_text()


def test_the_newest_release_of_the_changelog_is_the_cited_one():
    version, day = re.findall(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert (version, day) == (CITATION["version"], CITATION["date-released"].isoformat())


def test_the_version_is_written_once():
    spelled = re.compile(rf"(__version__|version) *[:=] *[\"']{re.escape(PROJECT['version'])}[\"']")
    files = [path for path in (ROOT / "lora_core").rglob("*.py") if spelled.search(path.read_text())]
    assert not files


def test_the_command_knows_its_version(capsys, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"9.9 of {name}")
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.parse_arguments(["--version"])
    assert capsys.readouterr().out == "lora-core 9.9 of lora-core\n"


def test_pre_commit_has_the_versions_of_the_lock():
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = [hook for repository in repositories for hook in repository["hooks"]]
    pinned = {package for hook in hooks for package in hook.get("additional_dependencies", [])}
    assert {package.split("==")[0] for package in pinned} == {"ruff", "snakefmt"}
    lock = (ROOT / "requirements.lock").read_text()
    assert [package for package in pinned if not re.search(rf"^{re.escape(package)}\b", lock, re.MULTILINE)] == []
    # Whatever else a hook runs is what `make setup` installs.
    assert all(hook["entry"].startswith(".venv/bin/") for hook in hooks if hook["language"] == "system")


def test_the_ci_of_a_forge_runs_what_the_projects_own_ci_runs():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert [command.split()[-1] for command in commands] == [".ci/run"]


def test_what_a_build_leaves_is_ignored_by_git():
    left = ["build/lib/lora_core/job.py", "dist/lora_core-0.1.0.tar.gz", "lora_core.egg-info/PKG-INFO"]
    ignored = subprocess.run(["git", "check-ignore", *left], cwd=ROOT, capture_output=True, text=True).stdout
    assert ignored.split() == left


def test_a_finding_that_has_changed_or_could_not_be_installed_is_reported(tmp_path):
    scripts = {"same": "echo fine", "other": "echo seen; exit 1", "absent": "echo 'ERROR: no such package' >&2; exit 1"}
    for name, text in scripts.items():
        (tmp_path / f"{name}.sh").write_text(text)
    code = f"import sys; from pathlib import Path; from run import main; sys.exit(main([], Path({str(tmp_path)!r})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "findings", capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "1 of 3 as described; absent (not installed), other (CHANGED)"
    assert "seen" in done.stdout


def test_every_finding_is_listed():
    listed = re.findall(r"\]\(([\w.-]+\.sh)\)", (ROOT / "findings" / "README.md").read_text())
    assert sorted(listed) == sorted(path.name for path in (ROOT / "findings").glob("*.sh"))


def test_the_catalog_finds_what_it_lists_a_workflow_by():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["software-stack-deployment"]["conda"] is True
    assert usage["report"] is True
    for name in ("workflow/Snakefile", "config/README.md", "config/config.yaml", ".test"):
        assert (ROOT / name).exists(), name
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme
    assert "workflow" in readme


def test_the_schema_and_the_default_study_that_the_catalog_reads_are_the_projects():
    schema = ROOT / "workflow" / "schemas" / "config.schema.json"
    assert schema.resolve() == ROOT / "config" / "schema.json"  # a link: there is no second copy
    assert json.loads(schema.read_text())["title"] == "Study"
    assert (ROOT / "config" / "config.yaml").resolve() == ROOT / "config.yaml"


def test_the_profile_for_slurm_assumes_nothing_of_a_site():
    profile = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    assert profile["executor"] == "slurm"
    assert not {"slurm_partition", "slurm_account"} & set(profile.get("default-resources") or {})
