"""How long a device trains nothing between two runs: from the last step of one to the first that counts of the next."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from bench.context import NO_METER
from bench.gpu.context import PRECISIONS, GpuContext
from bench.gpu.handover_job import train_job
from lora_core.provenance import ROOT
from lora_core.records import write_json

EXAMPLES = 640  # 20 steps


@dataclass(frozen=True)
class Handover:
    """Two jobs that start at once.

    Attributes:
        start_seconds: From the start of the first job's process to its first step that counts.
        between_seconds: From the last step of the first job to the first that counts of the second.
    """

    start_seconds: float
    between_seconds: float


def measure_handover(context: GpuContext) -> Handover:
    """Return the times of two jobs of full fine-tuning, one epoch each; their preparation is part of them.

    No idle power is measured. In a quick run the jobs have no processes of their own. Raise RuntimeError if one fails.
    """
    files = [_job_file(context, number) for number in (1, 2)]
    started = time.monotonic()
    if context.quick:
        spans = [train_job(file) for file in files]
    else:
        command = [sys.executable, "-m", "bench.gpu.handover_job"]
        jobs = [
            subprocess.Popen([*command, file], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for file in files
        ]
        spans = sorted(map(_span, jobs))
    return Handover(spans[0][0] - started, spans[1][0] - spans[0][1])


def _job_file(context: GpuContext, number: int) -> Path:
    """Write what a job of one epoch reads."""
    spec = replace(context.gpu_spec("rte", "full", "fp32" if context.quick else PRECISIONS[0]), measure=NO_METER)
    out = context.folder / f"handover{number}"
    shutil.rmtree(out, ignore_errors=True)
    inputs, outputs = context.run_files(context.data("rte", EXAMPLES), out)
    out.mkdir(parents=True)
    job = {
        "run": spec.to_params(),
        "inputs": {name: str(file.resolve()) for name, file in vars(inputs).items() if file is not None},
        "outputs": {name: str(file.resolve()) for name, file in vars(outputs).items()},
        "threads": context.threads,
    }
    write_json(out / "job.json", job)
    return (out / "job.json").resolve()


def _span(job: subprocess.Popen[str]) -> list[float]:
    """When the first step of a job began, and when its last one had ended."""
    output, errors = job.communicate()
    if job.returncode:
        raise RuntimeError(f"a train job failed: {errors[-2000:]}")
    return json.loads(output.splitlines()[-1])
