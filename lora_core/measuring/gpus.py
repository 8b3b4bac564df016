"""The NVIDIA GPUs that a process may use, as their driver lists them.

CUDA, which would stay on a device, is not started: a job can choose its GPU while others train, and Snakemake can count
GPUs at each start.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lora_core.measuring import nvml
from lora_core.measuring.driver_thread import DriverThread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Answer = TypeVar("Answer")


def visible_gpus() -> list[str] | None:
    """Return the UUIDs of the GPUs that CUDA_VISIBLE_DEVICES leaves, in its order; None if the driver does not say.

    The list is empty where torch cannot use a GPU: without a driver, with one that is too old, without CUDA.
    """
    if sys.platform != "linux":
        return None
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None and not chosen.strip():
        return []
    gpus = driver_gpus()
    if gpus is None or chosen is None:
        return None if gpus is None else [uuid for gpu in gpus for uuid in gpu]
    return choose(gpus, chosen)


@cache
def driver_gpus() -> list[list[str]] | None:
    """Return for each GPU its UUID, or those of its MIG slices; None if the driver does not say. It is asked once."""
    # Importing pynvml takes longer than all else that a start of Snakemake does for this.
    if not _can_load("libnvidia-ml.so.1"):
        return None if _can_load("libcuda.so.1") else []
    import pynvml

    driver = DriverThread()
    try:
        return driver.call(_list_gpus, nvml.OPEN_SECONDS)
    except (pynvml.NVMLError, TimeoutError, *nvml.NONSENSE):
        return None
    finally:
        driver.close()


def gpu_count(device: str) -> int:
    """Return on how many GPUs the measured jobs of a study run; 0 on a CPU, and if the driver does not say.

    `device` is the value of `train.device`.
    """
    count = 0 if device == "cpu" else len(visible_gpus() or [])
    return min(count, 1) if ":" in device else count


def usable_gpus(device: str) -> list[str]:
    """Return the UUIDs of the GPUs that measured jobs here may take; none on a CPU, and if the driver does not say.

    `device` is the value of `train.device`.
    """
    _, _, index = device.partition(":")
    uuids = [] if device == "cpu" else visible_gpus() or []
    return [uuid for i, uuid in enumerate(uuids) if index in ("", str(i))]


def memory_mb(uuids: Sequence[str]) -> float | None:
    """Return the memory in MB (10^6 bytes) of the smallest of some GPUs; None without any, or if the driver fails."""

    def smallest(driver: Any, handles: Sequence[Any]) -> float:
        return min(driver.nvmlDeviceGetMemoryInfo(handle).total for handle in handles) / 1e6

    return _ask(uuids, smallest)


def capabilities(uuids: Sequence[str]) -> list[tuple[str, tuple[int, int]]] | None:
    """Return the name and the compute capability of each of some GPUs; None without any, or if the driver fails."""

    def describe(driver: Any, handles: Sequence[Any]) -> list[tuple[str, tuple[int, int]]]:
        versions = (driver.nvmlDeviceGetCudaComputeCapability(handle) for handle in handles)
        names = (driver.nvmlDeviceGetName(handle) for handle in handles)
        return [(name, (major, minor)) for name, (major, minor) in zip(names, versions, strict=True)]

    return _ask(uuids, describe)


def _ask(uuids: Sequence[str], question: Callable[[Any, Sequence[Any]], Answer]) -> Answer | None:
    """The driver's answer about some GPUs; None without any, or if it fails."""
    if not uuids:
        return None
    import pynvml

    def answer() -> Answer:
        pynvml.nvmlInit()
        try:
            return question(pynvml, [pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids])
        finally:
            pynvml.nvmlShutdown()

    driver = DriverThread()
    try:
        return driver.call(answer, nvml.OPEN_SECONDS)
    except (pynvml.NVMLError, TimeoutError, *nvml.NONSENSE):
        return None
    finally:
        driver.close()


def usable_cores() -> int:
    """Return the cores that this process may use, which are those of `snakemake --cores all`."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of_a_job(cores: int, gpus: int) -> int:
    """Return the CPU threads of a measured job: all on a CPU; next to a GPU half, for the jobs that get ready."""
    return max(1, cores // (2 * gpus)) if gpus else cores


def choose(gpus: Sequence[Sequence[str]], chosen: str) -> list[str]:
    """Return the UUIDs that a value of CUDA_VISIBLE_DEVICES names, as CUDA reads it.

    `gpus` has a list for each GPU: its UUID, or those of its MIG slices. Numbers are those of nvidia-smi. CUDA ignores
    what follows the first entry that names no GPU, or by the start of its UUID more than one, and sees none at all if
    one is named twice.
    """
    known = [uuid for gpu in gpus for uuid in gpu]
    uuids: list[str] = []
    for entry in map(str.strip, chosen.split(",")):
        number = re.match(r"\+?(\d+)", entry)
        if number:
            matches = list(gpus[int(number[1])]) if int(number[1]) < len(gpus) else []
        else:
            matches = [uuid for uuid in known if entry.startswith(("GPU-", "MIG-")) and uuid.startswith(entry)]
        if not matches or (not number and len(matches) > 1):
            break
        if set(matches) & set(uuids):
            return []
        uuids += matches
    return uuids


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _list_gpus() -> list[list[str]]:
    """What `driver_gpus` returns; an empty list for a GPU that does not answer."""
    import pynvml

    pynvml.nvmlInit()
    try:
        if not _torch_can_use(pynvml.nvmlSystemGetCudaDriverVersion_v2() // 1000):
            return []
        gpus: list[list[str]] = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            gpus.append([])
            with suppress(pynvml.NVMLError, *nvml.NONSENSE):
                gpus[-1] += _uuids(pynvml, pynvml.nvmlDeviceGetHandleByIndex(index))
        return gpus
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_FunctionNotFound):  # a driver without CUDA
        return []
    finally:
        pynvml.nvmlShutdown()


def _uuids(driver: Any, handle: Any) -> list[str]:
    """The UUIDs of a GPU's MIG slices; its own if it is not divided."""
    try:
        is_divided = driver.nvmlDeviceGetMigMode(handle)[0] == driver.NVML_DEVICE_MIG_ENABLE
    except driver.NVMLError:  # most GPUs cannot be divided
        is_divided = False
    if not is_divided:
        return [driver.nvmlDeviceGetUUID(handle)]
    slices = []
    for index in range(driver.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with suppress(driver.NVMLError_NotFound):
            slices.append(driver.nvmlDeviceGetUUID(driver.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)))
    return slices


def _torch_can_use(driver_cuda: int) -> bool:
    """Whether the installed torch was built for CUDA, and for no later major version than the driver's.

    Its file is read, because importing torch takes seconds.
    """
    torch = find_spec("torch")
    if torch is None or torch.origin is None:
        return False
    version = re.search(r"^cuda\b.*=\s*(?:None|'(\d+))", Path(torch.origin).with_name("version.py").read_text(), re.M)
    return version is None or (version[1] is not None and int(version[1]) <= driver_cuda)
