"""The settings of a method: what every kind of method has in common.

A kind of method is one file of this folder. Its class `Settings` has a field for each setting that an entry of
`method_settings` may give, and says what the method can do. The classes need neither torch nor pydantic; the
configuration checks the constraints in the fields' types.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, ClassVar, Literal, Protocol

from annotated_types import Gt, Le, MinLen

Targets = Annotated[tuple[str, ...], MinLen(1)]


@dataclass(frozen=True)
class PlainLora:
    """LoRA as in the paper: methods with equal values compute the same from the same start."""

    rank: int
    alpha: float
    targets: tuple[str, ...]


class TrainingOptions(Protocol):
    """The hyperparameters that not every method can be trained with (`lora_core.training.spec.Hyperparameters`)."""

    @property
    def loraplus_lr_ratio(self) -> float: ...  # noqa: D102

    @property
    def gradient_checkpointing(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class MethodSettings:
    """The settings of one method, and what the method can do.

    Attributes:
        kind: The name of the kind's file in this folder.
        title: What tables and figures call a method of this kind whose entry has no label.
        protocol_column: Which of a protocol's two sets of hyperparameters the method takes.
        cost_table: The table that compares the method's cost: 5 shows full fine-tuning, 6 everything else.
        saves_full_weights: Whether a run saves the whole model, and not only what was added or changed.
        library: The package that loads a saved run without this project; None if there is none.
    """

    __pydantic_config__ = {"extra": "forbid", "str_strip_whitespace": True}  # noqa: RUF012 (read by pydantic)

    kind: ClassVar[str] = ""
    title: ClassVar[str] = ""
    protocol_column: ClassVar[Literal["full", "adapter"]] = "adapter"
    cost_table: ClassVar[Literal["table5", "table6"]] = "table6"
    saves_full_weights: ClassVar[bool] = False
    library: ClassVar[Literal["peft", "transformers"] | None] = None

    def __init_subclass__(cls) -> None:
        """Name the kind after its file."""
        cls.kind = cls.__module__.rpartition(".")[2]

    def default_label(self) -> str:
        """What tables and figures call the method if its entry has no label."""
        return self.title or self.kind

    def can_merge(self) -> bool:
        """Whether a trained adapter can be folded into the base model's weights."""
        return False

    def can_start_another_task(self) -> bool:
        """Whether training on another task can start from what a run saves."""
        return True

    def trains_matrix_b(self) -> bool:
        """Whether the method trains LoRA's matrix B, for which LoRA+ uses a separate learning rate."""
        return False

    def plain_lora(self) -> PlainLora | None:
        """The rank, alpha and targets of a method that computes what the paper's LoRA computes, else None."""
        return None

    def check(self, hyperparameters: TrainingOptions) -> None:
        """Raise ValueError if the method cannot be trained with these settings and resolved hyperparameters.

        The message begins with the key at fault, relative to the method's entry in the configuration.
        """
        if hyperparameters.loraplus_lr_ratio != 1 and not self.trains_matrix_b():
            raise ValueError("hyperparameters.loraplus_lr_ratio: this method trains no LoRA matrix B; leave it out")

    def to_params(self) -> dict[str, object]:
        """Return the kind and the fields as plain values, as run.json records them."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {"kind": self.kind, **plain}


_FROM_PROTOCOL = {"description": "null takes the protocol's value"}


@dataclass(frozen=True)
class LowRankSettings(MethodSettings):
    """The settings that the project's own LoRA shares with loralib's; both are saved in PEFT's layout.

    Attributes:
        rank: The rank r; None until the protocol's value is filled in.
        alpha: The scale alpha; the update is B A · alpha / r. None until the protocol's value is filled in.
        targets: The linear modules that get an update: those whose names end in one of these.
    """

    library: ClassVar[Literal["peft", "transformers"] | None] = "peft"

    rank: Annotated[int, Gt(0)] | None = field(default=None, metadata=_FROM_PROTOCOL)
    alpha: Annotated[float, Gt(0), Le(1e6)] | None = field(default=None, metadata=_FROM_PROTOCOL)
    targets: Targets = ("query", "value")

    def can_merge(self) -> bool:
        """Return True: W + B A · alpha / r is a matrix of W's shape."""
        return True

    def trains_matrix_b(self) -> bool:
        """Return True."""
        return True

    def plain_lora(self) -> PlainLora | None:
        """The resolved rank, alpha and targets."""
        rank, alpha = self.scale_settings()
        return PlainLora(rank, alpha, tuple(sorted(self.targets)))

    def scale_settings(self) -> tuple[int, float]:
        """The rank and alpha. Raise ValueError if they have not been filled in from the protocol."""
        if self.rank is None or self.alpha is None:
            raise ValueError(f"{self.kind}: rank is {self.rank} and alpha {self.alpha}; both need a value here")
        return self.rank, self.alpha
