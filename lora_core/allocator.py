"""The settings of CUDA's allocator, which torch reads from the environment once."""

import os
from collections.abc import MutableMapping

# torch reads any of them; the first is its current name.
VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
# Without them the allocator holds twice what tensors use when lengths differ from batch to batch.
EXPANDABLE_SEGMENTS = "expandable_segments:True"


def configure(device: str, environment: MutableMapping[str, str] = os.environ) -> None:
    """Turn on expandable segments for a job on `device` (as `train.device`), unless the user configured the allocator.

    Call it before anything imports torch.
    """
    if device != "cpu" and not any(name in environment for name in VARIABLES):
        environment[VARIABLES[0]] = EXPANDABLE_SEGMENTS


def settings() -> str | None:
    """Return what this process's environment asks for, such as "expandable_segments:True"; None if it has nothing."""
    return ",".join(value for name in VARIABLES if (value := os.environ.get(name))) or None
