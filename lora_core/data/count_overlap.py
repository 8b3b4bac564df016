"""Count the examples that repeat, contradict each other, or are in both splits of a task: exactly and normalized."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lora_core.data.normalize import normalize
from lora_core.data.overlap import Overlap, Repeats
from lora_core.data.reading import Columns
from lora_core.data.task import Task

Texts = Sequence[tuple[str, ...]]  # the texts of each example, one or two


@dataclass(frozen=True)
class _Split:
    texts: Texts
    labels: Sequence[float]

    def normalized(self) -> "_Split":
        return _Split([tuple(map(normalize, example)) for example in self.texts], self.labels)


def count_overlap(task: Task, train: Columns, validation: Columns) -> Overlap:
    """Count what repeats in the splits of a task, whose columns have labels as numbers."""
    splits = [
        _Split(list(zip(*(columns[name] for name in task.columns), strict=True)), columns[task.label_column])
        for columns in (train, validation)
    ]
    normalized = [split.normalized() for split in splits]
    shared = _shares_text(normalized[0].texts, normalized[1].texts)
    return Overlap(_count(*splits), _count(*normalized), np.packbits(shared).tobytes().hex())


def _count(train: _Split, validation: _Split) -> Repeats:
    known, held = _labels(train), _labels(validation)
    pairs = zip(validation.texts, validation.labels, strict=True)
    both = [(example, label) for example, label in pairs if example in known]
    return Repeats(
        train_duplicates=len(train.texts) - len(known),
        validation_duplicates=len(validation.texts) - len(held),
        train_contradictions=sum(len(known[example]) > 1 for example in train.texts),
        validation_contradictions=sum(len(held[example]) > 1 for example in validation.texts),
        overlap=len(both),
        overlap_contradictions=sum(known[example] != {label} for example, label in both),
        shared=int(_shares_text(train.texts, validation.texts).sum()),
    )


def _labels(split: _Split) -> Mapping[tuple[str, ...], set[float]]:
    """The labels that each example has, in whichever rows."""
    found: defaultdict[tuple[str, ...], set[float]] = defaultdict(set)
    for example, label in zip(split.texts, split.labels, strict=True):
        found[example].add(label)
    return found


def _shares_text(train: Texts, validation: Texts) -> np.ndarray:
    """Whether each validation example has a text, not an empty one, of a training example: (examples,)."""
    known = {text for example in train for text in example if text.strip()}
    return np.array([not known.isdisjoint(example) for example in validation], bool)
