"""Where a result comes from: the commit, the versions and the device that made it."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "transformers", "peft", "loralib", "numpy", "safetensors", "tokenizers", "snakemake")


@dataclass(frozen=True)
class GitState:
    """The checked-out commit, and whether tracked files differ from it; both are None outside a checkout."""

    commit: str | None
    dirty: bool | None


@dataclass(frozen=True)
class Provenance:
    """The software and the machine that made a result; nothing in it names a user, a host or a path.

    Attributes:
        commit: The checked-out commit; None outside a checkout.
        dirty: Whether tracked files differed from it; None outside a checkout.
        started: The time in UTC.
        python: The version of Python.
        packages: Versions by the name of the package.
        system: The operating system and the processor's architecture.
        device: "cpu", or a hashed id.
        device_model: The device's name.
        threads: CPU threads of torch.
        driver: The version of the device's driver, if the meter knows it.
        shared: Another process used the device at the same time; None if that is unknown.
        allocator: Settings of CUDA's allocator, such as "expandable_segments:True"; None on a CPU, and for torch's own.
        cuda: The version of CUDA that torch was built with; None on a CPU.
        cudnn: The version of cuDNN; None on a CPU.
        precision: Of matrix products, as in `train.precision`; None if it is unknown.
        code: The digest of the code that a training job really ran (`lora_core.running_code`); None if it is unknown.
        code_files: The digest of each file of that code by its path in the project; None if it is unknown.
    """

    commit: str | None
    dirty: bool | None
    started: str
    python: str
    packages: Mapping[str, str]
    system: str
    device: str
    device_model: str
    threads: int
    driver: str | None = None
    shared: bool | None = None
    allocator: str | None = None
    cuda: str | None = None
    cudnn: str | None = None
    precision: str | None = None
    code: str | None = None
    code_files: Mapping[str, str] | None = None


# What older records lack.
ABSENT = dict.fromkeys(("allocator", "cuda", "cudnn", "precision", "code", "code_files"))


def collect(device: "torch.device", threads: int, precision: str | None = None) -> Provenance:
    """Return the software and the machine as they are now."""
    import platform

    import torch

    from lora_core import allocator
    from lora_core import device as devices

    git, on_gpu = git_state(), device.type == "cuda"
    return Provenance(
        commit=git.commit,
        dirty=git.dirty,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        python=platform.python_version(),
        packages=installed_packages(),
        system=f"{platform.system()} {platform.machine()}",
        device=devices.label(device),
        device_model=devices.model_name(device),
        threads=threads,
        allocator=allocator.settings() if on_gpu else None,
        cuda=torch.version.cuda if on_gpu else None,
        cudnn=_cudnn_version(torch.backends.cudnn.version()) if on_gpu else None,
        precision=precision,
    )


def _cudnn_version(number: int | None) -> str | None:
    """The version that cuDNN gives as a number, such as "9.20.0" for 92000; None without cuDNN."""
    if number is None:
        return None
    major, rest = divmod(number, 10_000 if number >= 90_000 else 1_000)
    return f"{major}.{rest // 100}.{rest % 100}"


def installed_packages() -> dict[str, str]:
    """Return the versions of `PACKAGES`, of those that are installed."""
    return {name: version for name in PACKAGES if (version := _version(name))}


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
