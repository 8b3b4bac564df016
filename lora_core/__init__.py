"""What LoRA buys: the science of the workflow, importable without Snakemake.

As a library: `from lora_core import LoRALinear, inject, merge, save_adapter, load_adapter`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_core.methods.layers import LoRALinear, inject, merge
    from lora_core.methods.save_load import load_adapter, save_adapter

__all__ = ["LoRALinear", "inject", "load_adapter", "merge", "save_adapter"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing a part of the package does not load torch."""
    if name not in __all__:
        raise AttributeError(f"module 'lora_core' has no attribute {name!r}")
    from importlib import import_module

    module = "save_load" if name in ("load_adapter", "save_adapter") else "layers"
    return getattr(import_module(f"lora_core.methods.{module}"), name)
