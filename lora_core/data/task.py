"""What a task is: its columns of text, its labels and its metrics."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lora_core.data.metrics import METRICS


@dataclass(frozen=True)
class Task:
    """One task; GLUE's are in the layout of the hub's `nyu-mll/glue`.

    Attributes:
        name: Its name in the configuration, in paths and in records.
        title: What tables and figures call it.
        columns: The columns of text, one or two.
        labels: The names of the classes; empty for a regression, and for a task whose data decides (`is_undecided`).
        metrics: Names in `lora_core.data.metrics.METRICS`; the first is the score, the others are reported next to it.
            None are named if the data decides between a classification and a regression.
        label_column: The column of labels.
        validation_split: The name that the source has for the split that is scored.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    label_column: str = "label"
    validation_split: str = "validation"

    @property
    def is_undecided(self) -> bool:
        """Whether only the data says what the classes are, or that there are none (`lora_core.data.classes`)."""
        return not self.labels and not (self.metrics and METRICS[self.metrics[0]].suits(0))

    @property
    def may_have_numbers(self) -> bool:
        """Whether the labels are numbers, or could be; the names of classes are text."""
        return not self.labels and (not self.metrics or METRICS[self.metrics[0]].suits(0))

    def split_name(self, split: str) -> str:
        """Return the name that the source has for "train" or "validation"."""
        return self.validation_split if split == "validation" else split

    def to_params(self) -> dict[str, object]:
        """Return what decides the tokenized data as plain values: everything but the title."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name != "title"
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "Task":
        """Return the task that `to_params` described; its name is its title."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in params.items()}
        return cls(title=params["name"], **values)
