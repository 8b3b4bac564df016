"""One file per kind of method; `table.py` lists them for the configuration and the rules.

A kind's file has `apply(model, settings, generator)`, which returns a model ready to train. What it trains is then
saved under its own names and loaded from there; a kind with a layout of its own has `save`, and `stored` or a whole
`load`, as the functions here. `LIBRARY` names what loads the saved folder by itself, where something does. One that
starts from the training data has `look(model, settings, batches)`.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lora_core.methods import adapter_files as adapter
from lora_core.models import model as models

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
    if start:
        adapted = load(model, settings, start, head=False)
    else:
        adapted = module(settings["kind"]).apply(model, settings, generator)
    for _, parameter in models.head_parameters(adapted):
        parameter.requires_grad_(True)
    return adapted


def shapes(folder: Path, outputs: int, settings: dict[str, Any], checkpointing: bool = False) -> "nn.Module":
    """The model of `adapt` from a prepared folder, without its weights.

    On the meta device; on the CPU, with random weights, for a method whose layers look at values when they are made.
    """
    try:
        return _shapes("meta", folder, outputs, settings, checkpointing)
    except (NotImplementedError, RuntimeError):  # what the meta device answers
        return _shapes("cpu", folder, outputs, settings, checkpointing)


def _shapes(where: str, folder: Path, outputs: int, settings: dict[str, Any], checkpointing: bool) -> "nn.Module":
    import torch

    model = models.empty(folder, outputs, where)
    if checkpointing:
        model.activation_checkpointing_enable()
    with torch.device(where):
        return adapt(model, settings, torch.Generator())


def save(model: "nn.Module", settings: dict[str, Any], folder: Path, base_model: str) -> None:
    """Write what the method trained, the head with it, into `folder`; `base_model` is the model's name."""
    kind = module(settings["kind"])
    if hasattr(kind, "save"):
        kind.save(model, settings, folder, base_model)
    else:
        adapter.write_trained(folder, settings["kind"].upper(), model, base_model)


def load(model: "nn.Module", settings: dict[str, Any], folder: Path, head: bool = True) -> "nn.Module":
    """A base model as a saved run left it; without `head` all but the run's head, for another task to start from.

    Raises ValueError where what is saved is another model's or another method's.
    """
    import torch

    kind = module(settings["kind"])
    if hasattr(kind, "load"):
        return kind.load(model, settings, folder, head)
    stored = kind.stored(folder) if hasattr(kind, "stored") else adapter.load_tensors(folder, "pt")
    return models.fill(kind.apply(model, settings, torch.Generator()), stored, folder, head)


def library(settings: dict[str, Any]) -> str | None:
    """What loads the saved folder by itself; None where only this project does."""
    return getattr(module(settings["kind"]), "LIBRARY", None)


def look(model: "nn.Module", settings: dict[str, Any], batches: Callable[[], list[dict[str, Any]]]) -> None:
    """Let a method that starts from the training data have a look at it; `batches` gives the model's inputs."""
    kind = module(settings["kind"])
    if hasattr(kind, "look"):
        kind.look(model, settings, batches)
