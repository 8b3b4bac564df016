"""The entries of `method_settings`, derived from the dataclasses that training uses.

A new hyperparameter is a field of `lora_core.training.spec.Hyperparameters`; a new kind of method is a file of
`lora_core.methods`. Neither is named in this module.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from dataclasses import Field as DataclassField
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args, get_type_hints

from pydantic import Field, ValidationInfo, create_model, field_validator, model_validator

from lora_core.config.names import Label
from lora_core.config.protocol import Value
from lora_core.config.sections import Frozen
from lora_core.config.values import checked
from lora_core.methods import registry
from lora_core.methods.settings import MethodSettings
from lora_core.training.spec import Hyperparameters

_HYPERPARAMETER_TYPES = get_type_hints(Hyperparameters, include_extras=True)
_MAY_BE_NULL = {name for name, annotation in _HYPERPARAMETER_TYPES.items() if type(None) in get_args(annotation)}


class _Overrides(Frozen):
    @field_validator("*", mode="before")
    @classmethod
    def _reject_null(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name not in _MAY_BE_NULL:
            raise ValueError("a value is needed; leave the key out to keep the protocol's")
        return value


if TYPE_CHECKING:
    HyperparameterOverrides = _Overrides
else:
    HyperparameterOverrides = create_model(
        "HyperparameterOverrides",
        __base__=_Overrides,
        __doc__="Hyperparameters that replace the protocol's. " + (Hyperparameters.__doc__ or ""),
        **{name: (checked(annotation), Field(default=None)) for name, annotation in _HYPERPARAMETER_TYPES.items()},
    )


class SweepCombination(Frozen):
    """One combination of a sweep: the entry that it came from, and its values."""

    entry: str
    values: dict[str, Any]

    @field_validator("*", mode="after")
    @classmethod
    def _check_bounds(cls, value: Any) -> Any:
        return value  # the setting that a value is set to says what is wrong with it


class MethodEntry(Frozen):
    """What every method may set: its hyperparameters, for all tasks and task by task, and a sweep.

    A sweep `{key: [values]}` makes a method of each combination of values; a nested key is written
    `hyperparameters.learning_rate`. `swept` then holds the one combination.
    """

    kind: str
    label: Label | None = Field(
        default=None, description="what tables and figures call it; null: as its kind is called"
    )
    hyperparameters: HyperparameterOverrides = HyperparameterOverrides()
    task_hyperparameters: dict[str, HyperparameterOverrides] = Field(default={})
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default={})
    swept: SweepCombination | None = None

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        self.settings({})  # raises ValueError if the kind's own checks fail
        return self

    def settings(self, protocol: Mapping[str, Value]) -> MethodSettings:
        """Return the method's settings; those that are left out take the value of the protocol, if it has one."""
        settings_class = registry.settings_class(self.kind)
        values = {item.name: getattr(self, item.name) for item in fields(settings_class)}
        return settings_class(**{name: protocol.get(name) if v is None else v for name, v in values.items()})

    def overrides(self, task: str) -> dict[str, Value]:
        """Return the hyperparameters that this entry sets for a task."""
        of_task = self.task_hyperparameters.get(task)
        return self.hyperparameters.model_dump(exclude_unset=True) | (
            of_task.model_dump(exclude_unset=True) if of_task else {}
        )


def _default(item: DataclassField) -> Any:
    description = item.metadata.get("description")
    if item.default is not MISSING:
        return Field(default=item.default, description=description)
    if item.default_factory is not MISSING:
        return Field(default_factory=item.default_factory, description=description)
    return Field(description=description)


def _entry_model(kind: str, settings_class: type[MethodSettings]) -> type[MethodEntry]:
    types = get_type_hints(settings_class, include_extras=True)
    definitions: dict[str, Any] = {
        item.name: (checked(types[item.name]), _default(item)) for item in fields(settings_class)
    }
    definitions["kind"] = (Literal[kind], ...)
    return create_model(f"{kind.title()}Method", __base__=MethodEntry, __doc__=settings_class.__doc__, **definitions)


if TYPE_CHECKING:
    AnyMethod = MethodEntry
else:  # the entry model of the kind that an entry names
    AnyMethod = Annotated[
        reduce(or_, (_entry_model(kind, settings) for kind, settings in registry.kinds().items())),
        Field(discriminator="kind"),
    ]
