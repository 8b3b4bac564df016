"""Which device computes, what it is called, and having it alone."""

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

if TYPE_CHECKING:
    import numpy as np
    import torch


def resolve(name: str) -> "torch.device":
    """The torch device for "auto", "cpu", "cuda" or "cuda:1". Raises ValueError where it is not there."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"train.device is {name!r}, but torch sees no CUDA device here; set it to 'cpu' or 'auto'")
    return torch.device("cuda", torch.device(name).index or 0) if name.startswith("cuda") else torch.device(name)


def model_name(device: "torch.device") -> str:
    """The model of the processor or GPU, as the system names it."""
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
    """NVML's name of a CUDA device ("GPU-..." or "MIG-..."), taken from torch: NVML ignores CUDA_VISIBLE_DEVICES."""
    if device.type != "cuda":
        return None
    import torch

    text = str(torch.cuda.get_device_properties(device).uuid)
    return text if text.startswith(("GPU-", "MIG-")) else f"GPU-{text}"


def label(device: "torch.device") -> str:
    """What records call the device: "cpu", or a GPU's UUID hashed, so that results can be shared."""
    name = uuid(device)
    return "cpu" if name is None else "gpu-" + hashlib.sha256(name.encode()).hexdigest()[:12]


def put(array: "np.ndarray", device: "torch.device") -> "torch.Tensor":
    """The array as a tensor on the device; from pinned memory to a GPU, so that the host need not wait for the copy."""
    import torch

    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def synchronize(device: "torch.device") -> None:
    """Wait until the device has done all it was given: a clock read before that measures nothing."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def reset_peak(device: "torch.device") -> None:
    """Let the allocator's peak start anew."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def peak_mb(device: "torch.device") -> tuple[float | None, float | None]:
    """The allocator's peak since `reset_peak`: MB of tensors, and MB that it held; None on a CPU."""
    if device.type != "cuda":
        return None, None
    import torch

    return torch.cuda.max_memory_allocated(device) / 1e6, torch.cuda.max_memory_reserved(device) / 1e6


@contextmanager
def alone(device: "torch.device") -> Iterator[None]:
    """Hold the device against this user's other measured jobs, of any workflow on this machine.

    Two snakemake processes do not know of each other's resources; a lock file does.
    """
    user = os.getuid() if hasattr(os, "getuid") else "user"
    with hold(Path(tempfile.gettempdir()) / f"lora-core-{user}-{label(device)}.lock", label(device)):
        yield


@contextmanager
def hold(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file; say so where another holds it, and wait. A file system without locks is none the worse."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting: another measured job holds {what}", file=sys.stderr, flush=True)
        lock.acquire()
    except (NotImplementedError, OSError) as error:
        print(f"{path} cannot be locked ({error})", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        lock.release()
