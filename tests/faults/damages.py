"""Ways to damage the folder of a model or an adapter, functions of the folder, and the check that it is refused."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_core.records import read_json

FIRST_QUERY, LAST_QUERY = (f"bert.encoder.layer.{layer}.attention.self.query.weight" for layer in (0, 1))
MODEL, ADAPTER = "model.safetensors", "adapter_model.safetensors"


def refused(message: str, call, out: Path) -> str:
    """The sentence in which a call is refused, which leaves nothing in the folder `out`."""
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert not [path for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return str(caught.value)


def tensors(change, file=MODEL):
    """Tensors that `change` makes of a dict of them."""

    def damage(folder):
        changed = load_file(folder / file)
        change(changed)
        save_file(changed, folder / file, {"format": "pt"})

    return damage


def without(part, file=MODEL):
    """No tensors with `part` in their name."""

    def change(content):
        for name in [name for name in content if part in name]:
            del content[name]

    return tensors(change, file)


def renamed(old, new):
    """Tensors by other names."""

    def change(content):
        for name in list(content):
            content[name.replace(old, new)] = content.pop(name)

    return tensors(change)


def every(change, file=MODEL):
    """Another tensor in place of each."""
    return tensors(lambda content: content.update({name: change(tensor) for name, tensor in content.items()}), file)


def one(change, name=LAST_QUERY):
    """Another tensor in place of one."""
    return tensors(lambda content: content.update({name: change(content[name])}))


def one_value(value, dtype=torch.float32):
    """One value of one tensor is another, in this type."""

    def change(tensor):
        tensor = tensor.to(dtype)
        tensor[3, 4] = value
        return tensor

    return one(change)


def fields(file="config.json", **changes):
    """Other values in a JSON file."""
    return lambda folder: (folder / file).write_text(json.dumps(read_json(folder / file) | changes))


def content(change, file=MODEL):
    """Other bytes in a file."""
    return lambda folder: (folder / file).write_bytes(change((folder / file).read_bytes()))


def pipe(file=MODEL):
    """A named pipe in place of a file: who opens it waits forever."""

    def damage(folder):
        (folder / file).unlink(missing_ok=True)
        os.mkfifo(folder / file)

    return damage


def link(file, target):
    """A symbolic link in place of a file."""

    def damage(folder):
        (folder / file).unlink(missing_ok=True)
        (folder / file).symlink_to(target)

    return damage


def an_adapter(folder):
    (folder / "adapter_config.json").write_text("{}")


zeroed = every(torch.zeros_like)
bit_flipped = content(lambda old: old[:-9] + bytes([old[-9] ^ 1]) + old[-8:])
truncated = content(lambda old: old[:5000])
