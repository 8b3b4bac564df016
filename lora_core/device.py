"""The device that computes: its name, its allocator's peak, and locks that keep other jobs off it."""

import hashlib
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core import job

if TYPE_CHECKING:
    import numpy as np
    import torch


def resolve(name: str) -> "torch.device":
    """Return the torch device for "auto", "cpu", "cuda" or "cuda:1". Raise ValueError if it is not available."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"train.device is {name!r}, but torch sees no CUDA device here; set it to 'cpu' or 'auto'")
    return torch.device("cuda", torch.device(name).index or 0) if name.startswith("cuda") else torch.device(name)


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


def uuid(device: "torch.device") -> str | None:
    """Return NVML's name of a CUDA device ("GPU-..." or "MIG-..."), None for a CPU.

    It comes from torch, because NVML's numbering of devices ignores CUDA_VISIBLE_DEVICES.
    """
    if device.type != "cuda":
        return None
    import torch

    text = str(torch.cuda.get_device_properties(device).uuid)
    return text if text.startswith(("GPU-", "MIG-")) else f"GPU-{text}"


def label(device: "torch.device") -> str:
    """Return the device's name in records: "cpu", or a GPU's UUID, hashed so that results can be shared."""
    name = uuid(device)
    return "cpu" if name is None else "gpu-" + hashlib.sha256(name.encode()).hexdigest()[:12]


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
def exclusive_device(device: "torch.device") -> Iterator[None]:
    """Keep this user's other measured jobs off the device, whichever workflow on this machine started them.

    Two snakemake processes do not know of each other's resources, but they share a lock file.
    """
    user = os.getuid() if hasattr(os, "getuid") else "user"
    name = label(device)
    with file_lock(Path(tempfile.gettempdir()) / f"lora-core-{user}-{name}.lock", name):
        yield


@contextmanager
def file_lock(path: Path, name: str) -> Iterator[None]:
    """Hold a lock file during the block.

    If another job holds it, the log says so with `name` (what the lock protects), and this one waits. Where the file
    system has no locks, the block runs without one.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting: another measured job is using {name}", file=sys.stderr, flush=True)
        with job.waiting():
            lock.acquire()
    except (NotImplementedError, OSError) as error:
        print(f"{path} cannot be locked ({error}); continuing without a lock", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        lock.release()
