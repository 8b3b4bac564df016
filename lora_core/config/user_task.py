"""A user's own task in the configuration: its files, its columns and its labels."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from lora_core.config.names import DataFolder
from lora_core.config.sections import Frozen
from lora_core.config.values import NUMBER, Seed
from lora_core.data.batches import SPLITS
from lora_core.data.metrics import METRICS, default_metrics
from lora_core.data.task import Task

if TYPE_CHECKING:
    MetricName = str
else:
    MetricName = Literal[tuple(METRICS)]


def _label_text(value: Any) -> Any:
    """Return a label that is written as a whole number as text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class UserTask(Frozen):
    """A user's own task: a folder with `train*` and `validation*` files, or one file that is split by a fraction.

    With `test` or `test_fraction` it has a test split, which decides nothing and is predicted after training.

    A file is CSV, TSV, JSON Lines (each may end in .gz) or parquet. `labels` are the names of the classes, as they are
    written in the files. Without them the data decides: numbers are a regression, other labels are the classes.
    """

    path: DataFolder
    texts: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)]
    label: str = "label"
    labels: tuple[Annotated[str, BeforeValidator(_label_text)], ...] = ()
    metrics: tuple[MetricName, ...] = Field(default=(), description="the first is the score")
    validation_fraction: Annotated[float, Field(gt=0, lt=1), NUMBER] | None = Field(
        default=None, description="of one file, or of the training files where there are no validation files"
    )
    split_seed: Seed = Field(default=0, description="which examples these are")
    test: DataFolder | None = Field(
        default=None, description="a file, or the name of a split in the folder: test for test.csv, test-0.csv ..."
    )
    test_fraction: Annotated[float, Field(gt=0, lt=1), NUMBER] | None = Field(
        default=None, description="of the same examples as validation_fraction"
    )

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels: a label is listed twice in {list(self.labels)}")
        if len({*self.texts, self.label}) < len(self.texts) + 1:
            raise ValueError("texts: a column is named twice, or is the column of labels")
        if len(self.labels) == 1:
            raise ValueError("labels: a classification needs two or more labels; name none for a regression")
        if "split_seed" in self.model_fields_set and self.validation_fraction is None:
            raise ValueError("split_seed: nothing is split without validation_fraction; set it too")
        self._check_test()
        self._check_metrics()
        return self

    def _check_test(self) -> None:
        """Refuse a test split that is named twice, is another split, or needs a fraction that is not there."""
        if self.test in SPLITS:
            raise ValueError(f"test: {self.test!r} is another split; name a file, or a split such as test")
        if self.test is not None and self.test_fraction is not None:
            raise ValueError("test_fraction: the test split is named in test already; set one of the two")
        if self.test_fraction is None:
            return
        if self.validation_fraction is None:
            raise ValueError("test_fraction: nothing is split without validation_fraction; set it too, or test")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("test_fraction: with validation_fraction, nothing is left for training; lower them")

    def _check_metrics(self) -> None:
        """Refuse metrics that the labels do not suit, or without labels each other."""
        kind = {"numbers": "a regression", "two classes": "two labels", "classes": "a classification"}
        for name in self.metrics:
            metric, score = METRICS[name], METRICS[self.metrics[0]]
            if not (metric.suits(len(self.labels)) if self.labels else metric.suits(0) == score.suits(0)):
                raise ValueError(f"metrics: {name!r} is for {kind[METRICS[name].labels]}")

    def task(self, name: str) -> Task:
        """Return the task under the name that the configuration gives it."""
        return Task(
            name=name,
            title=name,
            columns=self.texts,
            labels=self.labels,
            metrics=self.metrics or (default_metrics(len(self.labels)) if self.labels else ()),
            label_column=self.label,
        )
