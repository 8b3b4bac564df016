"""A tiny study run by the real workflow on the device."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from bench.gpu.context import TINY, GpuContext
from lora_core.evaluation.run_record import RunRecord
from lora_core.layout import Layout
from lora_core.provenance import ROOT
from lora_core.records import read_json, write_json

RUN = {"method": "lora", "task": "rte", "seed": "1"}


class Skipped(Exception):
    """Something cannot be checked here; the message says why."""


def run_workflow(context: GpuContext) -> str:
    """Train, merge and time by the workflow, anew. Raise ValueError if a job fails or used another device."""
    if context.quick:
        raise Skipped("takes too long for a smoke run; the tests run the workflow")
    if find_spec("snakemake") is None:
        raise Skipped("snakemake is not installed")
    results = (context.folder / "workflow").resolve()
    config = context.folder / "workflow.yaml"  # JSON is YAML, too
    write_json(config, study(str(results), context.device))
    layout = Layout(str(results))
    table = f"{layout.table.format(table='table3')}.md"
    command = [sys.executable, "-m", "snakemake", table, "--cores", "all", "--forceall", "--configfile", str(config)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise ValueError(f"the workflow failed: {done.stdout[-1500:]}")
    record = RunRecord.read(Path(layout.run_record.format(**RUN)))
    timed = read_json(Path(layout.latency_record.format(**RUN)))["provenance"]["device_model"]
    if record.provenance.device == "cpu" or timed != record.provenance.device_model:
        raise ValueError(f"trained on {record.provenance.device_model}, timed on {timed}")
    return f"trained ({record.execution}), merged and timed on {timed}"


def study(results_dir: str, device: str) -> dict[str, object]:
    """Return the overlay of a tiny study."""
    shape = TINY | {"model_type": "bert", "max_position_embeddings": 130}
    return {
        "results_dir": results_dir,
        "model": {"source": "random", "config": shape},
        "data": {"source": "mini", "max_train_examples": 64, "max_validation_examples": 64},
        "tasks": ["rte"],
        "methods": ["fft", "lora"],
        "seeds": [1],
        "train": {"device": device},
        "measure": {"latency_passes": 2, "latency_seconds": 1, "latency_single_examples": 4, "idle_seconds": 0.5},
    }
