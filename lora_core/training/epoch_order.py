"""The order of an epoch's batches: a function of the run and the epoch alone."""

import math
from collections import Counter
from collections.abc import Iterable
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
        micro: The rows of a micro-batch, of which each batch begins with its longest; None: batches are computed whole.
    """

    rows: list[np.ndarray]
    shapes: list[tuple[int, int]]
    micro: int | None = None

    @property
    def largest(self) -> int:
        """The number of the batch that computes the most tokens at once."""
        return max(range(len(self.shapes)), key=lambda i: math.prod(self.first_part(i)))

    def first_part(self, batch: int) -> tuple[int, int]:
        """Return the rows and tokens that a batch computes at once: of its first micro-batch, the largest."""
        rows, tokens = self.shapes[batch]
        return min(rows, self.micro or rows), tokens

    def spread(self, count: int) -> list[np.ndarray]:
        """Return up to `count` batches of different shapes, from the largest to the smallest in even steps."""
        by_shape = dict(zip(self.shapes, self.rows, strict=True))
        shapes = sorted(by_shape, key=math.prod, reverse=True)
        chosen = np.linspace(0, len(shapes) - 1, min(count, len(shapes))).round().astype(int)
        return [by_shape[shapes[i]] for i in chosen]


def epoch_order(
    spec: RunSpec, lengths: np.ndarray, epoch: int, padded: np.ndarray | None = None, equal_length: bool = False
) -> EpochOrder:
    """Return the order of an epoch, counted from 1, for the lengths in tokens of the training split.

    `padded` are the lengths to which a device pads each example alone; None: their own. With `equal_length` no batch
    needs padding, whatever the run's batching. Every epoch has as many batches. With micro-batches a
    batch has its longest examples first, so that each of them needs little padding.
    """
    seed = derive(spec.seed, f"order-{epoch}")
    batching = "equal_length" if equal_length else spec.batching
    rows = batches.order(lengths, spec.hyperparameters.batch_size, batching, seed)
    micro = spec.hyperparameters.micro_batch_size
    padded = lengths if padded is None else padded
    if micro is not None:
        rows = [batch[np.argsort(-lengths[batch], kind="stable")] for batch in rows]
    return EpochOrder(rows, [(len(batch), int(padded[batch].max())) for batch in rows], micro)


def repeated_shapes(orders: Iterable[EpochOrder]) -> list[np.ndarray]:
    """Return a batch of each shape that occurs at least twice in these epochs, the largest first."""
    counts: Counter[tuple[int, int]] = Counter()
    first: dict[tuple[int, int], np.ndarray] = {}
    for order in orders:
        counts.update(order.shapes)
        for shape, rows in zip(order.shapes, order.rows, strict=True):
            first.setdefault(shape, rows)
    repeated = [shape for shape, count in counts.items() if count > 1]
    return [first[shape] for shape in sorted(repeated, key=math.prod, reverse=True)]
