"""Lets real train jobs take GPUs of the stand-in driver, and compute on the CPU: Python imports this file by itself.

The folder that GPU_JOBS names gets a line for each job in `held`: its GPU, when it took it and when it gave it up. Jobs
stop at their first step until two are there, and a third one, which has loaded its model, waits for a GPU.
"""

import os
import sys
import time
from pathlib import Path

SECONDS = 300  # until the jobs must be where they should be


def patch() -> None:
    from contextlib import contextmanager

    from lora_core import device, job
    from lora_core.measuring import exclusive
    from lora_core.models import model as models
    from lora_core.training import training_step

    jobs = Path(os.environ["GPU_JOBS"])
    locked, waiting, load, optimizer_step = exclusive._locked, job.waiting, models.load, training_step.optimizer_step
    loaded = []

    def load_model(*arguments, **options):
        loaded.append(load(*arguments, **options))
        return loaded[-1]

    @contextmanager
    def note_held(name):
        with locked(name) as gpu:
            began = time.monotonic()
            try:
                yield gpu
            finally:
                with (jobs / "held").open("a") as file:
                    file.write(f"{device._only_gpu} {began} {time.monotonic()}\n")

    @contextmanager
    def note_waiting():
        with waiting():
            if loaded:
                (jobs / f"ready {os.getpid()}").write_text(str(time.monotonic()))
            yield

    def first_step(*arguments):
        (jobs / f"training {os.getpid()}").touch()
        deadline = time.monotonic() + SECONDS
        while len(list(jobs.glob("training *"))) < 2 or not list(jobs.glob("ready *")):
            if time.monotonic() > deadline:
                raise SystemExit(f"not two jobs that train and one that is ready: {sorted(os.listdir(jobs))}")
            time.sleep(0.05)
        training_step.optimizer_step = optimizer_step
        return optimizer_step(*arguments)

    def start(gpu):
        import torch

        return torch.device("cpu")

    exclusive._locked, exclusive._start, job.waiting = note_held, start, note_waiting
    models.load, training_step.optimizer_step = load_model, first_step
    device.uuid = lambda torch_device: device._only_gpu  # of the CPU too, which computes in its place


class Patch:
    """Patches the code when train.py imports it; no other job of the workflow is touched."""

    def find_spec(self, name, path=None, target=None):
        if name == "lora_core.training.outputs":  # after all that is patched
            sys.meta_path.remove(self)
            patch()


if any(argument.endswith("train.py") for argument in sys.orig_argv):
    sys.meta_path.insert(0, Patch())
