"""Snakemake as a process that runs this workflow, and the files of the workflow that it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.provenance import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def run_snakemake(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run this workflow in a folder, with variables added to the environment."""
    # With -P, Python does not search the working directory for modules.
    command = [sys.executable, "-P", "-m", "snakemake", "--snakefile", str(project_file("Snakefile")), *arguments]
    return subprocess.run(
        command, cwd=folder, env=os.environ | (environment or {}), capture_output=True, text=True, errors="replace"
    )


def project_file(name: str) -> Path:
    """Return a file of the project: next to this package, or of the working directory if the package is installed.

    Raise ValueError if it is in neither.
    """
    for folder in (ROOT, Path.cwd()):
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"there is no {name} in this folder: run the command in a copy of the workflow")
