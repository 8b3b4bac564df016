"""What a card says of examples that repeat, contradict each other, or are in both splits of a task."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from lora_core.typed_records import fill


@dataclass(frozen=True)
class Repeats:
    """How many examples repeat; two of them are the same if all their texts are.

    Attributes:
        train_duplicates: Training examples that an earlier one is the same as.
        validation_duplicates: The same of the validation split.
        train_contradictions: Training examples of which the same one has another label too.
        validation_contradictions: The same of the validation split.
        overlap: Validation examples that are in the training split.
        overlap_contradictions: Those of them that have another label there.
        shared: Validation examples that share at least one text with a training example.
    """

    train_duplicates: int
    validation_duplicates: int
    train_contradictions: int
    validation_contradictions: int
    overlap: int
    overlap_contradictions: int
    shared: int


@dataclass(frozen=True)
class RepeatsInTest:
    """How many examples of a test split repeat, or are in another split.

    Attributes:
        duplicates: Test examples that an earlier one is the same as.
        contradictions: Test examples of which the same one has another label too.
        in_train: Test examples that are in the training split.
        in_train_contradictions: Those of them that have another label there.
        in_validation: Test examples that are in the validation split.
        shared: Test examples that share at least one text with a training example.
    """

    duplicates: int
    contradictions: int
    in_train: int
    in_train_contradictions: int
    in_validation: int
    shared: int


Counts = TypeVar("Counts", Repeats, RepeatsInTest)


def _read_counts(kind: type[Counts], content: Mapping[str, Any]) -> Counts:
    """What a card says how often. Raise KeyError for a missing key, ValueError for what is no number of examples."""
    counts = fill(kind, content)
    for name, value in vars(counts).items():
        if type(value) is not int or value < 0:
            raise ValueError(f"{name} is {value!r:.20}, which is no number of examples")
    return counts


@dataclass(frozen=True)
class OverlapOfTest:
    """How a test split overlaps the others, with the texts as they are and without case and punctuation."""

    exact: RepeatsInTest
    normalized: RepeatsInTest

    def to_json(self) -> dict[str, object]:
        """Return the overlap as stored in card.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "OverlapOfTest":
        """Return the overlap that `to_json` described. Raise KeyError or ValueError for what a card cannot hold."""
        return cls(*(_read_counts(RepeatsInTest, content[name]) for name in ("exact", "normalized")))


@dataclass(frozen=True)
class Overlap:
    """How the splits of a task overlap.

    Attributes:
        exact: Counted with the texts as they are.
        normalized: Counted without case and punctuation.
        shared_mask: Which validation examples share a normalized text with a training example: a bit for each, the
            first one the highest of its byte, in hexadecimal digits.
    """

    exact: Repeats
    normalized: Repeats
    shared_mask: str

    def shares_text(self, examples: int) -> np.ndarray:
        """Return whether each of the validation examples shares a text with a training example: (examples,)."""
        return np.unpackbits(np.frombuffer(bytes.fromhex(self.shared_mask), np.uint8), count=examples).astype(bool)

    def to_json(self) -> dict[str, object]:
        """Return the overlap as stored in card.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any] | None) -> "Overlap | None":
        """Return the overlap that `to_json` described; None in a card from before it was counted.

        Raise KeyError or ValueError for what a card cannot hold.
        """
        if content is None:
            return None
        exact, normalized = (_read_counts(Repeats, content[name]) for name in ("exact", "normalized"))
        return cls(exact, normalized, shared_mask=str(content["shared_mask"]))
