"""The card of a tokenized task (card.json): what its examples are, and the digests of the files that hold them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_core.data.batches import TEST
from lora_core.data.overlap import Overlap, OverlapOfTest
from lora_core.layout import SPLIT
from lora_core.records import read_json, sha256
from lora_core.sealed import unseal
from lora_core.typed_records import name_damaged_file


@dataclass(frozen=True)
class SplitCard:
    """One tokenized split.

    Attributes:
        examples: How many examples it has.
        tokens: How many tokens they have together.
        longest: Tokens of the longest example.
        truncated: How many examples were truncated when they were tokenized.
        baseline_score: The task's first metric for a constant prediction
            (`lora_core.data.metrics.Metric.baseline_score`).
        sha256: Digest of the tokens and labels.
        unknown: How many tokens the tokenizer did not know; None in a card from before they were counted.
    """

    examples: int
    tokens: int
    longest: int
    truncated: int
    baseline_score: float
    sha256: str
    unknown: int | None = None

    def to_json(self) -> dict[str, object]:
        """Return the split as stored in card.json."""
        return {
            "examples": self.examples,
            "tokens": self.tokens,
            "longest": self.longest,
            "truncated": self.truncated,
            "unknown": self.unknown,
            "baseline_score": self.baseline_score,
            "sha256": self.sha256,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "SplitCard":
        """Return the split that `to_json` described. Raise KeyError for a missing key."""
        return cls(
            examples=content["examples"],
            tokens=content["tokens"],
            longest=content["longest"],
            truncated=content["truncated"],
            baseline_score=content["baseline_score"],
            sha256=content["sha256"],
            unknown=content.get("unknown"),
        )


@dataclass(frozen=True)
class DataCard:
    """A tokenized task.

    Attributes:
        task: Its name.
        data: Where the examples come from: `source` and, if the source has them, `id`, `revision`, `seed`,
            `validation_fraction`, `test_fraction` and `split_seed`.
        columns: The columns of text, one or two.
        labels: The names of the classes; empty for a regression.
        metrics: The names of its metrics; the first is the score.
        max_length: Maximum input length in tokens.
        train: The training split.
        validation: The validation split.
        files: sha256 of each file next to the card, by its name.
        overlap: What repeats within the splits and between them; None in a card from before it was counted.
        test: The test split; None for a task without one.
        test_overlap: What repeats within the test split, and is in the other splits; None without one.
    """

    task: str
    data: Mapping[str, str | int | float]
    columns: Sequence[str]
    labels: Sequence[str]
    metrics: Sequence[str]
    max_length: int
    train: SplitCard
    validation: SplitCard
    files: Mapping[str, str]
    overlap: Overlap | None = None
    test: SplitCard | None = None
    test_overlap: OverlapOfTest | None = None

    @property
    def outputs(self) -> int:
        """Outputs of the model's head: one per class, one for a regression."""
        return len(self.labels) or 1

    def split(self, name: str) -> SplitCard:
        """Return the split of this name. Raise KeyError if there is none."""
        splits = {"train": self.train, "validation": self.validation}
        return (splits if self.test is None else splits | {TEST: self.test})[name]

    def to_json(self) -> dict[str, object]:
        """Return the content of card.json."""
        content: dict[str, object] = {
            "task": self.task,
            "data": dict(self.data),
            "columns": list(self.columns),
            "labels": list(self.labels),
            "metrics": list(self.metrics),
            "max_length": self.max_length,
            "train": self.train.to_json(),
            "validation": self.validation.to_json(),
            "overlap": self.overlap and self.overlap.to_json(),
            "files": dict(self.files),
        }
        if self.test is not None:
            content |= {"test": self.test.to_json(), "test_overlap": self.test_overlap and self.test_overlap.to_json()}
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "DataCard":
        """Return the card that `to_json` described, also as run.json holds it. Raise KeyError for a missing key."""
        return cls(
            task=content["task"],
            data=content["data"],
            columns=tuple(content["columns"]),
            labels=tuple(content["labels"]),
            metrics=tuple(content["metrics"]),
            max_length=content["max_length"],
            train=SplitCard.from_json(content["train"]),
            validation=SplitCard.from_json(content["validation"]),
            files=content.get("files", {}),
            overlap=Overlap.from_json(content.get("overlap")),
            test=None if content.get("test") is None else SplitCard.from_json(content["test"]),
            test_overlap=None if content.get("test") is None else OverlapOfTest.from_json(content["test_overlap"]),
        )


def read_data_card(
    path: Path, train: Path | None = None, validation: Path | None = None, test: Path | None = None
) -> DataCard:
    """Return a task's card, after checking the digests of the split files that are passed.

    Raise ValueError if the card is damaged, or if one of these files is missing or is not what was written with it.
    """
    content = unseal(read_json(path), path, f"delete the folder {path.parent} and run again")
    with name_damaged_file(path):
        card = DataCard.from_json(content)
    for split, file in (("train", train), ("validation", validation), (TEST, test)):
        if file is None:
            continue
        problem = "missing" if not file.is_file() else ""
        if not problem and card.files.get(SPLIT.format(split=split), "") != sha256(file):
            problem = f"damaged (its digest is not the one in {path.name})"
        if problem:
            raise ValueError(f"{file} is {problem}; delete the folder {path.parent} and run again")
    return card
