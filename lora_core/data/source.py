"""Where a task's examples come from, and how many of them are used."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lora_core.data.batches import SPLITS, TEST


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
        test: The test split of a user's task: the name of a split in its folder, or a file; None for none.
        test_fraction: The share of the examples that is for testing, next to `validation_fraction`; None for none.
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
    test: str | None = None
    test_fraction: float | None = None
    max_train_examples: int | None = None
    max_validation_examples: int | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of the task: "train" and "validation", and "test" if there is one."""
        has_test = self.test is not None or self.test_fraction is not None
        return (*SPLITS, TEST) if has_test else SPLITS

    @property
    def origin(self) -> dict[str, str | int | float]:
        """The source as recorded in the data card; a path means nothing on another machine and is left out."""
        names = ("source", "id", "revision", "seed", "validation_fraction", "split_seed", "test_fraction")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def max_examples(self, split: str) -> int | None:
        """Return the limit on the examples of a split; there is none for "test"."""
        return {"train": self.max_train_examples, "validation": self.max_validation_examples}.get(split)

    def without_folders(self) -> dict[str, object]:
        """Return the source as plain values that are the same on every machine: no path, and of a file its name."""
        values = {name: value for name, value in self.to_params().items() if name != "path"}
        return values if self.test is None else values | {"test": Path(self.test).name}

    def to_params(self) -> dict[str, object]:
        """Return the source as plain values, without those that are None."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "DatasetSource":
        """Return the source that `to_params` described."""
        return cls(**params)
