"""How long a device trains nothing between two runs: from the last step of one to the first that counts of the next."""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.context import NO_METER, BenchContext
from bench.gpu_training import TINY
from lora_core.config.params import run_params
from lora_core.models.pretrained import prepare_model
from lora_core.provenance import ROOT
from lora_core.records import write_json
from lora_core.training.spec import RunSpec

ROBERTA_BASE = {
    "model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1,
    "layer_norm_eps": 1e-5, "pad_token_id": 1,
}  # fmt: skip
# A train job that prints when the first step that counts began (after the preparation) and the last one had ended.
JOB = """
import json, sys, time
from pathlib import Path
from lora_core.measuring.exclusive import starting

job = json.loads(Path(sys.argv[1]).read_text())
with starting(job["run"]["device"]):
    from lora_core import device
    from lora_core.training import loop
    from lora_core.training.run import RunInputs, RunOutputs, train
    from lora_core.training.spec import RunSpec

    times, plain = [], loop.TrainingLoop._train_epoch

    def train_epoch(self, *arguments):
        times.append(time.monotonic())
        trained = plain(self, *arguments)
        device.synchronize(self._device)
        times.append(time.monotonic())
        return trained

    loop.TrainingLoop._train_epoch = train_epoch
    inputs, outputs = ({name: Path(file) for name, file in job[key].items()} for key in ("inputs", "outputs"))
    train(RunSpec.from_params(job["run"]), RunInputs(**inputs), RunOutputs(**outputs), job["threads"])
print(json.dumps([times[0], times[-1]]))
"""


def handover_seconds(device: str, threads: int, tiny: bool) -> float:
    """Return the seconds between two jobs of full fine-tuning that start at once; `device` is `train.device`.

    The preparation of the second is part of them. The model has the shape of RoBERTa-base, or of a tiny one. No idle
    power is measured. Raise RuntimeError if a job
    fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        context = BenchContext(Path(folder), None, threads, quick=True)
        shape = ROBERTA_BASE | (TINY if tiny else {})
        # Where the context looks for its own model.
        model = context.folder / "models" / context.study.model.name
        prepare_model({"source": "random", "config": shape, "seed": 0}, model)
        jobs = [_start(context, seed, device) for seed in (1, 2)]
        spans = sorted(map(_span, jobs))
    return spans[1][0] - spans[0][1]


def _start(context: BenchContext, seed: int, device: str) -> subprocess.Popen[str]:
    """Start a job of one epoch."""
    spec = RunSpec.from_params(run_params(context.study, "fft", "cola", seed))
    hyperparameters = replace(spec.hyperparameters, epochs=1)
    spec = replace(spec, hyperparameters=hyperparameters, device=device, measure=NO_METER)
    out = context.folder / f"run{seed}"
    inputs, outputs = context.run_files(context.data("cola"), out)
    job = {
        "run": spec.to_params(),
        "inputs": {name: str(file) for name, file in vars(inputs).items() if file is not None},
        "outputs": {name: str(file) for name, file in vars(outputs).items()},
        "threads": context.threads,
    }
    out.mkdir()
    write_json(out / "job.json", job)
    command = [sys.executable, "-c", JOB, str(out / "job.json")]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _span(job: subprocess.Popen[str]) -> tuple[float, float]:
    """When the first step of a job began, and when its last one had ended."""
    output, errors = job.communicate()
    if job.returncode:
        raise RuntimeError(f"a train job failed: {errors[-2000:]}")
    first, last = json.loads(output.splitlines()[-1])
    return first, last
