"""`lora-core doctor` (`make doctor`): what this machine has, and what each part of it makes possible.

It needs nothing but Python's standard library, so that it runs before `make setup`; what only an installed environment
knows is asked if there is one.
"""

from __future__ import annotations  # so that older Pythons get as far as the message about their version

import os
import sys

# After `python -m`, a file such as random.py in the working folder would run in place of Python's own module. This
# package has been found by now, and finds its modules by itself.
if __name__ == "__main__" and sys.path[0] == os.getcwd():
    del sys.path[0]

import importlib.util
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from lora_core.commands.programs import TIMEOUT_SECONDS, output_of

GB = 1e9
ENVIRONMENT_GB = 6.0
STUDY_DISK_GB, STUDY_MEMORY_GB = 3.5, 4.0  # of the embedded study
MARKS = {True: "ok", False: "NO", None: "-"}


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: What was checked.
        ok: None where nothing but what `note` names needs it.
        result: What the check saw.
        note: What it is needed for, or what to do.
    """

    name: str
    ok: bool | None
    result: str
    note: str = ""


def check_python() -> Check:
    """Check that Python is new enough."""
    ok = sys.version_info >= (3, 11)
    note = "" if ok else "Python 3.11 or newer is required: make PYTHON=/path/to/it"
    return Check("Python", ok, ".".join(map(str, sys.version_info[:3])), note)


def check_environment() -> Check:
    """Check whether the packages of the workflow are installed."""
    if all(importlib.util.find_spec(name) for name in ("torch", "snakemake", "transformers")):
        return Check("environment", True, "installed")
    return Check("environment", None, "not installed yet", "run: make setup")


def check_disk() -> Check:
    """Check that the embedded study fits on the disk, with its environment if that is not installed yet."""
    free = shutil.disk_usage(".").free / GB
    installed = check_environment().ok
    required = STUDY_DISK_GB if installed else STUDY_DISK_GB + ENVIRONMENT_GB
    including = "" if installed else " including the installation"
    note = f"the embedded study needs {required:g} GB{including}; config/paper.yaml needs 40 GB"
    return Check("disk", free >= required, f"{free:,.0f} GB free in this folder", note)


def check_memory() -> Check:
    """Check that the embedded study fits into memory."""
    note = f"the embedded study needs {STUDY_MEMORY_GB:g} GB"
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    except (ValueError, OSError, AttributeError):
        return Check("memory", None, "this system does not report its memory", note)
    return Check("memory", total >= STUDY_MEMORY_GB, f"{total:,.0f} GB, {os.cpu_count()} cores", note)


def check_gpu() -> Check:
    """Check for an NVIDIA GPU that torch can use."""
    note = (
        "config/paper.yaml is meant for a GPU (the paper's had 12 GB); the embedded study needs none; make regimes "
        "measures what a training step waits for on this device"
    )
    driver = _output("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    if driver is None:
        return Check("GPU", None, "no NVIDIA driver", note)
    if check_environment().ok:
        import torch

        if not torch.cuda.is_available():
            return Check("GPU", None, f"{driver}; torch {torch.__version__} cannot use it (an old driver?)", note)
    return Check("GPU", True, driver, note)


def check_meter() -> Check:
    """Check whether the device's power and energy can be read."""
    note = "for power and energy, tables 5 and 6; without a meter they show n/a"
    if not check_environment().ok:
        return Check("meter", None, "known after make setup", note)
    import torch

    from lora_core.measuring.meters import open_meter

    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    meter = open_meter("auto", device)
    try:
        if meter.reason is None:
            return Check("meter", True, meter.name, note)
        return Check("meter", None, f"none ({meter.reason})", note)
    finally:
        meter.close()


def check_hub() -> Check:
    """Check whether the Hugging Face hub answers."""
    note = "config/paper.yaml downloads RoBERTa-base and GLUE; without the hub, use a model and data from local folders"
    url = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return Check("hub", None, "HF_HUB_OFFLINE is set", note)
    try:
        with urllib.request.urlopen(f"{url}/api/models/FacebookAI/roberta-base", timeout=TIMEOUT_SECONDS):
            return Check("hub", True, "answers", note)
    except (urllib.error.URLError, OSError, ValueError) as error:
        return Check("hub", None, f"no answer ({getattr(error, 'reason', error)})", note)


def check_slurm() -> Check:
    """Check for a Slurm cluster."""
    note = "after make slurm, --profile profiles/slurm sends jobs to a cluster (docs/cluster.md)"
    partitions = _output("sinfo", "--noheader", "--format=%P")
    if partitions is None:
        missing = shutil.which("sinfo") is None
        return Check("Slurm", None, "not installed" if missing else "installed, but it does not answer", note)
    return Check("Slurm", True, f"partitions {partitions}", note)


def check_browser() -> Check:
    """Check for a browser, which the tests of the report use."""
    browsers = [name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)]
    return Check("Chromium", bool(browsers) or None, "installed" if browsers else "not installed", "for make test only")


CHECKS: tuple[Callable[[], Check], ...] = (
    check_python,
    check_environment,
    check_disk,
    check_memory,
    check_gpu,
    check_meter,
    check_hub,
    check_slurm,
    check_browser,
)


def _output(*command: str) -> str | None:
    """Return a program's first lines joined with commas; None if it is not installed, fails or does not answer."""
    try:
        printed = output_of(*command)
    except (OSError, subprocess.SubprocessError):
        return None
    return ", ".join(printed.split("\n")[:4]).strip(", ") or None


def format_checks(checks: list[Check]) -> str:
    """Return one line per check, each with its note below it."""
    lines = []
    for check in checks:
        lines.append(f"{MARKS[check.ok]:3} {check.name:12} {check.result}")
        if check.note:
            lines.append(f"{'':17}{check.note}")
    return "\n".join(lines)


def main() -> int:
    """Print every check; return 1 if the embedded study cannot run on this machine."""
    checks = [check() for check in CHECKS]
    print(format_checks(checks))
    failed = [check.name for check in checks if check.ok is False]
    print()
    if failed:
        print(f"This machine cannot run the embedded study; not sufficient: {', '.join(failed)}.")
    else:
        print("This machine can run the embedded study: make tables")
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
