"""A project that faults can be brought into."""

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from builders import ROOT
from project import Project

TABLE = "results/tables/table2.md"
STUDY = {
    "seeds": [1],
    "train": {"device": "cpu", "threads": 1, "checkpoint_seconds": 0},
    "method_settings": {name: {"hyperparameters": {"epochs": 3, "batch_size": 8}} for name in ("fft", "lora")},
}
STEPS = 4  # an epoch


class Faulty(Project):
    """A project that a fault can be brought into."""

    def __init__(self, folder: Path, ready: Path | None = None) -> None:
        if ready is None:
            super().__init__(folder)
        else:
            shutil.copytree(ready, folder)
            self.folder = folder
        self.study = STUDY
        self.configure(**STUDY)
        self.marker = folder.parent / "reached"
        self.whole: dict[Path, bytes] = {}

    def take(self, finished: Path) -> None:
        """Have what a finished project has."""
        shutil.rmtree(self.folder)
        shutil.copytree(finished, self.folder)

    def begin(self, fault: str, *words: str, seconds: float = 600, before: Any = None) -> subprocess.Popen:
        """Start snakemake with a fault in its train jobs (sitecustomize.py)."""
        # One for each start: the first job that gets there makes it, and the others go on.
        self.marker = self.marker.with_name(f"reached {uuid.uuid4()}")
        told = {"FAULT": fault, "FAULT_FILE": str(self.marker), "FAULT_SECONDS": str(seconds)}
        told["PYTHONPATH"] = str(Path(__file__).parent / "hooks")
        return self.start(*(words or (TABLE,)), env=os.environ | told, preexec_fn=before)

    def reached(self) -> int:
        """Wait until the job is where the fault wants it; its process id. What is finished by then is noted."""
        self.wait_for(self.marker)
        self.note()
        self.wait(lambda: self.marker.read_text() != "")
        return int(self.marker.read_text())

    def note(self) -> None:
        """Remember the records of the runs that are finished."""
        self.whole = {path: path.read_bytes() for path in self.results.glob("runs/*/*/*/run.json")}

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def unlock(self) -> str:
        """As `make tables` does before it runs."""
        command = [sys.executable, "-m", "lora_core.commands.unlock", "--configfile", "tiny.yaml"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout + done.stderr

    def make_tables(self) -> str:
        """The command of the README, with the environment that runs this test."""
        shutil.copy(ROOT / "Makefile", self.folder)
        (self.folder / ".venv").symlink_to(sys.prefix)
        command = ["make", "--old-file", ".venv/installed", "tables", "CONFIG=tiny.yaml"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr
