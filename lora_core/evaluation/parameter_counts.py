"""How many parameters each method trains, counted on shapes: no weights are read."""

from pathlib import Path
from typing import Any


def count_parameters(model_dir: Path, method_settings: dict[str, dict[str, Any]], outputs: int) -> dict[str, Any]:
    """`{full, methods: {method: {trainable, head, total}}}` for a head of `outputs`.

    `trainable` is without the head, which every method trains, unless the method trains the whole model: then the
    head is in, as the paper counts (Table 1).
    """
    from lora_core.methods import registry as methods
    from lora_core.models import model as models

    counts = {}
    full = sum(p.numel() for p in models.empty(model_dir, outputs).parameters())
    for method, settings in method_settings.items():
        model = methods.shapes(model_dir, outputs, settings)
        head_size = sum(p.numel() for _, p in models.head_parameters(model))
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad) - head_size
        counts[method] = {
            "trainable": full if trained + head_size == full else trained,
            "head": head_size,
            "total": sum(p.numel() for p in model.parameters()),
        }
    return {"outputs": outputs, "full": full, "methods": counts}
