"""What a type checker sees of the public names: `make check` reads this file, nothing runs it."""

from pathlib import Path
from typing import assert_type

from torch import nn

from lora_core import LoRALinear, inject, load_adapter, merge, save_adapter


def public(model: nn.Sequential, folder: Path) -> None:
    assert_type(inject(model, ["0"], rank=2, alpha=4, dropout=0.1), nn.Sequential)
    assert_type(merge(model), nn.Sequential)
    assert_type(load_adapter(model, folder), nn.Sequential)
    assert_type(LoRALinear(nn.Linear(4, 4), 2, 4.0).merged, bool)
    save_adapter(model, folder, base_model="a model")
