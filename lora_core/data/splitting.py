"""Divide examples into a training and a validation split by a fraction and a seed."""

import hashlib
from collections.abc import Sequence

from lora_core.data.normalize import normalize


def split_rows(
    texts: Sequence[tuple[str, ...]], classes: Sequence[int], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Return the rows of the training and of the validation split, each in the order of the data.

    `classes` are those of the examples, all the same for a regression; each has its share in both splits. Examples with
    the same texts (but for case and punctuation) are in the same split. Digests of the texts decide, so that neither
    the order of the rows nor the version of a library does.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, example in enumerate(texts):
        groups.setdefault(tuple(map(normalize, example)), []).append(row)
    by_class: dict[int, list[tuple[str, ...]]] = {}
    for example in sorted(groups, key=lambda example: _digest(example, seed)):
        by_class.setdefault(classes[groups[example][0]], []).append(example)
    chosen: set[int] = set()
    for examples in by_class.values():
        chosen.update(_choose([groups[example] for example in examples], fraction))
    rows = range(len(texts))
    return [row for row in rows if row not in chosen], [row for row in rows if row in chosen]


def _choose(groups: Sequence[Sequence[int]], fraction: float) -> list[int]:
    """The rows of a class that are for validation: whole groups, at least one, and never all of them."""
    if len(groups) < 2:
        return []
    target = fraction * sum(map(len, groups))
    smallest = min(groups, key=len)
    chosen: list[Sequence[int]] = []
    for group in groups:
        size = sum(map(len, chosen))
        if size + len(group) <= target + 0.5 and len(chosen) < len(groups) - 1:
            chosen.append(group)
    return [row for group in chosen or [smallest] for row in group]


def _digest(example: tuple[str, ...], seed: int) -> bytes:
    return hashlib.sha256("\0".join([str(seed), *example]).encode()).digest()
