"""What a run reads: the prepared model, the tokenized task and, if it starts from another run, that run's weights."""

from dataclasses import dataclass
from pathlib import Path

from lora_core.data import batches
from lora_core.data.batches import TEST, Examples
from lora_core.data.card import DataCard, read_data_card
from lora_core.intact import check_model, check_weights
from lora_core.records import sha256


@dataclass(frozen=True)
class RunInputs:
    """The files that a run reads.

    Attributes:
        model: The folder of the prepared model.
        train_data: The tokenized training split.
        validation_data: The tokenized validation split.
        data_card: The card of the task, with the digests of its splits.
        start_weights: The weights folder of another task's run to start from; None starts from the prepared model.
        start_record: The run.json of that run, with the digests of its weights.
        model_record: The record of the prepared model, with the digests of its files; None does not check them.
        test_data: The tokenized test split; None for a task without one.
    """

    model: Path
    train_data: Path
    validation_data: Path
    data_card: Path
    start_weights: Path | None = None
    start_record: Path | None = None
    model_record: Path | None = None
    test_data: Path | None = None


@dataclass(frozen=True)
class TrainingData:
    """A tokenized task: its card and its splits; `test` is None for a task without one."""

    card: DataCard
    train: Examples
    validation: Examples
    test: Examples | None = None

    @property
    def splits(self) -> dict[str, Examples]:
        """The splits by name."""
        splits = {"train": self.train, "validation": self.validation}
        return splits if self.test is None else splits | {TEST: self.test}

    def truncate(self, max_tokens: int | None) -> "TrainingData":
        """Return the task with inputs of at most `max_tokens` tokens; None is no limit."""
        return TrainingData(self.card, *(batches.truncate(split, max_tokens) for split in self.splits.values()))

    def count_truncated(self, max_tokens: int | None) -> dict[str, int]:
        """Return how many examples of each split are truncated at `max_tokens` tokens, or were when tokenized."""
        return {
            f"truncated_{name}": batches.count_truncated(examples, max_tokens, self.card.split(name).truncated)
            for name, examples in self.splits.items()
        }


@dataclass(frozen=True)
class InputDigests:
    """SHA-256 of every file that decides a run's result, by name.

    Attributes:
        data: The card's, which holds those of the splits.
        model: Those of the prepared model.
        start: Those of the weights that the run starts from; None if it starts from the prepared model.
    """

    data: dict[str, str]
    model: dict[str, str]
    start: dict[str, str] | None


def read_data(inputs: RunInputs) -> TrainingData:
    """Read the tokenized task. Raise ValueError if a file is damaged or missing."""
    files = (inputs.train_data, inputs.validation_data, inputs.test_data)
    card = read_data_card(inputs.data_card, *files)
    if (card.test is None) != (inputs.test_data is None):
        raise ValueError(f"{inputs.data_card} is of other splits than this run has; delete its folder and run again")
    return TrainingData(card, *(batches.load(file) for file in files if file is not None))


def digest_inputs(inputs: RunInputs) -> InputDigests:
    """Return the digests of the inputs. Raise ValueError if the model or the weights to start from are damaged."""
    return InputDigests(
        data={inputs.data_card.name: sha256(inputs.data_card)},
        model=check_model(inputs.model, inputs.model_record),
        start=None if inputs.start_weights is None else check_weights(inputs.start_weights, inputs.start_record),
    )
