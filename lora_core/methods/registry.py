"""The kinds of methods: one file of this folder each, found by its name.

A kind's file has a class `Settings` (`lora_core.methods.settings`) and a function `apply(model, settings, generator)`,
which returns a model ready to train. What it trains is saved under its own parameter names and loaded from there. A
kind with a separate file layout also has `save` and `saved_tensors`, and `read_trained_parameters`, or a complete
`load` with a `reload` if its adapters can be exchanged; one that starts from the training data has `init_from_data`.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_core.methods import adapter_files
from lora_core.models import model as models
from lora_core.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    import torch
    from torch import nn

    from lora_core.methods.settings import MethodSettings
    from lora_core.models.base_model import BaseModel


@cache
def names() -> tuple[str, ...]:
    """The kinds' names in alphabetical order: the files that define a class `Settings`.

    The text decides, because importing the other files of this folder would load torch.
    """
    files = Path(__file__).parent.glob("*.py")
    return tuple(sorted(f.stem for f in files if re.search(r"^class Settings\b", f.read_text(encoding="utf-8"), re.M)))


def kinds() -> dict[str, type[MethodSettings]]:
    """The settings class of every kind."""
    return {name: settings_class(name) for name in names()}


@cache
def settings_class(kind: str) -> type[MethodSettings]:
    """The settings class of a kind. Raise ValueError if there is none of that name."""
    return _module(kind).Settings


def settings_from_params(params: Mapping[str, Any]) -> MethodSettings:
    """The settings that `MethodSettings.to_params` wrote. Raise ValueError if no kind takes them."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in params.items()}
    kind = str(fields.pop("kind", None))
    try:
        return settings_class(kind)(**fields)
    except TypeError as error:
        raise ValueError(f"these are not the settings of the method {kind!r}: {error}") from error


def module_name(kind: str) -> str:
    """The name of the module of a kind, which jobs of its methods import by name."""
    return f"lora_core.methods.{kind}"


def _module(kind: str) -> ModuleType:
    """The file of a kind.

    It is imported by name, so that a job depends on the file of its own method and of no other: its rule adds that
    file to the code digest. Tables and figures (`lora_core.reporting.catalogue`) are imported in the same way.
    """
    if kind not in names():
        raise ValueError(f"kind: there is no kind of method called {kind!r}{nearest(kind, names())}")
    return import_module(module_name(kind))


def adapt(
    model: nn.Module, settings: MethodSettings, generator: torch.Generator, start: Path | None = None
) -> nn.Module:
    """Return the model ready to train by a method, which always trains the head too.

    With `start`, the weights folder of another task's run, training continues from that run's weights, but with the
    head of `model`.
    """
    if start:
        adapted = load(model, settings, start, with_head=False)
    else:
        adapted = _module(settings.kind).apply(model, settings, generator)
    for _, parameter in models.head_parameters(adapted):
        parameter.requires_grad_(True)
    return adapted


def build_without_weights(
    folder: Path, outputs: int, settings: MethodSettings, checkpointing: bool = False
) -> nn.Module:
    """Return the model that `adapt` would return for a prepared folder, without reading its weights.

    It is on the meta device, or on the CPU with random weights for a method whose layers need values to be created.
    """
    try:
        return _build_on("meta", folder, outputs, settings, checkpointing)
    except (NotImplementedError, RuntimeError):  # raised by operations that the meta device does not support
        return _build_on("cpu", folder, outputs, settings, checkpointing)


def _build_on(device: str, folder: Path, outputs: int, settings: MethodSettings, checkpointing: bool) -> nn.Module:
    import torch

    model = models.model_shapes(folder, outputs, device)
    if checkpointing:
        models.enable_checkpointing(model)
    with torch.device(device):
        return adapt(model, settings, torch.Generator())


def save(model: nn.Module, settings: MethodSettings, folder: Path, base_model: BaseModel) -> None:
    """Write what the method trained, with the head, into `folder`; `base_model` names the base model."""
    module = _module(settings.kind)
    if hasattr(module, "save"):
        module.save(model, settings, folder, base_model)
    else:
        adapter_files.write_trained_parameters(folder, settings.kind.upper(), model, base_model)


def saved_bytes(model: nn.Module, settings: MethodSettings) -> int:
    """Return the bytes of the tensors that `save` writes for a model, which may be without weights."""
    module = _module(settings.kind)
    if hasattr(module, "saved_tensors"):
        tensors = list(module.saved_tensors(model).values())
    else:
        tensors = [p for p in model.parameters() if p.requires_grad]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def load(model: nn.Module, settings: MethodSettings, folder: Path, with_head: bool = True) -> nn.Module:
    """Return a base model with the weights of a saved run.

    Without `with_head` the run's head is left out, and the model is ready to be trained on another task. Raise
    ValueError if the weights are those of another model or another method.
    """
    import torch

    module = _module(settings.kind)
    if hasattr(module, "load"):
        return module.load(model, settings, folder, with_head)
    adapted = module.apply(model, settings, torch.Generator())
    return models.load_parameters(adapted, _read_trained_parameters(module, folder), folder, with_head)


def reload(model: nn.Module, settings: MethodSettings, folder: Path) -> None:
    """Replace what a method trained, in a model that `load` returned, by the weights of another saved run.

    Raise ValueError if the weights are those of another model or another method.
    """
    module = _module(settings.kind)
    if hasattr(module, "reload"):
        module.reload(model, folder)
    else:
        models.load_parameters(model, _read_trained_parameters(module, folder), folder)


def _read_trained_parameters(module: ModuleType, folder: Path) -> dict[str, torch.Tensor]:
    if hasattr(module, "read_trained_parameters"):
        return module.read_trained_parameters(folder)
    return adapter_files.load_tensors(folder, "pt")


def init_from_data(
    model: nn.Module, settings: MethodSettings, batches: Callable[[], list[Mapping[str, torch.Tensor]]]
) -> None:
    """Let a method that starts from the training data compute its start; `batches` returns inputs of the model."""
    module = _module(settings.kind)
    if hasattr(module, "init_from_data"):
        module.init_from_data(model, settings, batches)
