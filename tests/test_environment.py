"""What is installed: pinned by hash, from no named index, the same for pip and conda."""

import re
import tomllib

import yaml
from builders import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDED = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["workflow"]]


def locked():
    """`{package: [versions]}`: a package may have one for each Python."""
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", LOCK, re.MULTILINE):
        versions.setdefault(name, []).append(version)
    return versions


def test_every_locked_package_has_a_hash_and_no_index_is_named():
    entries = re.split(r"\n(?=[a-z0-9])", LOCK.strip())
    assert len(entries) > 50
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in LOCK
    assert "index" not in LOCK


def test_every_dependency_is_in_the_lock():
    wanted = [*NEEDED, *PROJECT["optional-dependencies"]["dev"]]
    names = {re.split(r"[=<>\[]", entry)[0].lower() for entry in wanted}
    assert names <= set(locked())


def test_conda_names_the_versions_of_the_lock():
    environment = yaml.safe_load((ROOT / "envs" / "lora.yaml").read_text())
    pinned = dict(entry.split("==") for entry in environment["dependencies"][-1]["pip"])
    assert set(pinned) == {re.split(r"[=<>]", entry)[0] for entry in NEEDED}
    for name, version in pinned.items():
        assert version in locked()[name], name


def test_the_deprecated_wrapper_of_nvml_is_not_installed():
    assert "pynvml" not in locked()
    assert "nvidia-ml-py" in locked()
