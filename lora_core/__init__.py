"""What LoRA buys: the science of the workflow, importable without Snakemake.

As a library: `from lora_core import LoRALinear, inject, merge`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_core.methods.layers import LoRALinear, inject, merge

__all__ = ["LoRALinear", "inject", "merge"]


def __getattr__(name: str) -> Any:
    """The public names, imported when one is asked for: nothing that only draws tables should load torch."""
    if name not in __all__:
        raise AttributeError(f"module 'lora_core' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("lora_core.methods.layers"), name)
