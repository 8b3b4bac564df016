"""Where a result comes from: commit, versions, device, and a digest of the code that made it."""

import hashlib
import os
import re
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parent.parent
# Every call of Snakemake reads all files: this is ten times quicker than their syntax trees, which a test compares.
_IMPORT = re.compile(
    r"^[ \t]*(?:from (lora_core[\w.]*) import (\([^)]*\)|[^\n]*)|import (lora_core[\w.]*))", re.MULTILINE
)
PACKAGES = ("torch", "transformers", "peft", "loralib", "numpy", "safetensors", "tokenizers", "snakemake")


def collect(device: "torch.device", threads: int) -> dict[str, Any]:
    """What a record says of the machine and the software; nothing that names a user, a host or a path."""
    import platform

    from lora_core import device as devices

    return {
        **git_state(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "system": f"{platform.system()} {platform.machine()}",
        "device": devices.label(device),
        "device_model": devices.model_name(device),
        "threads": threads,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@cache
def git_state() -> dict[str, Any]:
    """Commit and whether files differ from it; both None outside a checkout."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def share_path() -> None:
    """Let the jobs of this process find this package, wherever its Snakefile is used from."""
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(ROOT), *filter(None, known)]))


def code_digest(script: Path, *modules: str) -> str:
    """A digest of a script, of `modules`, and of every lora_core module they import, however deep.

    Imports are read from the text, those inside functions too (not those for type checkers alone); nothing is executed.
    A rule carries it as a parameter, so that a change in code that a stage uses reruns that stage and no other.
    """
    files = closure([Path(script), *(_file(module) for module in modules)])
    digest = hashlib.sha256()
    for name, content in sorted((file.name, file.read_bytes()) for file in files):
        digest.update(name.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()[:16]


def closure(files: list[Path]) -> set[Path]:
    """The files and all lora_core files they import, directly or not; with a module what lies beside it under its name,
    a page's style for example."""
    found: set[Path] = set()
    waiting = list(files)
    while waiting:
        file = waiting.pop()
        if file not in found:
            found |= {file, *file.parent.glob(f"{file.stem}.[!p]*")}
            waiting += _imports(file)
    return found


@cache
def _imports(file: Path) -> tuple[Path, ...]:
    names: set[str] = set()
    text = re.sub(r"^if TYPE_CHECKING:\n(?: .*\n)+", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for module, imported, plain in _IMPORT.findall(text):
        names |= {module or plain} | {f"{module}.{word}" for word in re.findall(r"\w+", imported)}
    # Importing a module runs the __init__ of each package above it.
    names |= {name.rpartition(".")[0] for name in names if "." in name}
    return tuple(path for name in names if (path := _file(name)).exists())


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
