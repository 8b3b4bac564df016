"""`make doctor`: what this machine has, and what each thing makes possible. Needs nothing but Python's own library;
what only the installed environment can tell is asked where it is there."""

from __future__ import annotations  # for the old Pythons that it must tell so

import importlib.util
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

GB = 1e9
INSTALL_GB, STUDY_GB, STUDY_MEMORY_GB = 6.0, 3.5, 4.0  # the environment; the embedded study's results, and its memory
SECONDS = 5  # that a check of the network or of a program may take


@dataclass(frozen=True)
class Finding:
    """What was found. `fine` None: nothing needs it but what `means` names."""

    name: str
    fine: bool | None
    found: str
    means: str


def python() -> Finding:
    fine = sys.version_info >= (3, 11)
    return Finding(
        "Python",
        fine,
        ".".join(map(str, sys.version_info[:3])),
        "" if fine else "3.11 or newer: make PYTHON=/path/to/it",
    )


def environment() -> Finding:
    fine = all(importlib.util.find_spec(name) for name in ("torch", "snakemake", "transformers"))
    return Finding(
        "environment", fine or None, "installed" if fine else "not installed yet", "" if fine else "make setup"
    )


def disk() -> Finding:
    free = shutil.disk_usage(".").free / GB
    installed = environment().fine
    wanted = STUDY_GB if installed else STUDY_GB + INSTALL_GB
    with_what = "" if installed else ", its installation included"
    means = f"the embedded study needs {wanted:g} GB{with_what}; config/paper.yaml 40 GB"
    return Finding("disk", free >= wanted, f"{free:,.0f} GB free here", means)


def memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    except (ValueError, OSError, AttributeError):
        return Finding("memory", None, "not told by this system", f"the embedded study needs {STUDY_MEMORY_GB:g} GB")
    return Finding(
        "memory", total >= STUDY_MEMORY_GB, f"{total:,.0f} GB, {os.cpu_count()} cores",
        f"the embedded study needs {STUDY_MEMORY_GB:g} GB",
    )  # fmt: skip


def gpu() -> Finding:
    means = "config/paper.yaml is for a GPU (the paper's had 12 GB); the embedded study needs none"
    driver = _said("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    if driver is None:
        return Finding("GPU", None, "no NVIDIA driver here", means)
    if environment().fine:
        import torch

        if not torch.cuda.is_available():
            return Finding(
                "GPU", None, f"{driver}, which torch {torch.__version__} cannot use (an older driver?)", means
            )
    return Finding("GPU", True, driver, means)


def meter() -> Finding:
    means = "power and energy, tables 5 and 6; without one they are n/a"
    if not environment().fine:
        return Finding("meter", None, "known after make setup", means)
    from lora_core import device
    from lora_core.measuring import meters

    where = device.resolve("auto")
    found = meters.open_meter("auto", where.type, lambda: device.uuid(where))
    try:
        fine = found.reason is None
        return Finding("meter", fine or None, found.name if fine else f"none ({found.reason})", means)
    finally:
        found.close()


def hub() -> Finding:
    means = "config/paper.yaml downloads RoBERTa-base and GLUE; otherwise model and data from folders"
    url = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return Finding("hub", None, "HF_HUB_OFFLINE is set", means)
    try:
        with urllib.request.urlopen(f"{url}/api/models/FacebookAI/roberta-base", timeout=SECONDS):
            return Finding("hub", True, "answers", means)
    except (urllib.error.URLError, OSError, ValueError) as error:
        return Finding("hub", None, f"no answer ({getattr(error, 'reason', error)})", means)


def slurm() -> Finding:
    means = "--profile profiles/slurm sends jobs to a cluster (docs/cluster.md)"
    partitions = _said("sinfo", "--noheader", "--format=%P")
    if partitions is None:
        return Finding("Slurm", None, "none here", means)
    return Finding("Slurm", True, f"partitions {partitions}", means)


def browser() -> Finding:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return Finding(
        "Chromium", bool(found) or None, "there" if found else "none here", "make test tries the report in it"
    )


CHECKS: tuple[Callable[[], Finding], ...] = (
    python, environment, disk, memory, gpu, meter, hub, slurm, browser,
)  # fmt: skip


def _said(*command: str) -> str | None:
    """A program's first lines, joined; None where it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return ", ".join(done.stdout.split("\n")[:4]).strip(", ") or None


def text(findings: list[Finding]) -> str:
    """One line a finding."""
    marks = {True: "ok", False: "NO", None: "-"}
    return "\n".join(
        f"{marks[f.fine]:3} {f.name:12} {f.found}" + (f"\n{'':17}{f.means}" if f.means else "") for f in findings
    )


def main() -> int:
    """Print what was found; 1 where the embedded study cannot run."""
    findings = [check() for check in CHECKS]
    print(text(findings))
    missing = [finding.name for finding in findings if finding.fine is False]
    print()
    print(
        f"Not enough for the embedded study: {', '.join(missing)}."
        if missing
        else "Enough for the embedded study: make tables"
    )
    return bool(missing)


if __name__ == "__main__":
    raise SystemExit(main())
