"""A task's tokenized examples: stored without padding, and divided into batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lora_core.atomic_files import atomic_file

SPLITS = ("train", "validation")  # that every task has
TEST = "test"  # that some tasks have: predicted at the epoch that validation chooses, and at the last
# Length-grouped batches are formed within shuffled chunks of this many batches: long enough to leave almost no padding,
# short enough that batches differ from epoch to epoch.
CHUNK_BATCHES = 128


@dataclass(frozen=True)
class Examples:
    """A tokenized split. Example i has the tokens `tokens[offsets[i]:offsets[i + 1]]`.

    Attributes:
        tokens: (total,) int32.
        types: Token type ids, (total,) int8; None if all are 0.
        offsets: (examples + 1,) int64.
        labels: (examples,) int64, or float32 for a regression.
    """

    tokens: np.ndarray
    types: np.ndarray | None
    offsets: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, (examples,) int64."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Batch:
    """Examples padded to the longest of them.

    Attributes:
        ids: Token ids, (rows, longest) int64.
        mask: 1 for a token and 0 for padding, (rows, longest) int64.
        types: Token type ids, (rows, longest) int64; None if all are 0.
        labels: (rows,).
        rows: The positions of the examples in the split, (rows,).
        tokens_real: Tokens without padding.
    """

    ids: np.ndarray
    mask: np.ndarray
    types: np.ndarray | None
    labels: np.ndarray
    rows: np.ndarray
    tokens_real: int

    @property
    def tokens_computed(self) -> int:
        """Tokens with padding, which the model computes."""
        return self.ids.size


def write(path: Path, examples: Examples) -> None:
    """Write a tokenized split as safetensors."""
    from safetensors.numpy import save_file

    arrays = {"tokens": examples.tokens, "offsets": examples.offsets, "labels": examples.labels}
    if examples.types is not None:
        arrays["types"] = examples.types
    with atomic_file(path) as temp_path:
        save_file(arrays, temp_path)


def load(path: Path) -> Examples:
    """Return the tokenized split that `write` wrote."""
    from safetensors.numpy import load_file

    arrays = load_file(path)
    return Examples(arrays["tokens"], arrays.get("types"), arrays["offsets"], arrays["labels"])


def truncate(examples: Examples, max_tokens: int | None) -> Examples:
    """Return the examples with at most `max_tokens` tokens each; None is no limit.

    They are truncated at the end; the final special token is kept.
    """
    lengths = examples.lengths
    if max_tokens is None or lengths.max() <= max_tokens:
        return examples
    position = np.arange(len(examples.tokens)) - np.repeat(examples.offsets[:-1], lengths)
    is_kept = (position < max_tokens - 1) | (position == np.repeat(lengths, lengths) - 1)
    return Examples(
        examples.tokens[is_kept],
        None if examples.types is None else examples.types[is_kept],
        np.concatenate([[0], np.cumsum(np.minimum(lengths, max_tokens))]),
        examples.labels,
    )


def count_truncated(examples: Examples, max_tokens: int | None, already: int) -> int:
    """Return how many examples are incomplete at `max_tokens` tokens; `already` were truncated by the tokenizer."""
    return already if max_tokens is None else max(already, int((examples.lengths > max_tokens).sum()))


def order(lengths: np.ndarray, batch_size: int, batching: str, seed: int) -> list[np.ndarray]:
    """Return one epoch's batches: rows of the split, each exactly once; the last batch may be smaller.

    "random" shuffles the examples. "length_grouped" sorts chunks of the shuffled examples by length, divides them into
    batches and shuffles the batches, so that a batch holds similar lengths and hardly any padding. "equal_length"
    shuffles the examples of each length, and the batches, which need no padding. Some are smaller than `batch_size`,
    but every epoch has as many of them.
    """
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(lengths))
    if batching == "random":
        return _divide(rows, batch_size)
    if batching == "equal_length":
        batches = _divide_by_length(rows, lengths, batch_size)
    else:
        chunk = batch_size * CHUNK_BATCHES
        batches = [
            batch
            for start in range(0, len(rows), chunk)
            for batch in _divide(_by_length(rows[start : start + chunk], lengths), batch_size)
        ]
    return [batches[i] for i in generator.permutation(len(batches))]


def evaluation_order(lengths: np.ndarray, batch_size: int, equal_length: bool = False) -> list[np.ndarray]:
    """Return all rows sorted by length, in batches: the same every time; with `equal_length` none needs padding."""
    rows = np.arange(len(lengths))
    if equal_length:
        return _divide_by_length(rows, lengths, batch_size)
    return _divide(_by_length(rows, lengths), batch_size)


def _by_length(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return rows[np.argsort(lengths[rows], kind="stable")]


def _divide_by_length(rows: np.ndarray, lengths: np.ndarray, size: int) -> list[np.ndarray]:
    """Divide rows into batches of one length each, from the shortest on."""
    ordered = _by_length(rows, lengths)
    groups = np.split(ordered, np.flatnonzero(np.diff(lengths[ordered])) + 1)
    return [batch for group in groups for batch in _divide(group, size)]


def _divide(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def batches(examples: Examples, order: list[np.ndarray], pad: int, side: str = "right") -> Iterator[Batch]:
    """Yield the batches of an order, each padded with the token `pad` on a side to its longest example."""
    lengths = examples.lengths
    for rows in order:
        longest = int(lengths[rows].max())
        ids = np.full((len(rows), longest), pad, np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        types = None if examples.types is None else np.zeros((len(rows), longest), np.int64)
        for i, row in enumerate(rows):
            start, length = examples.offsets[row], lengths[row]
            place = slice(longest - length, longest) if side == "left" else slice(length)
            ids[i, place] = examples.tokens[start : start + length]
            mask[i, place] = 1
            if types is not None and examples.types is not None:
                types[i, place] = examples.types[start : start + length]
        yield Batch(ids, mask, types, examples.labels[rows], rows, int(lengths[rows].sum()))
