"""Brings a fault into a real train job, from outside its code: on PYTHONPATH, told by the environment.

FAULT is "step N" (before the N-th optimiser step), "write NAME" (NAME's content is there, beside its place, without its
name yet), "memory N" (an address-space limit reached at step N) or "clock N" (set back an hour at step N). At a step or
a write the job makes the file FAULT_FILE with its process id and waits FAULT_SECONDS.
"""

import os
import sys
import time
from pathlib import Path

what, _, where = os.environ.get("FAULT", "").partition(" ")


def reach() -> None:
    file = Path(os.environ["FAULT_FILE"])
    if not file.exists():
        file.write_text(str(os.getpid()))
        time.sleep(float(os.environ["FAULT_SECONDS"]))


def before_step(number: int) -> None:
    if number != int(where):
        return
    if what == "step":
        reach()
    elif what == "clock":
        real = time.time
        time.time = lambda: real() - 3600
    elif what == "memory":
        import resource

        import torch

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, -1))
        torch.empty(2**28)  # 1 GiB


def patch_steps() -> None:
    from lora_core.training import loop as epochs

    plain, count = epochs.update, 0

    def update(*arguments):
        nonlocal count
        count += 1
        before_step(count)
        return plain(*arguments)

    epochs.update = update


def patch_writes() -> None:
    plain = Path.replace

    def replace(self, target):
        if Path(target).name == where and self.name.endswith(".part"):
            reach()
        return plain(self, target)

    Path.replace = replace


class Patch:
    """Patches lora_core.training.loop when train.py imports it: nothing else of the workflow is touched."""

    def find_spec(self, name, path=None, target=None):
        if name == "lora_core.training.run":
            sys.meta_path.remove(self)
            patch_writes() if what == "write" else patch_steps()


if what and any(word.endswith("train.py") for word in sys.orig_argv):
    sys.meta_path.insert(0, Patch())
