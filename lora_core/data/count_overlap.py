"""Count the examples that repeat, contradict each other, or are in both splits of a task: exactly and normalized."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lora_core.data.normalize import normalize
from lora_core.data.overlap import Overlap, OverlapOfTest, Repeats, RepeatsInTest
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
    splits = _splits(task, train, validation)
    normalized = [split.normalized() for split in splits]
    shared = _shares_text(normalized[0].texts, normalized[1].texts)
    return Overlap(_count(*splits), _count(*normalized), np.packbits(shared).tobytes().hex())


def count_test_overlap(task: Task, train: Columns, validation: Columns, test: Columns) -> OverlapOfTest:
    """Count what repeats in the test split of a task, and what of it is in the other splits."""
    splits = _splits(task, train, validation, test)
    return OverlapOfTest(_count_test(*splits), _count_test(*(split.normalized() for split in splits)))


def _splits(task: Task, *splits: Columns) -> list[_Split]:
    return [
        _Split(list(zip(*(columns[name] for name in task.columns), strict=True)), columns[task.label_column])
        for columns in splits
    ]


def _count_test(train: _Split, validation: _Split, test: _Split) -> RepeatsInTest:
    in_train, in_validation = _count(train, test), _count(validation, test)
    return RepeatsInTest(
        duplicates=in_train.validation_duplicates,
        contradictions=in_train.validation_contradictions,
        in_train=in_train.overlap,
        in_train_contradictions=in_train.overlap_contradictions,
        in_validation=in_validation.overlap,
        shared=in_train.shared,
    )


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
