"""One file per kind of method; `table.py` lists them for the configuration and the rules.

A kind's file has `apply(model, settings, generator)`, which makes a model ready to train, `save(model, settings,
folder, base_model)`, and, where it merges, `load(model, settings, folder)`, which fills a model that `apply` made.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lora_core.models import head_parameters

if TYPE_CHECKING:
    import torch
    from torch import nn


def module(kind: str) -> ModuleType:
    """The file of a kind.

    The one dynamic import of the project, so that a job depends on its own method's file and on no other: the rule
    adds that file to the code digest by the kind's name.
    """
    return import_module(f"lora_core.methods.{kind}")


def adapt(model: "nn.Module", settings: dict[str, Any], generator: "torch.Generator") -> None:
    """Make a model ready to train by the method that `settings` names; the head is trained with every method."""
    module(settings["kind"]).apply(model, settings, generator)
    for _, parameter in head_parameters(model):
        parameter.requires_grad_(True)
