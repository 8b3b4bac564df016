"""One file per kind of method; `table.py` lists them for the configuration and the rules.

A kind's file has `apply(model, settings, generator)`, which returns a model ready to train, `save(model, settings,
folder, base_model)`, and `load(model, settings, folder, head=True)`, which returns a base model as a saved run left it;
without `head` the run's task head is left out, for another task to start from. `LIBRARY` is what loads the saved folder
by itself, None where only this project does. One that starts from the training data
has `look(model, settings, batches)` besides.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lora_core.models import head_parameters

if TYPE_CHECKING:
    import torch
    from torch import nn


def module(kind: str) -> ModuleType:
    """The file of a kind.

    The one dynamic import of what jobs run, so that a job depends on its own method's file and on no other: the rule
    adds that file to the code digest by the kind's name.
    """
    return import_module(f"lora_core.methods.{kind}")


def adapt(
    model: "nn.Module", settings: dict[str, Any], generator: "torch.Generator", start: Path | None = None
) -> "nn.Module":
    """The model ready to train by the method that `settings` names; the head is trained with every method.

    With `start`, the weights of another task's run, the method goes on from there, with the head of `model`.
    """
    kind = module(settings["kind"])
    adapted = kind.load(model, settings, start, False) if start else kind.apply(model, settings, generator)
    for _, parameter in head_parameters(adapted):
        parameter.requires_grad_(True)
    return adapted


def look(model: "nn.Module", settings: dict[str, Any], batches: Callable[[], list[dict[str, Any]]]) -> None:
    """Let a method that starts from the training data have a look at it; `batches` gives the model's inputs."""
    kind = module(settings["kind"])
    if hasattr(kind, "look"):
        kind.look(model, settings, batches)
