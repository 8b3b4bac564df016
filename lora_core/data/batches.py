"""A task's tokenised examples: stored without padding, and cut into batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lora_core.records import atomic_file

SPLITS = ("train", "validation")
# Batches of similar length are cut from shuffled chunks of so many batches: long enough for next to no padding,
# short enough that batches differ from epoch to epoch.
CHUNK_BATCHES = 128


@dataclass(frozen=True)
class Examples:
    """A tokenised split. Example i has the tokens `tokens[offsets[i]:offsets[i + 1]]`.

    tokens (total,) int32; types (total,) int8 token type ids, or None where all are 0; offsets (examples + 1,) int64;
    labels (examples,) int64 or float32.
    """

    tokens: np.ndarray
    types: np.ndarray | None
    offsets: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, (examples,) int64."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Batch:
    """Padded to its longest example: ids, mask and types (rows, longest) int64, labels (rows,)."""

    ids: np.ndarray
    mask: np.ndarray
    types: np.ndarray | None
    labels: np.ndarray
    rows: np.ndarray  # where the examples stand in the split
    tokens_real: int

    @property
    def tokens_computed(self) -> int:
        return self.ids.size


def write(path: Path, examples: Examples) -> None:
    from safetensors.numpy import save_file

    arrays = {"tokens": examples.tokens, "offsets": examples.offsets, "labels": examples.labels}
    if examples.types is not None:
        arrays["types"] = examples.types
    with atomic_file(path) as temp_path:
        save_file(arrays, temp_path)


def load(path: Path) -> Examples:
    from safetensors.numpy import load_file

    arrays = load_file(path)
    return Examples(arrays["tokens"], arrays.get("types"), arrays["offsets"], arrays["labels"])


def cut(examples: Examples, longest: int) -> Examples:
    """The examples with at most `longest` tokens each: what is over goes from the end, the closing token stays."""
    lengths = examples.lengths
    if lengths.max() <= longest:
        return examples
    place = np.arange(len(examples.tokens)) - np.repeat(examples.offsets[:-1], lengths)
    kept = (place < longest - 1) | (place == np.repeat(lengths, lengths) - 1)
    return Examples(
        examples.tokens[kept],
        None if examples.types is None else examples.types[kept],
        np.concatenate([[0], np.cumsum(np.minimum(lengths, longest))]),
        examples.labels,
    )


def truncated(examples: Examples, longest: int, before: int) -> int:
    """How many examples are not whole at `longest` tokens, where `before` were cut already when they were tokenised."""
    return max(before, int((examples.lengths > longest).sum()))


def order(lengths: np.ndarray, batch_size: int, batching: str, seed: int) -> list[np.ndarray]:
    """One epoch's batches: rows of the split, each exactly once, the last batch maybe smaller.

    "random" shuffles the examples. "bucketed" sorts chunks of the shuffled examples by length, cuts them into
    batches and shuffles the batches, so that a batch holds similar lengths and hardly any padding.
    """
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(lengths))
    if batching == "random":
        return _cut(rows, batch_size)
    chunk = batch_size * CHUNK_BATCHES
    batches = [
        batch
        for start in range(0, len(rows), chunk)
        for batch in _cut(_by_length(rows[start : start + chunk], lengths), batch_size)
    ]
    return [batches[i] for i in generator.permutation(len(batches))]


def evaluation_order(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """All rows sorted by length, in batches: the same every time."""
    return _cut(_by_length(np.arange(len(lengths)), lengths), batch_size)


def _by_length(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return rows[np.argsort(lengths[rows], kind="stable")]


def _cut(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def batches(examples: Examples, order: list[np.ndarray], pad: int) -> Iterator[Batch]:
    """The batches of an order, each padded with the token `pad` to its longest example."""
    lengths = examples.lengths
    for rows in order:
        longest = int(lengths[rows].max())
        ids = np.full((len(rows), longest), pad, np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        types = None if examples.types is None else np.zeros((len(rows), longest), np.int64)
        for i, row in enumerate(rows):
            start, length = examples.offsets[row], lengths[row]
            ids[i, :length] = examples.tokens[start : start + length]
            mask[i, :length] = 1
            if types is not None and examples.types is not None:
                types[i, :length] = examples.types[start : start + length]
        yield Batch(ids, mask, types, examples.labels[rows], rows, int(lengths[rows].sum()))
