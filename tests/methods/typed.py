"""What a type checker sees of the public names: `make check` reads this file, nothing runs it."""

from typing import assert_type

from torch import nn

from lora_core import LoRALinear, inject, merge


def public(model: nn.Sequential) -> None:
    assert_type(inject(model, ["0"], rank=2, alpha=4), nn.Sequential)
    assert_type(merge(model), nn.Sequential)
    assert_type(LoRALinear(nn.Linear(4, 4), 2, 4.0).merged, bool)
