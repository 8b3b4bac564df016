"""A project whose jobs go to Slurm, and the study that it runs."""

import subprocess

import yaml
from project import Project

# One GPU is requested, which stands in for a real one: the runs train on the CPU.
RESOURCES = {"measured": {"mem_mb": 2000, "runtime": 10, "gpu": 1}, "other": {"mem_mb": 1000, "runtime": 10}}
STUDY = {"seeds": [1], "train": {"device": "cpu", "checkpoint_seconds": 0}, "resources": RESOURCES}
RUN = "results/runs/lora/cola/seed1/run.json"
BEFORE_TRAINING = "        from lora_core.training.checkpoint import"


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class SlurmProject(Project):
    """A project whose jobs go to Slurm."""

    def submit(self, *arguments: str, profile: str = "profiles/slurm") -> subprocess.Popen:
        waits = ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5"]
        return self.start("--profile", profile, *waits, *arguments, cores=False)

    def profile(self, **settings) -> str:
        """A copy of the profile with these settings."""
        content = yaml.safe_load((self.folder / "profiles/slurm/config.yaml").read_text())
        folder = self.folder / "profiles/mine"
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump(content | settings))
        return "profiles/mine"

    def in_slurm(self, columns: str, *states: str) -> list[list[str]]:
        """Columns of squeue for the jobs of this project, in these states or in any before the end."""
        chosen = [f"--states={','.join(states)}"] if states else []
        printed = slurm("squeue", "--noheader", f"--format=%Z|{columns}", *chosen)
        lines = [line.split("|") for line in printed.splitlines()]
        return [values for folder, *values in lines if folder == str(self.folder)]

    def number(self, *states: str) -> str:
        """The number of the job, once there is one in these states."""
        self.wait(lambda: bool(self.in_slurm("%i", *states)))
        return self.in_slurm("%i", *states)[0][0]

    def before_training(self, code: str) -> None:
        """Let train jobs do something else first."""
        lines = "".join(f"        {line}\n" for line in code.splitlines())
        self.edit("workflow/scripts/train.py", BEFORE_TRAINING, f"{lines}\n{BEFORE_TRAINING}")
