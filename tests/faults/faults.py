"""A project that faults can be injected into."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from builders import HANG_SECONDS, ROOT
from project import Project

TABLE = "results/tables/table2.md"
# What `unmeasured` compares, without what is only drawn or timed.
COMPARED = [
    *(f"results/tables/table{number}.md" for number in (1, 2, 7)),
    "results/runs.csv", "results/merged/lora/cola/seed1", "results/energy/cola.csv",
]  # fmt: skip
STUDY = {
    "seeds": [1],
    "train": {"device": "cpu", "threads": 1, "checkpoint_seconds": 0},
    "method_settings": {name: {"hyperparameters": {"epochs": 3, "batch_size": 8}} for name in ("fft", "lora")},
}
STEPS = 4  # an epoch


def output_of_stopped(program: str, *, stop: bool) -> str:
    """What a program prints after "training"; with `stop` it was stopped for 3.5 seconds from there on."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "training\n"
    if stop:
        process.send_signal(signal.SIGSTOP)
        time.sleep(3.5)
        process.send_signal(signal.SIGCONT)
    return process.communicate(timeout=HANG_SECONDS)[0]


class Faulty(Project):
    """A project that faults can be injected into."""

    def __init__(self, folder: Path, ready: Path | None = None) -> None:
        super().__init__(folder, ready)
        self.study = STUDY
        self.configure(**STUDY)
        self.marker = folder.parent / "reached"
        self.whole: dict[Path, bytes] = {}

    def take(self, finished: Path) -> None:
        """Replace the files by those of a finished project."""
        shutil.rmtree(self.folder)
        shutil.copytree(finished, self.folder)

    def begin(self, fault: str, *targets: str, seconds: float = 600, before: Any = None) -> subprocess.Popen:
        """Start snakemake with a fault in its train jobs (sitecustomize.py)."""
        # A new one for each start: the first job that reaches the fault creates it, and later jobs do not stop.
        self.marker = self.marker.with_name(f"reached {uuid.uuid4()}")
        environment = os.environ | {
            "FAULT": fault,
            "FAULT_FILE": str(self.marker),
            "FAULT_SECONDS": str(seconds),
            "PYTHONPATH": str(Path(__file__).parent / "hooks"),
        }
        return self.start(*(targets or (TABLE,)), env=environment, preexec_fn=before)

    def reached(self) -> int:
        """Wait until a job has reached the fault; its process id. The runs that are finished by then are noted."""
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
        """Remove a stale lock, as `make tables` does before it runs; what that prints."""
        result = self.lora_core("unlock", "--configfile", "tiny.yaml")
        assert result.returncode == 0, result.stderr
        return result.stdout + result.stderr

    def make_tables(self) -> str:
        """Run the command of the README, with the environment that runs this test."""
        shutil.copy(ROOT / "Makefile", self.folder)
        (self.folder / ".venv").symlink_to(sys.prefix)
        command = ["make", "--old-file", ".venv/installed", "tables", "CONFIG=tiny.yaml"]
        result = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=HANG_SECONDS, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout + result.stderr
