"""Injects a fault into a real train job, from outside of its code: Python imports this file if it is on PYTHONPATH.

The environment variable FAULT is "step N" (before the N-th optimizer step), "write NAME" (NAME's content is complete
under its temporary name), "memory N" (an address-space limit is reached at step N), "clock N" (the clock is set back an
hour at step N), "nan N" or "inf N" (all trained weights are that from step N on), "busy N" (step N never ends) or
"exit" (the interpreter crashes when it exits). At a step or a write the job creates FAULT_FILE with its process id and
waits FAULT_SECONDS, or until the file is removed.
"""

import atexit
import os
import sys
import time
from pathlib import Path

kind, _, place = os.environ.get("FAULT", "").partition(" ")


def pause() -> None:
    file = Path(os.environ["FAULT_FILE"])
    if not file.exists():
        file.write_text(str(os.getpid()))
        end = time.monotonic() + float(os.environ["FAULT_SECONDS"])
        while file.exists() and time.monotonic() < end:
            time.sleep(0.05)


def before_step(number: int, trained: list) -> None:
    if number != int(place):
        return
    if kind == "step":
        pause()
    elif kind == "busy":
        while True:  # until a limit on processor time ends it
            pass
    elif kind == "clock":
        real = time.time
        time.time = lambda: real() - 3600
    elif kind in ("nan", "inf"):
        for parameter in trained:
            parameter.data.fill_(float(kind))
    elif kind == "memory":
        import resource

        import torch

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, -1))
        torch.empty(2**28)  # 1 GiB


def patch_steps() -> None:
    from lora_core.training import training_step

    plain, count = training_step.optimizer_step, 0

    def optimizer_step(*arguments):
        nonlocal count
        count += 1
        before_step(count, arguments[0])
        return plain(*arguments)

    training_step.optimizer_step = optimizer_step


def patch_writes() -> None:
    plain = Path.replace

    def replace(self, target):
        if Path(target).name == place and self.name.endswith(".part"):
            pause()
        return plain(self, target)

    Path.replace = replace


class Patch:
    """Patches the training code when train.py imports it; no other job of the workflow is touched."""

    def find_spec(self, name, path=None, target=None):
        if name == "lora_core.training.run":
            sys.meta_path.remove(self)
            if kind == "exit":
                atexit.register(os.abort)
            elif kind == "write":
                patch_writes()
            else:
                patch_steps()


if kind and any(argument.endswith("train.py") for argument in sys.orig_argv):
    sys.meta_path.insert(0, Patch())
