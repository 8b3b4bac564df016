"""The table of methods: what a kind may be told, which protocol column it takes, and whether it merges.

A row here and a file of the same name beside this one are a method. Nothing that trains imports this table, so that a
new row reruns no old result.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator

from lora_core.methods import peft_config as wrapped


class Frozen(BaseModel):
    """A part of the configuration: closed (an unknown key is an error) and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


Fraction = Annotated[float, Field(ge=0, lt=1)]


class Hyperparameters(Frozen):
    """What one run trains with. A protocol gives every value; in the configuration what is set stands above it.

    `dropout` None keeps the model's own, `max_grad_norm` None clips nothing, `start_from` None is the
    pre-trained model. `head_bias` "label_mean" starts a regression head at the mean training label
    instead of zero: a short run need not spend its steps on getting there. `loraplus_lr_ratio` is by how much B learns
    faster than everything else (LoRA+, Hayou et al. 2024); `gradient_checkpointing` computes each layer twice and keeps
    its input alone.
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
    loraplus_lr_ratio: PositiveFloat | None = None
    gradient_checkpointing: bool | None = None
    start_from: str | None = Field(default=None, description="a task; the run starts from that task's run")

    @field_validator("*", mode="before")
    @classmethod
    def _given(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name not in ("dropout", "max_grad_norm", "start_from"):
            raise ValueError("a value is needed; leave the key out to keep the protocol's")
        return value


class Swept(Frozen):
    """One combination of a sweep: the entry it stands for, and its values."""

    entry: str
    values: dict[str, Any]


class Settings(Frozen):
    """What every method may be told: its hyperparameters, for all tasks and task by task, and a sweep.

    A sweep `{key: [values]}` makes a method of each combination of values; a key below another is written
    `hyperparameters.learning_rate`. `swept` then holds the one combination.
    """

    kind: str
    hyperparameters: Hyperparameters = Hyperparameters()
    task_hyperparameters: dict[str, Hyperparameters] = {}
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    swept: Swept | None = None


class FullSettings(Settings):
    """Full fine-tuning: every weight is trained."""

    kind: Literal["full"]


class _LowRank(Settings):
    rank: PositiveInt | None = Field(default=None, description="null: the protocol's")
    alpha: PositiveFloat | None = Field(default=None, description="null: the protocol's")
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("query", "value")


class LoraSettings(_LowRank):
    """Own LoRALinear (Algorithm 1) on the modules whose names end in one of `targets`.

    `freeze_a` trains B alone (LoRA-FA, Zhang et al. 2023): the layer's input is not kept for the backward pass.
    """

    kind: Literal["lora"]
    freeze_a: bool = False


class LoralibSettings(_LowRank):
    """The reference package `loralib` on the same modules."""

    kind: Literal["loralib"]


def _number(value: Any) -> Any:
    """YAML reads 1e-3 and 1.0e3 as texts, which PEFT would take as they are."""
    if isinstance(value, dict):
        return {key: _number(found) for key, found in value.items()}
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", value):
        return int(number) if (number := float(value)).is_integer() else number
    return value


class PeftSettings(Settings):
    """Any method of the package `peft`: `config` is its own configuration, `peft_type` among it."""

    kind: Literal["peft"]
    config: dict[str, Any]

    @field_validator("config")
    @classmethod
    def _typed(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value.get("peft_type"), str):
            raise ValueError("the key peft_type is missing (for example LORA or IA3)")
        return {key: _number(found) for key, found in value.items()}


class BitfitSettings(Settings):
    """BitFit (Ben Zaken et al. 2022): the biases are trained."""

    kind: Literal["bitfit"]


class HoulsbySettings(Settings):
    """Houlsby adapters (Houlsby et al. 2019) behind the linear modules whose names end in one of `targets`."""

    kind: Literal["houlsby"]
    bottleneck: PositiveInt = 64
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("output.dense",)


@dataclass(frozen=True)
class Kind:
    """One row: its settings, the protocol column its hyperparameters come from, whether it merges, whether a run can go
    on from another task's, its rank, alpha and targets where it is plain LoRA, and what else there is to check before a
    job starts (raises ValueError, which begins with the key that is wrong)."""

    settings: type[Settings]
    protocol_column: Literal["full", "adapter"]
    merges: Callable[[Any], bool]
    goes_on: Callable[[Any], bool] = lambda settings: True
    plain_lora: Callable[[dict[str, Any]], tuple | None] = lambda settings: None
    check: Callable[[Any], None] = lambda settings: None


def _told(settings: Settings, name: str) -> list[Any]:
    """What a hyperparameter is told, for all tasks and task by task."""
    hyperparameters = (settings.hyperparameters, *settings.task_hyperparameters.values())
    return [value for each in hyperparameters if (value := getattr(each, name)) is not None]


def _without_b(settings: Settings) -> None:
    if any(ratio != 1 for ratio in _told(settings, "loraplus_lr_ratio")):
        raise ValueError("hyperparameters.loraplus_lr_ratio: this method trains no LoRA matrix B; leave it out")


def _always(settings: Settings) -> bool:
    return True


def _never(settings: Settings) -> bool:
    return False


def _changes_weights(settings: PeftSettings) -> bool:
    return settings.config["peft_type"] not in wrapped.UNMERGEABLE


def _goes_on(settings: PeftSettings) -> bool:
    return wrapped.goes_on(settings.config)


def _known_to_peft(settings: PeftSettings) -> None:
    peft_type = settings.config["peft_type"]
    try:
        wrapped.new_configuration(settings.config)
    except ValueError as error:
        raise ValueError(f"config: {error}") from error
    if peft_type != "LORA":
        _without_b(settings)
    if peft_type in wrapped.PREFIXES and any(_told(settings, "gradient_checkpointing")):
        raise ValueError(f"hyperparameters.gradient_checkpointing: {peft_type} does not go with it; leave it out")


def _own_lora(settings: dict[str, Any]) -> tuple | None:
    return None if settings.get("freeze_a") else (settings["rank"], settings["alpha"], sorted(settings["targets"]))


def _lora_of_peft(settings: dict[str, Any]) -> tuple | None:
    config = {"lora_dropout": 0.0} | settings["config"]
    keys = ("r", "lora_alpha", "target_modules")
    if config.keys() != {"peft_type", "lora_dropout", *keys} or config["peft_type"] != "LORA" or config["lora_dropout"]:
        return None
    if not isinstance(config["target_modules"], list):  # PEFT's own choice
        return None
    rank, alpha, targets = (config[key] for key in keys)
    return rank, alpha, sorted(targets)


KINDS = {
    "full": Kind(FullSettings, "full", merges=_never, check=_without_b),
    "lora": Kind(LoraSettings, "adapter", merges=_always, plain_lora=_own_lora),
    "loralib": Kind(LoralibSettings, "adapter", merges=_always, plain_lora=_own_lora),
    "peft": Kind(
        PeftSettings,
        "adapter",
        merges=_changes_weights,
        goes_on=_goes_on,
        plain_lora=_lora_of_peft,
        check=_known_to_peft,
    ),
    "bitfit": Kind(BitfitSettings, "adapter", merges=_always, check=_without_b),
    "houlsby": Kind(HoulsbySettings, "adapter", merges=_never, check=_without_b),
}

if TYPE_CHECKING:
    MethodSettings = Settings
else:  # an entry of the configuration: the settings of the kind that it names
    MethodSettings = Annotated[reduce(or_, (row.settings for row in KINDS.values())), Field(discriminator="kind")]
