"""A copy of the project with a tiny study, run by the real snakemake; and what of its results is not measured."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from builders import BERT, HANG_SECONDS, ROOT, unmeasured_rows, without_measured
from fork_server import snakemake

from lora_core.records import MEASURED, read_json

SNAKEMAKE = Path(sys.executable).with_name("snakemake")
TINY: dict[str, Any] = {
    "results_dir": "results",
    "model": {"source": "random", "config": BERT},
    "data": {"source": "mini", "max_train_examples": 32, "max_validation_examples": 24},
    "tasks": ["cola"],
    "methods": ["fft", "lora"],
    "seeds": [1, 2],
    "measure": {"latency_passes": 2, "latency_seconds": 0.5, "latency_single_examples": 4},
    "method_settings": {"fft": {"hyperparameters": {"epochs": 2}}, "lora": {"hyperparameters": {"epochs": 2}}},
}


class Project:
    """A copy of the project in a separate folder, with a tiny study that overlays config.yaml.

    With `copy_of`, the folder of another project, the copy has its results too.
    """

    def __init__(self, folder: Path, copy_of: Path | None = None) -> None:
        self.folder = folder
        if copy_of is not None:
            shutil.copytree(copy_of, folder)
            return
        folder.mkdir(parents=True)
        keep = ["Snakefile", "config.yaml", "config", "profiles", "envs", "workflow", "lora_core", "requirements.lock"]
        for name in keep:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        self.configure()

    def configure(self, **changes) -> None:
        """Write the tiny study with dotted keys (`a__b`) changed."""
        config = json.loads(json.dumps(TINY))
        for path, value in changes.items():
            *parents, last = path.split("__")
            section = config
            for parent in parents:
                section = section.setdefault(parent, {})
            section[last] = json.loads(json.dumps(value))
        (self.folder / "tiny.yaml").write_text(yaml.safe_dump(config))

    def start(
        self, *arguments: str, overlay: str = "tiny.yaml", env: dict | None = None, cores: bool = True, **popen: Any
    ) -> subprocess.Popen:
        return subprocess.Popen(
            [SNAKEMAKE, *(("--cores", "1") if cores else ()), *arguments, "--configfile", overlay],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=(env or os.environ) | {"HF_HUB_OFFLINE": "1"}, start_new_session=True, **popen,
        )  # fmt: skip

    def run(self, *arguments: str, overlay: str = "tiny.yaml", env: dict | None = None) -> tuple[int, str]:
        """Exit status and everything printed."""
        if env is not None:  # variables that Python reads when it starts
            process = self.start(*arguments, overlay=overlay, env=env)
            output, _ = process.communicate(timeout=HANG_SECONDS)
            return process.returncode, output
        command = ["--cores", "1", *arguments, "--configfile", overlay]
        return snakemake(self.folder, command, os.environ | {"HF_HUB_OFFLINE": "1"})

    def status(self, overlay: str = "tiny.yaml") -> str:
        """What `make status` prints."""
        return self.lora_core("status", "--configfile", overlay).stdout

    def lora_core(self, *arguments: str) -> subprocess.CompletedProcess:
        """What the command `lora-core` does with this copy of the package."""
        command = [sys.executable, "-m", "lora_core.commands.cli", *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True)

    def table(self, name: str) -> list[dict[str, Any]]:
        """The cells of a table of the study."""
        return read_json(self.folder / f"results/tables/{name}.json")["cells"]

    def plan(self, *arguments: str, overlay: str = "tiny.yaml") -> set[str]:
        """What a dry run would do: "rule" or "rule method=..., seed=...", without the target `all`."""
        status, output = self.run("-n", *arguments, overlay=overlay)
        assert status == 0, output
        jobs = set()
        for block in output.split("\n\n"):
            for job in re.finditer(r"^(?:local)?rule (\w+):\n((?:    .*\n?)*)", block, re.MULTILINE):
                wildcards = re.search(r"wildcards: (.*)", job[2])
                jobs.add(f"{job[1]} {wildcards[1]}" if wildcards else job[1])
        return {job for job in jobs if job != "all"}

    def wait(self, true: Callable[[], bool], seconds: float = HANG_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"still not so after {seconds} s"
            time.sleep(0.02)

    def wait_for(self, path: Path) -> None:
        self.wait(path.exists)

    def weights(self, method: str, seed: int) -> bytes:
        name = "model.safetensors" if method == "fft" else "adapter_model.safetensors"
        return (self.folder / f"results/runs/{method}/cola/seed{seed}/weights/{name}").read_bytes()

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new, 1))


def rules(plan: set[str]) -> set[str]:
    return {job.split()[0] for job in plan}


def glue(folder: Path, **columns) -> Path:
    """A data folder in GLUE's layout with one small task, its columns changed."""
    import pyarrow as pa
    from pyarrow import parquet

    content = {"sentence": ["A dog barks.", "Dog a barks."] * 8, "label": [1, 0] * 8, "idx": list(range(16))} | columns
    table = pa.table({name: values for name, values in content.items() if values is not None})
    (folder / "cola").mkdir(parents=True)
    for split in ("train", "validation"):
        parquet.write_table(table, folder / "cola" / f"{split}-00000-of-00001.parquet")
    return folder


def unmeasured(results: Path) -> dict[str, Any]:
    """What a study's files say that must not differ from one execution to the next, by file and field.

    Weights, predictions, scores and counts byte for byte; of records and rows all that is not in `MEASURED`. Model
    cards contain times, and exit records and logs contain the process. An adapter's configuration contains the folder
    of the results that it was trained in, so it is compared without, and its digests are left out.
    """
    adapter = "adapter_config.json"
    content: dict[str, Any] = {}
    for file in sorted(p for p in results.rglob("*") if p.is_file() and not p.name.startswith(".")):
        if file.name == "README.md" or "logs" in file.relative_to(results).parts:
            continue
        name = str(file.relative_to(results))
        byte_for_byte = ("scores/", "counts", "data/", "models/", "merged/", "tables/table7.", "study")
        if file.name == adapter:
            text = json.dumps(json.loads(file.read_bytes()), ensure_ascii=False)
            content[name] = re.sub(r'"/[^"]*/(results/models/)', r'"\1', text)
        elif re.fullmatch(r"merged/[^/]+/[^/]+/seed\d+\.json", name):
            record = read_json(file)
            made_from = {made: digest for made, digest in record["made_from"].items() if not made.endswith(adapter)}
            content[name] = record["files"], made_from
        elif file.suffix == ".safetensors" or "weights" in file.parts or name.startswith(byte_for_byte):
            content[name] = file.read_bytes()
        elif file.name == "run.json":
            record = read_json(file)
            start = {n: d for n, d in (record["run"].get("start") or {}).items() if n != adapter}
            content[name] = record["run"] | {"start": start}, without_measured(record["measurement"])
        elif file.name == "runs.csv":
            rows = csv.DictReader(file.open(encoding="utf-8"))
            content[name] = [without_measured(row) for row in rows if row["quantity"].split(".")[0] not in MEASURED]
        elif file.name == "history.csv" or name.startswith("energy/"):
            content[name] = unmeasured_rows(file)
        elif file.name in ("table1.md", "table2.md", "table1.json", "table2.json"):
            content[name] = file.read_bytes()
    return content
