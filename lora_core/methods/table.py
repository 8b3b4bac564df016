"""The table of methods: what a kind may be told, which protocol column it takes, and whether it merges.

A row here and a file of the same name beside this one are a method. Nothing that trains imports this table, so that a
new row reruns no old result.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator


class Frozen(BaseModel):
    """A part of the configuration: closed (an unknown key is an error) and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


Fraction = Annotated[float, Field(ge=0, lt=1)]


class Hyperparameters(Frozen):
    """What one run trains with. A protocol gives every value; in the configuration what is set stands above it.

    `dropout` None keeps the model's own. `head_bias` "label_mean" starts a regression head at the mean training label
    instead of zero: a short run need not spend its steps on getting there.
    """

    optimizer: Literal["adamw"] | None = None
    schedule: Literal["linear"] | None = None
    batch_size: PositiveInt | None = None
    epochs: PositiveInt | None = None
    learning_rate: PositiveFloat | None = None
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    warmup_ratio: Fraction | None = None
    adam_beta1: Fraction | None = None
    adam_beta2: Fraction | None = None
    adam_epsilon: PositiveFloat | None = None
    max_grad_norm: PositiveFloat | None = None
    dropout: Fraction | None = None
    head_bias: Literal["zero", "label_mean"] | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _given(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name != "dropout":
            raise ValueError("a value is needed; leave the key out to keep the protocol's")
        return value


class Settings(Frozen):
    """What every method may be told: its hyperparameters, for all tasks and task by task."""

    hyperparameters: Hyperparameters = Hyperparameters()
    task_hyperparameters: dict[str, Hyperparameters] = {}


class FullSettings(Settings):
    """Full fine-tuning: every weight is trained."""

    kind: Literal["full"]


class _LowRank(Settings):
    rank: PositiveInt = 8
    alpha: PositiveFloat = 8
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("query", "value")


class LoraSettings(_LowRank):
    """Own LoRALinear (Algorithm 1) on the modules whose names end in one of `targets`."""

    kind: Literal["lora"]


class LoralibSettings(_LowRank):
    """The reference package `loralib` on the same modules."""

    kind: Literal["loralib"]


@dataclass(frozen=True)
class Kind:
    """One row: its settings, the protocol column its hyperparameters come from, and whether it merges."""

    settings: type[Settings]
    protocol_column: Literal["full", "adapter"]
    merges: bool


KINDS = {
    "full": Kind(FullSettings, "full", merges=False),
    "lora": Kind(LoraSettings, "adapter", merges=True),
    "loralib": Kind(LoralibSettings, "adapter", merges=True),
}

MethodSettings = Annotated[FullSettings | LoraSettings | LoralibSettings, Field(discriminator="kind")]
