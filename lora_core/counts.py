"""How many parameters each method trains, counted on the meta device: no weights are made."""

from pathlib import Path
from typing import Any


def count_parameters(model_dir: Path, method_settings: dict[str, dict[str, Any]], outputs: int) -> dict[str, Any]:
    """`{full, methods: {method: {trainable, head, total}}}` for a head of `outputs`.

    `trainable` is without the head, which every method trains, unless the method trains the whole model: then the
    head is in, as the paper counts (Table 1).
    """
    import torch

    from lora_core import methods, models

    counts = {}
    full = 0
    for method, settings in method_settings.items():
        model = models.on_meta(model_dir, outputs)
        full = sum(p.numel() for p in model.parameters())
        with torch.device("meta"):
            model = methods.adapt(model, settings, torch.Generator())
        head_size = sum(p.numel() for _, p in models.head_parameters(model))
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad) - head_size
        counts[method] = {
            "trainable": full if trained + head_size == full else trained,
            "head": head_size,
            "total": sum(p.numel() for p in model.parameters()),
        }
    return {"outputs": outputs, "full": full, "methods": counts}
