"""Where a task's examples come from, and how many of them are used."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class DatasetSource:
    """The source of a task's examples.

    Attributes:
        source: "mini" is generated; "hub" is a data set of the Hugging Face hub; "local" is a folder in the layout of
            the hub's GLUE; "user" is the folder of a user's task, or its one file.
        path: The folder or file of a local source.
        id: The name of a data set of the hub.
        revision: Its commit.
        seed: The seed of generated data.
        validation_fraction: The share of the examples that is for validation where one file, or the files of one split,
            hold both; None where each split has files of its own.
        split_seed: The seed of that choice.
        max_train_examples: Maximum number of training examples; None for no limit.
        max_validation_examples: Maximum number of validation examples; None for no limit.
    """

    source: Literal["mini", "hub", "local", "user"]
    path: str | None = None
    id: str | None = None
    revision: str | None = None
    seed: int | None = None
    validation_fraction: float | None = None
    split_seed: int | None = None
    max_train_examples: int | None = None
    max_validation_examples: int | None = None

    @property
    def origin(self) -> dict[str, str | int | float]:
        """The source as recorded in the data card; a path means nothing on another machine and is left out."""
        names = ("source", "id", "revision", "seed", "validation_fraction", "split_seed")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def max_examples(self, split: str) -> int | None:
        """Return the limit on the examples of "train" or "validation"."""
        return self.max_validation_examples if split == "validation" else self.max_train_examples

    def to_params(self) -> dict[str, object]:
        """Return the source as plain values, without those that are None."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "DatasetSource":
        """Return the source that `to_params` described."""
        return cls(**params)
