"""How many parameters each method trains, counted on shapes without reading weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.evaluation.counts import MethodCounts, ParameterCounts

if TYPE_CHECKING:
    from lora_core.methods.settings import MethodSettings


def count_parameters(model: Path, settings: Mapping[str, MethodSettings], outputs: int) -> ParameterCounts:
    """Return the counts of each method for a head of `outputs`; `model` is a prepared folder."""
    from lora_core.methods import registry
    from lora_core.models import model as models

    counts = {}
    shapes = models.model_shapes(model, outputs)
    parameters = list(shapes.parameters())
    whole = sum(p.numel() for p in parameters if p.requires_grad)  # without tables of fixed positions
    for method, method_settings in settings.items():
        adapted = registry.build_without_weights(model, outputs, method_settings)
        head = sum(p.numel() for _, p in models.head_parameters(adapted))
        trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad) - head
        counts[method] = MethodCounts(
            trainable=whole if trained + head == whole else trained,
            head=head,
            total=sum(p.numel() for p in adapted.parameters()),
            saved_bytes=registry.saved_bytes(adapted, method_settings),
        )
    stored = sum(tensor.numel() * tensor.element_size() for tensor in models.stored_tensors(shapes).values())
    return ParameterCounts(outputs, sum(p.numel() for p in parameters), counts, stored)
