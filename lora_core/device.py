"""The device that computes: its name, its allocator's peak, and locks that jobs hold."""

import hashlib
import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core import job

if TYPE_CHECKING:
    import numpy as np
    import torch
    from filelock import BaseFileLock

WAIT_SECONDS = 0.05  # between two attempts to take a lock that another job holds
_only_gpu: str | None = None  # the one that `show_only` left


def model_name(device: "torch.device") -> str:
    """Return the model of the processor or GPU, as the system names it."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1] if match else platform.processor() or platform.machine()


def show_only(gpu: str) -> None:
    """Let this process, whose CUDA has not started yet, see one GPU alone, by its UUID: it is `cuda:0` from then on."""
    global _only_gpu
    _only_gpu = gpu
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu


def uuid(device: "torch.device") -> str | None:
    """Return NVML's name of a CUDA device ("GPU-..." or "MIG-..."), None for a CPU.

    After `show_only` it is known without CUDA. Otherwise torch says it, because NVML's numbering of devices ignores
    CUDA_VISIBLE_DEVICES.
    """
    if device.type != "cuda":
        return None
    if _only_gpu is not None:
        return _only_gpu
    import torch

    text = str(torch.cuda.get_device_properties(device).uuid)
    return text if text.startswith(("GPU-", "MIG-")) else f"GPU-{text}"


def label(device: "torch.device") -> str:
    """Return the device's name in records: "cpu", or `label_of` a GPU."""
    name = uuid(device)
    return "cpu" if name is None else label_of(name)


def label_of(gpu: str) -> str:
    """Return the name of a GPU in records: its UUID, hashed so that results can be shared."""
    return "gpu-" + hashlib.sha256(gpu.encode()).hexdigest()[:12]


def to_device(array: "np.ndarray", device: "torch.device") -> "torch.Tensor":
    """Return the array as a tensor on the device.

    The copy to a GPU goes through pinned memory, so that the host need not wait for it.
    """
    import torch

    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def synchronize(device: "torch.device") -> None:
    """Wait until a GPU has finished its work; without that, a clock measures only how fast work was queued."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def reset_peak_memory(device: "torch.device") -> None:
    """Start a new measurement of the allocator's peak."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_mb(device: "torch.device") -> tuple[float | None, float | None]:
    """Return the allocator's peak since `reset_peak_memory`: MB of tensors, and MB reserved; None on a CPU."""
    if device.type != "cuda":
        return None, None
    import torch

    return torch.cuda.max_memory_allocated(device) / 1e6, torch.cuda.max_memory_reserved(device) / 1e6


@contextmanager
def file_lock(path: Path, name: str) -> Iterator[None]:
    """Hold a lock file during the block; `name` is what the lock protects, for the log of a job that waits."""
    with first_free_lock([path], name):
        yield


@contextmanager
def first_free_lock(paths: Sequence[Path], name: str) -> Iterator[int]:
    """Hold the first of some lock files that is free during the block, and yield its number.

    If other jobs hold all of them, the log says so with `name` (what the locks protect), and this one waits for any.
    Where the file system has no locks, the block runs without one. A process that holds a lock may take it again.
    """
    from filelock import FileLock

    for folder in {path.parent for path in paths}:
        folder.mkdir(parents=True, exist_ok=True)
    locks = [FileLock(path, is_singleton=True) for path in paths]
    number = _acquire_first(locks)
    if number is None:
        print(f"waiting: another measured job is using {name}", file=sys.stderr, flush=True)
        with job.waiting():
            while (number := _acquire_first(locks)) is None:
                time.sleep(WAIT_SECONDS)
    try:
        yield number
    finally:
        locks[number].release()


def _acquire_first(locks: "Sequence[BaseFileLock]") -> int | None:
    """The number of the first lock that could be taken; None if other processes hold all of them."""
    from filelock import Timeout

    for number, lock in enumerate(locks):
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        except (NotImplementedError, OSError) as error:
            print(
                f"{lock.lock_file} cannot be locked ({error}); continuing without a lock", file=sys.stderr, flush=True
            )
        return number
    return None
