"""Divide examples into splits by fractions and a seed."""

import hashlib
from collections.abc import Sequence

from lora_core.data.normalize import normalize


def split_rows(
    texts: Sequence[tuple[str, ...]], classes: Sequence[int], fractions: Sequence[float], seed: int
) -> list[list[int]]:
    """Return the rows of the training split and then of one split for each fraction, each in the order of the data.

    `classes` are those of the examples, all the same for a regression; each has its share in every split. Examples with
    the same texts (but for case and punctuation) are in the same split. Digests of the texts decide, so that neither
    the order of the rows nor the version of a library does. A split does not depend on the fractions after its own.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, example in enumerate(texts):
        groups.setdefault(tuple(map(normalize, example)), []).append(row)
    by_class: dict[int, list[list[int]]] = {}
    for example in sorted(groups, key=lambda example: _digest(example, seed)):
        by_class.setdefault(classes[groups[example][0]], []).append(groups[example])
    sizes = {label: sum(map(len, examples)) for label, examples in by_class.items()}
    chosen: list[set[int]] = []
    for fraction in fractions:
        rows: set[int] = set()
        for label, examples in by_class.items():
            rows.update(_choose(examples, fraction * sizes[label]))
            by_class[label] = [group for group in examples if group[0] not in rows]
        chosen.append(rows)
    train = set(range(len(texts))).difference(*chosen)
    return [sorted(rows) for rows in (train, *chosen)]


def _choose(groups: Sequence[Sequence[int]], target: float) -> list[int]:
    """About this many rows of a class: whole groups, at least one, and never all of them."""
    if len(groups) < 2:
        return []
    smallest = min(groups, key=len)
    chosen: list[Sequence[int]] = []
    for group in groups:
        size = sum(map(len, chosen))
        if size + len(group) <= target + 0.5 and len(chosen) < len(groups) - 1:
            chosen.append(group)
    return [row for group in chosen or [smallest] for row in group]


def _digest(example: tuple[str, ...], seed: int) -> bytes:
    return hashlib.sha256("\0".join([str(seed), *example]).encode()).digest()
