"""How much arithmetic training needs."""

from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from lora_core.methods import registry
from lora_core.methods.settings import MethodSettings
from lora_core.training.steps import compute_loss

PROBE_LENGTHS = (8, 16, 32)


def flops_by_length(model: Path, settings: MethodSettings) -> np.ndarray:
    """Return the polynomial (quadratic, linear, constant) in an example's length of its floating-point operations.

    They are those of the forward and the backward pass, counted on shapes alone.
    """
    shapes = registry.build_without_weights(model, 2, settings)
    device = next(shapes.parameters()).device
    counts = []
    for tokens in PROBE_LENGTHS:
        ids = torch.full((1, tokens), 5, device=device)
        with FlopCounterMode(display=False) as counter:
            logits = shapes(input_ids=ids).logits  # without padding no mask is needed
            compute_loss(logits, torch.zeros(1, dtype=torch.int64, device=device)).backward()
        counts.append(counter.get_total_flops())
    return np.polyfit(PROBE_LENGTHS, counts, 2)


def epoch_flops(polynomial: np.ndarray, lengths: np.ndarray) -> float:
    """Return the operations of an epoch without padding."""
    return float(np.polyval(polynomial, lengths).sum())
