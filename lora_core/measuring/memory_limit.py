"""How much memory a training job can have: that of a GPU, of the machine, or what it asks a scheduler for."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lora_core.measuring.gpus import memory_mb, usable_gpus

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container; "max" or absent without one


@dataclass(frozen=True)
class MemoryLimit:
    """The memory in MB (10^6 bytes) of what trains, and a name for it, with which a sentence can begin."""

    kind: Literal["cpu", "cuda"]
    mb: float
    name: str


def memory_limit(device: str, is_local: bool, mem_mb: int | None, gpu: bool) -> MemoryLimit | None:
    """Return the limit of jobs with this `train.device`; None if it is not known, as that of a cluster's GPUs.

    `mem_mb` is what a job asks a scheduler for, or a limit that was given to Snakemake; None if there is none. `gpu` is
    whether a job on a cluster asks for a GPU.
    """
    gpus = usable_gpus(device) if is_local else []
    on_gpu = (bool(gpus) if is_local else gpu) if device == "auto" else device != "cpu"
    if on_gpu:
        smallest = memory_mb(gpus)
        return None if smallest is None else MemoryLimit("cuda", smallest, "the GPU")
    asked = None if mem_mb is None else MemoryLimit("cpu", mem_mb, "a job (mem_mb)")
    if not is_local:
        return asked
    limits = [MemoryLimit("cpu", mb, "this machine") for mb in (_machine_mb(), _cgroup_mb()) if mb is not None]
    return min([*limits, *([asked] if asked else [])], key=lambda limit: limit.mb, default=None)


def _machine_mb() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    except (ValueError, OSError, AttributeError):  # a system that does not say
        return None


def _cgroup_mb() -> float | None:
    try:
        return int(CGROUP_LIMIT.read_text()) / 1e6
    except (OSError, ValueError):
        return None
