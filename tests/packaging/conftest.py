"""What the tests of other people's tools share (`make test-packaging`): environments with pinned packages."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import ROOT
from builds import build_wheel


@pytest.fixture(scope="session")
def peers(tmp_path_factory) -> Callable[..., Path]:
    """Return a function that gives the Python of a new environment in which the named packages, pinned, are installed.

    They are installed without what they require: that comes from the environment of the tests (torch above all) where
    it is not named too. So an older PEFT is tried with `peers("peft==0.12.0", "transformers==4.44.2", ...)`.
    The project itself is not importable there.
    """
    made: dict[tuple[str, ...], Path] = {}

    def create(*packages: str) -> Path:
        if packages not in made:
            folder = tmp_path_factory.mktemp("peers")
            venv.create(folder, with_pip=False, symlinks=True)
            python = folder / "bin" / "python"
            installed = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
            pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
            subprocess.run([*pip, "--disable-pip-version-check", *packages], check=True)
            _lend_packages(Path(sysconfig.get_path("purelib")), installed, folder / "lent")
            made[packages] = python
        return made[packages]

    return create


def _lend_packages(source: Path, installed: Path, lent: Path) -> None:
    """Make what lies in `source` importable after `installed`, except for this project and packages installed there."""
    lent.mkdir()
    own = {path.name.split("-")[0].lower() for path in installed.iterdir()}
    for path in source.iterdir():
        name = path.name.split("-")[0].lower()
        if name not in own and "lora_core" not in name and path.suffix != ".pth":
            (lent / path.name).symlink_to(path)
    (installed / "lent.pth").write_text(f"{lent}\n")


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    """A git repository of this project as it stands, at the tag v1."""
    folder = tmp_path_factory.mktemp("repository")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines():
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "workflow"], ["tag", "v1"]):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="session")
def wheel(repository, tmp_path_factory) -> Path:
    """The project's wheel."""
    return build_wheel(repository, tmp_path_factory.mktemp("wheel"))
