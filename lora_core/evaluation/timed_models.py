"""The models whose steps are timed or predicted: of each method, as the runs of a task train it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from lora_core.evaluation.regime_record import Size
from lora_core.evaluation.step_timing import place
from lora_core.methods import registry
from lora_core.models.dropout import set_probability
from lora_core.training.run import apply_speedups, build_model

if TYPE_CHECKING:
    from lora_core.training.spec import RunSpec

OUTPUTS = 2


class TimedModels:
    """Models on a device with and without weights, built anew only where a task trains other ones than the last did.

    The grid, whose sizes belong to no task, has the models of the first task.
    """

    def __init__(self, folder: Path, specs: Mapping[str, Mapping[str, RunSpec]], device: torch.device) -> None:
        """Prepare to load models from a prepared one; `specs` are the runs by method and task."""
        self._folder, self._specs, self._device = folder, specs, device
        self._built: dict[str, object] | None = None
        self._models: dict[str, nn.Module] = {}
        self._shapes: dict[str, nn.Module] = {}

    def spec(self, method: str, task: str) -> RunSpec:
        """Return a method's run of a task; of the first one for the grid."""
        specs = self._specs[method]
        return specs[task] if task else next(iter(specs.values()))

    def spec_of_step(self, method: str, size: Size) -> RunSpec:
        """Return a method's run of the task of a size, with the micro-batches of that size."""
        spec = self.spec(method, size.task)
        micro = size.rows_at_once if size.rows_at_once < size.rows else None
        return replace(spec, hyperparameters=replace(spec.hyperparameters, micro_batch_size=micro))

    def of(self, task: str) -> Mapping[str, nn.Module]:
        """Return the model of each method as it is trained on a task, with a head of two classes."""
        self._build(task)
        return self._models

    def shapes(self, task: str) -> Mapping[str, nn.Module]:
        """Return the same models without weights."""
        self._build(task)
        return self._shapes

    def _build(self, task: str) -> None:
        specs = {method: self.spec(method, task) for method in self._specs}
        needed: dict[str, object] = {method: _what_decides_the_model(spec) for method, spec in specs.items()}
        if needed != self._built:
            self._models.clear()  # before the next ones take their memory
            self._shapes = {name: without_weights(spec, self._folder, self._device) for name, spec in specs.items()}
            self._models |= {name: _load(self._folder, spec, self._device) for name, spec in specs.items()}
            self._built = needed


def _what_decides_the_model(spec: RunSpec) -> tuple[object, ...]:
    """What may differ between the tasks of a method, whose settings are the same for all of them."""
    return spec.hyperparameters.dropout, spec.hyperparameters.gradient_checkpointing


def without_weights(spec: RunSpec, folder: Path, device: torch.device, outputs: int = OUTPUTS) -> nn.Module:
    """Return the shapes of a method's model as it is trained on the device, from a prepared model.

    Raise ValueError for what its architecture does not support.
    """
    hyperparameters = spec.hyperparameters
    model = registry.build_without_weights(folder, outputs, spec.settings, hyperparameters.gradient_checkpointing)
    if hyperparameters.dropout is not None:
        set_probability(model, hyperparameters.dropout)
    apply_speedups(model, spec, device)
    return model


def _load(folder: Path, spec: RunSpec, device: torch.device) -> nn.Module:
    """A method's model on the device, as it is trained, with a head of two classes."""
    return place(build_model(spec, folder, ["0", "1"], np.zeros(1, np.int64)), spec, device)
