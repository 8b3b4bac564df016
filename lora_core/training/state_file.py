"""The state of a run as one safetensors file, whose header holds plain values as JSON; nothing is ever unpickled."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.atomic_files import atomic_file
from lora_core.records import JsonObject

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class State:
    """A run after an epoch: plain values as JSON has them, and tensors by name."""

    values: JsonObject
    tensors: "dict[str, torch.Tensor]"


def write_state(path: Path, state: State) -> None:
    """Write a state; the file appears complete or not at all."""
    from safetensors.torch import save_file

    values = json.dumps(state.values, allow_nan=False)
    tensors = {name: tensor.contiguous() for name, tensor in state.tensors.items()}
    with atomic_file(path) as temp_path:
        save_file(tensors, temp_path, {"values": values, "digest": _digest(values, tensors)})


def read_state(path: Path) -> State:
    """Read the state in a file. Raise ValueError if its content is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path.name} is damaged ({error})") from error
    if header["digest"] != _digest(header["values"], tensors):
        raise ValueError(f"{path.name} is damaged (its digest does not match its content)")
    return State(json.loads(header["values"]), tensors)


def _digest(values: str, tensors: "dict[str, torch.Tensor]") -> str:
    digest = hashlib.sha256(values.encode())
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()
