"""The order of an epoch's batches: a function of the run and the epoch alone."""

import math
from dataclasses import dataclass

import numpy as np

from lora_core.data import batches
from lora_core.seeds import derive
from lora_core.training.spec import RunSpec


@dataclass(frozen=True)
class EpochOrder:
    """The batches of one epoch, as rows of the training split.

    Attributes:
        rows: One array per batch.
        shapes: The rows and tokens of each batch, padding included.
    """

    rows: list[np.ndarray]
    shapes: list[tuple[int, int]]

    @property
    def largest(self) -> int:
        """The number of the batch with the most tokens."""
        return max(range(len(self.shapes)), key=lambda i: math.prod(self.shapes[i]))

    def spread(self, count: int) -> list[np.ndarray]:
        """Return up to `count` batches of different shapes, from the largest to the smallest in even steps."""
        by_shape = dict(zip(self.shapes, self.rows, strict=True))
        shapes = sorted(by_shape, key=math.prod, reverse=True)
        chosen = np.linspace(0, len(shapes) - 1, min(count, len(shapes))).round().astype(int)
        return [by_shape[shapes[i]] for i in chosen]


def epoch_order(spec: RunSpec, lengths: np.ndarray, epoch: int) -> EpochOrder:
    """Return the order of an epoch, counted from 1, for the lengths in tokens of the training split."""
    seed = derive(spec.seed, f"order-{epoch}")
    rows = batches.order(lengths, spec.hyperparameters.batch_size, spec.batching, seed)
    return EpochOrder(rows, [(len(batch), int(lengths[batch].max())) for batch in rows])
