"""Runs code in an environment of other people's tools."""

import subprocess
from pathlib import Path


def run_python(python: Path, code: str, *arguments: str | Path, folder: Path) -> str:
    """Run code by an environment's Python in another working directory, without this project, and return its output."""
    command = [str(python), "-I", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
