"""What one run is, resolved: its method's settings, its hyperparameters, and how it is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from lora_core.measuring.meters import MeterSettings
from lora_core.methods.registry import settings_from_params
from lora_core.precision import Precision

if TYPE_CHECKING:
    from lora_core.methods.settings import MethodSettings

PositiveInt = Annotated[int, Gt(0)]
PositiveFloat = Annotated[float, Gt(0)]
# Far beyond what anyone trains with, and far below where float32 overflows or a schedule has too many steps to count.
Factor, MAX_EPOCHS = Le(1e3), 1_000_000
Fraction = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of a run. A protocol gives every value; the configuration may override each.

    The constraints are checked where the configuration is read (`lora_core.config`), not here.

    Attributes:
        optimizer: AdamW, or SGD with momentum 0.9.
        schedule: How the learning rate falls after the warm-up: linearly or along a cosine to 0, or not at all.
        max_grad_norm: Gradients are clipped to this norm; None clips nothing.
        dropout: Replaces every dropout probability of the model; None keeps the model's own.
        head_bias: Where a regression head starts: at zero, or at the mean training label, so that a short run need not
            spend its steps on getting there.
        loraplus_lr_ratio: The learning rate of B divided by that of everything else (LoRA+, Hayou et al. 2024).
        gradient_checkpointing: Keep only each layer's input for the backward pass, and compute the layer twice.
        micro_batch_size: A batch is computed in parts of this many examples, which needs less memory; its gradient is
            that of the whole batch. None: the batch size.
        start_from: A task; the run starts from the weights of that task's run. None starts from the pre-trained model.
    """

    optimizer: Literal["adamw", "sgd"]
    schedule: Literal["linear", "cosine", "constant"]
    batch_size: PositiveInt
    epochs: Annotated[int, Gt(0), Le(MAX_EPOCHS)]
    learning_rate: Annotated[float, Gt(0), Factor]
    weight_decay: Annotated[float, Ge(0), Factor]
    warmup_ratio: Fraction
    adam_beta1: Fraction
    adam_beta2: Fraction
    adam_epsilon: PositiveFloat
    max_grad_norm: PositiveFloat | None
    dropout: Fraction | None
    head_bias: Literal["zero", "label_mean"]
    loraplus_lr_ratio: Annotated[float, Gt(0), Le(1e6)]
    gradient_checkpointing: bool
    micro_batch_size: PositiveInt | None = None
    start_from: str | None = None


# Those that no protocol needs to set, and that records of earlier versions do not have.
DEFAULTS = {field.name: field.default for field in fields(Hyperparameters) if field.default is not MISSING}


@dataclass(frozen=True)
class RunSpec:
    """One run. `to_params` is what a rule passes to its job and what run.json records; `from_params` reads it back."""

    method: str
    task: str
    seed: int
    settings: MethodSettings
    hyperparameters: Hyperparameters
    precision: Precision
    batching: Literal["random", "length_grouped"]
    cuda_graphs: Literal["auto", "off"]
    evaluation_batch_size: int
    device: str
    measure: MeterSettings
    base_model: str

    def to_params(self) -> dict[str, object]:
        """Return the run as plain values: nested dictionaries, lists, strings, numbers."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {
            "settings": self.settings.to_params(),
            "hyperparameters": asdict(self.hyperparameters),
            "measure": self.measure.to_params(),
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> RunSpec:
        """Return the run that `to_params` described."""
        return cls(
            **{
                **params,
                "settings": settings_from_params(params["settings"]),
                "hyperparameters": Hyperparameters(**params["hyperparameters"]),
                "measure": MeterSettings.from_params(params["measure"]),
            }
        )
