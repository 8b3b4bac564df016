"""The device that a measured job has to itself: a GPU that no other job holds, or the whole machine for a CPU."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core import allocator, precision
from lora_core import device as devices
from lora_core.measuring.gpus import visible_gpus
from lora_core.measuring.meters import Meter, open_meter

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

# How long a process takes at most to leave a GPU after it gave up its lock: it ends, and the driver removes it.
LEAVING_SECONDS = 5.0


@dataclass(frozen=True)
class ExclusiveDevice:
    """A device that no other measured job uses, and its meter."""

    device: torch.device
    meter: Meter


def expects_gpu(name: str) -> bool:
    """Return whether a job with this `train.device` will run on a GPU; CUDA is not started, unless only it can tell."""
    if name == "cpu":
        return False
    gpus = visible_gpus()
    if gpus is not None:
        return bool(gpus) or name != "auto"
    import torch

    return name != "auto" or torch.cuda.is_available()


@contextmanager
def starting(name: str) -> Iterator[None]:
    """Start a job with this `train.device` during the block, imports included; torch is not imported before.

    On a CPU it holds the machine, because its start would slow down a job that is measured. A job of a GPU gets ready
    while another one trains; it takes its GPU by `exclusive_device`. The allocator of the GPU is configured, and
    variables of the environment that override the precision are removed.
    """
    allocator.configure(name)
    precision.ignore_environment()
    if expects_gpu(name):
        yield
        return
    with devices.file_lock(_lock_file("cpu"), "cpu"):
        yield


@contextmanager
def exclusive_device(name: str, meter_name: str) -> Iterator[ExclusiveDevice]:
    """Hold a device with this `train.device` during the block; yield it with its meter, opened before CUDA starts.

    "auto" and "cuda" take the first GPU that is free, and wait for any if none is. Other measured jobs of this user
    wait, whichever workflow on this machine started them: snakemake processes do not know of each other's resources.
    Raise ValueError if the device is not available.
    """
    with _locked(name) as device:
        meter = open_meter(meter_name, device)
        _wait_until_alone(meter)
        yield ExclusiveDevice(_start(device), meter)


@contextmanager
def _locked(name: str) -> Iterator[torch.device]:
    """Hold the lock of the machine or of a GPU, which is then the only one that CUDA sees if it has not started."""
    import torch

    if not expects_gpu(name):
        with devices.file_lock(_lock_file("cpu"), "cpu"):
            yield torch.device("cpu")
        return
    gpus = _gpus(name)
    labels = [devices.label_of(gpu) for gpu in gpus.values()]
    with devices.first_free_lock(list(map(_lock_file, labels)), " and ".join(labels)) as number:
        index, gpu = list(gpus.items())[number]
        if torch.cuda.is_initialized():
            torch.cuda.set_device(index)
        else:
            devices.show_only(gpu)
            index = 0
        yield torch.device("cuda", index)


def _gpus(name: str) -> dict[int, str]:
    """The UUIDs of the GPUs that a job may take, by their numbers. Raise ValueError if there is none."""
    import torch

    uuids = None if torch.cuda.is_initialized() else visible_gpus()
    if uuids is None:
        present = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
        uuids = [uuid for device in present if (uuid := devices.uuid(device))]
    _, _, index = name.partition(":")
    gpus = {number: uuid for number, uuid in enumerate(uuids) if index in ("", str(number))}
    if not gpus:
        seen = f"only {len(uuids)} CUDA device{'s' * (len(uuids) > 1)}" if uuids else "no CUDA device"
        raise ValueError(f"train.device is {name!r}, but torch sees {seen} here; set it to 'cpu' or 'auto'")
    return gpus


def _wait_until_alone(meter: Meter) -> None:
    """Begin once no other process is on the device: one that has just given up its lock takes a moment to leave it."""
    deadline = time.monotonic() + LEAVING_SECONDS
    meter.begin()
    while meter.shared and time.monotonic() < deadline:
        time.sleep(devices.WAIT_SECONDS)
        meter.begin()


def _start(device: torch.device) -> torch.device:
    """Start CUDA for a GPU. Raise ValueError if it does not start."""
    import torch

    if device.type == "cuda":
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as error:
            cause = str(error).strip().splitlines()[0]
            raise ValueError(
                f"the driver lists a GPU, but CUDA does not start on it ({cause}); set train.device to 'cpu' to train "
                "without it"
            ) from error
    return device


def device_file(label: str, ending: str) -> Path:
    """Return a file of this user about a device, in the folder of the temporary files of this machine."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"lora-core-{user}-{label}{ending}"


def _lock_file(label: str) -> Path:
    return device_file(label, ".lock")
