"""Where a result comes from: the commit, the versions and the device that made it."""

import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.records import JsonObject

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "transformers", "peft", "loralib", "numpy", "safetensors", "tokenizers", "snakemake")


@dataclass(frozen=True)
class GitState:
    """The checked-out commit, and whether tracked files differ from it; both are None outside a checkout."""

    commit: str | None
    dirty: bool | None


def collect(device: "torch.device", threads: int) -> JsonObject:
    """Return the machine and the software; nothing in it names a user, a host or a path."""
    import platform

    from lora_core import device as devices

    return {
        **asdict(git_state()),
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
def git_state() -> GitState:
    """Return the commit, and whether tracked files differ from it; both are None outside a checkout."""

    def git(*arguments: str) -> str | None:
        command = ["git", *arguments]
        try:
            result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return result.stdout.strip()

    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    return GitState(commit, None if changes is None else bool(changes))
