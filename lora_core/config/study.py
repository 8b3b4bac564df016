"""A study: its validated configuration, and what follows from it for each method and task."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, replace
from functools import cache, cached_property
from typing import Annotated, Any, cast

from pydantic import ConfigDict, Field, ValidationError

from lora_core.config import checks, sweeps
from lora_core.config.entries import AnyMethod, HyperparameterOverrides, MethodEntry
from lora_core.config.errors import UNKNOWN, ConfigError, Location, is_consequence, key_locations, sentence
from lora_core.config.labels import method_labels
from lora_core.config.names import Folder, Name
from lora_core.config.protocol import Protocol, read_protocol
from lora_core.config.sections import (
    Frozen,
    HubData,
    HubModel,
    LocalData,
    LocalModel,
    Measure,
    MiniData,
    ModelCard,
    RandomModel,
    ReferenceNames,
    Resources,
    Train,
    WheelModel,
)  # fmt: skip
from lora_core.config.user_task import UserTask
from lora_core.config.values import Seed
from lora_core.data.source import DatasetSource
from lora_core.data.task import Task
from lora_core.data.tasks import TASKS
from lora_core.evaluation.references import References
from lora_core.methods.registry import settings_class
from lora_core.methods.settings import MethodSettings
from lora_core.nearest import MAX_DESCRIBED, nearest
from lora_core.training.spec import DEFAULTS, Hyperparameters

# The sources of values that do not come from a protocol.
STUDY_SOURCE = "this study's configuration"
PROJECT_SOURCE = "the project's default"
MAX_ERRORS = 100  # that are described


class Study(Frozen):
    """A study. Paths are relative to the working directory."""

    model_config = ConfigDict(serialize_by_alias=True)  # `references` is dumped under its own name

    results_dir: Folder = "results"
    model: Annotated[WheelModel | HubModel | LocalModel | RandomModel, Field(discriminator="source")]
    data: Annotated[MiniData | HubData | LocalData, Field(discriminator="source")]
    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    task_settings: dict[Name, UserTask] = Field(default={})
    methods: Annotated[tuple[Name, ...], Field(min_length=1)]
    configured_references: ReferenceNames = Field(default=ReferenceNames(), alias="references")
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    protocol: Name
    method_settings: dict[Name, AnyMethod]
    train: Train
    measure: Measure = Measure()
    model_card: ModelCard = ModelCard()
    more_tables: tuple[str, ...] = Field(
        default=(), description="beyond tables 1-7, each with its figure; any of them can be asked for by name"
    )
    resources: Resources

    @cached_property
    def references(self) -> References:
        """The methods of this study that others are compared with; None for one that is not among `methods`."""
        names = self.configured_references.model_dump()
        return References(**{role: name if name in self.methods else None for role, name in names.items()})

    @cached_property
    def _protocol(self) -> Protocol:
        return read_protocol(self.protocol)

    def task(self, name: str) -> Task:
        """Return a task of GLUE, or one that the configuration describes."""
        return TASKS[name] if name in TASKS else self.task_settings[name].task(name)

    def source(self, task: str) -> DatasetSource:
        """Return where a task's examples come from: the data section, or the folder or file of a user's task."""
        section = self.data.model_dump(exclude={"max_length"})
        if task not in self.task_settings:
            return DatasetSource(**section)
        limits = {name: section[name] for name in ("max_train_examples", "max_validation_examples")}
        of_user = self.task_settings[task]
        if of_user.validation_fraction is not None:
            limits |= {"validation_fraction": of_user.validation_fraction, "split_seed": of_user.split_seed}
        limits |= {name: value for name in ("test", "test_fraction") if (value := getattr(of_user, name)) is not None}
        return DatasetSource(source="user", path=of_user.path, **limits)

    def starts(self, method: str, task: str) -> list[str]:
        """Return the tasks that a run starts from, the nearest first. Raise ConfigError if they form a cycle."""
        chain: list[str] = []
        known = [*TASKS, *self.task_settings]
        start = self.hyperparameters(method, task).start_from
        while start is not None:
            if start not in known:
                raise ConfigError(f"start_from: unknown task {start!r}{nearest(start, known)}")
            if start in chain:
                raise ConfigError(f"start_from: {' -> '.join([*chain, start])} forms a circle")
            chain.append(start)
            start = self.hyperparameters(method, start).start_from
        return chain

    @cached_property
    def trained_tasks(self) -> list[str]:
        """The study's tasks, then those that runs start from."""
        return list(dict.fromkeys([*self.tasks, *(task for method in self.methods for task in self.tasks_of(method))]))

    def tasks_of(self, method: str) -> list[str]:
        """Return the tasks that a method is trained on: the study's, then those that its runs start from."""
        return list(dict.fromkeys([*self.tasks, *(s for task in self.tasks for s in self.starts(method, task))]))

    def entry(self, method: str) -> MethodEntry:
        """Return a method's entry in `method_settings`."""
        return self.method_settings[method]

    def settings(self, method: str) -> MethodSettings:
        """Return a method's settings; those that its entry leaves out take the protocol's value."""
        return self._settings(method)

    @cached_property
    def _settings(self) -> Callable[[str], MethodSettings]:
        """`settings`, each resolved once: rules ask for them job by job."""
        return cache(lambda method: self.entry(method).settings(self._protocol.resolve(self._column(method))))

    def setting_source(self, method: str, name: str) -> str:
        """Return a text that says where a setting comes from."""
        if getattr(self.entry(method), name) is None and name in self._protocol.columns[self._column(method)]:
            return self._protocol.source(self._column(method), name)
        return "method_settings"

    def _column(self, method: str) -> str:
        return settings_class(self.entry(method).kind).protocol_column

    @property
    def timed_seeds(self) -> tuple[int, ...]:
        """The seeds whose inference is timed."""
        return self.seeds[: self.measure.latency_seeds]

    @cached_property
    def labels(self) -> dict[str, str]:
        """What tables, figures and pages call each method."""
        return method_labels(self)

    def can_merge(self, method: str) -> bool:
        """Return whether the method can be folded into the base model's weights."""
        return self.settings(method).can_merge()

    @cached_property
    def methods_equal_to_lora(self) -> list[str]:
        """The methods that compute the same as the LoRA under test, including that one.

        Where the study has no plain LoRA under test, they are compared with its first plain LoRA.
        """
        computations = {}
        for method in self.methods:
            plain = self.settings(method).plain_lora()
            if plain is not None:
                computations[method] = plain, [self.hyperparameters(method, task) for task in self.tasks]
        first = next(iter(computations.values()), None)
        expected = computations.get(self.references.adapter or "", first)
        return [method for method, computed in computations.items() if computed == expected]

    def hyperparameters(self, method: str, task: str) -> Hyperparameters:
        """Return the protocol's values, replaced by the method's, replaced by the method's for this task.

        Raise ConfigError if a value is missing.
        """
        return self._hyperparameters(method, task)

    @cached_property
    def _hyperparameters(self) -> Callable[[str, str], Hyperparameters]:
        """`hyperparameters`, each resolved once."""
        return cache(self._resolve_hyperparameters)

    def _resolve_hyperparameters(self, method: str, task: str) -> Hyperparameters:
        values = self._protocol.resolve(self._column(method), task) | self.entry(method).overrides(task)
        values = {field.name: values[field.name] for field in fields(Hyperparameters) if field.name in values}
        if values.get("start_from") == task:  # set for all tasks
            values["start_from"] = None
        required = [field.name for field in fields(Hyperparameters) if field.default is MISSING]
        if missing := [name for name in required if name not in values]:
            raise ConfigError(
                f"protocol: {self.protocol!r} has no {', '.join(missing)} for the task {task!r}; set it in "
                f"method_settings.{method}.task_hyperparameters.{task}"
            )
        checked = HyperparameterOverrides(**values)  # turns a whole number into a float where one is needed
        resolved = Hyperparameters(**checked.model_dump(exclude_unset=True))
        is_whole = resolved.micro_batch_size == resolved.batch_size
        return replace(resolved, micro_batch_size=None) if is_whole else resolved

    def overrides(self, method: str, task: str) -> dict[str, object]:
        """Return the hyperparameters that a method's entry sets to another value than the protocol or the default."""
        values = DEFAULTS | self._protocol.resolve(self._column(method), task)
        resolved = asdict(self.hyperparameters(method, task))
        return {
            name: resolved[name]
            for name in self.entry(method).overrides(task)
            if name not in values or resolved[name] != values[name]
        }

    def hyperparameter_source(self, method: str, task: str, name: str) -> str:
        """Return a text that says where a hyperparameter comes from."""
        if name in self.entry(method).overrides(task):
            return STUDY_SOURCE
        column = self._column(method)
        return self._protocol.source(column, name) if name in self._protocol.columns[column] else PROJECT_SOURCE

    @property
    def protocol_title(self) -> str:
        """The title of the protocol."""
        return self._protocol.title

    def max_length(self, task: str) -> int:
        """Return the maximum input length in tokens: the data section's, else the protocol's."""
        return self.data.max_length or cast(int, self._protocol.resolve("full", task)["max_length"])

    @property
    def max_length_source(self) -> str:
        """A text that says where the maximum input length comes from."""
        return STUDY_SOURCE if self.data.max_length else self._protocol.source("full", "max_length")

    @property
    def identity(self) -> dict[str, object]:
        """Model and data set with their revisions, of which a results folder holds one; limits do not count."""
        return {
            "model": self.model.model_dump(mode="json"),
            "data": self.data.model_dump(mode="json", include={"source", "id", "revision", "path", "seed"}),
        }


def load(
    config: Mapping[str, Any], overlay: Mapping[str, Any] | None = None, *, optional_tables: Sequence[str] = ()
) -> Study:
    """Return the study that a merged configuration describes.

    `overlay` is what was merged into the default. A `model` or `data` section of it that names a `source` replaces the
    default's section and inherits none of its keys. `optional_tables` are the names that `more_tables` may list. Raise
    ConfigError with every error, one per line.
    """
    sections = {
        name: section
        for name in ("model", "data")
        if isinstance(section := (overlay or {}).get(name), Mapping) and "source" in section
    }
    errors: list[str] = []
    expanded: Mapping[str, Any] = {**config, **sections}
    try:
        expanded = sweeps.expand(expanded)
    except ValueError as error:
        errors.append(str(error))
    errors += checks.name_errors(expanded, optional_tables)
    try:
        study = Study.model_validate(expanded)
    except ValidationError as error:
        known = list(key_locations(Study.model_json_schema()))
        errors += _sentences([each for each in error.errors(include_url=False) if not is_consequence(each)], known)
    if not errors:
        errors = list(dict.fromkeys(checks.study_errors(study)))
    if errors:
        raise ConfigError(f"{len(errors)} error(s) in the configuration:\n" + "\n".join(f"  - {e}" for e in errors))
    return study


def _sentences(errors: Sequence[Any], known: Sequence[Location]) -> Iterator[str]:
    """Yield the first errors of pydantic as sentences, fewer about unknown names, and count the others."""
    unknown = [error for error in errors if error["type"] in UNKNOWN]
    skipped = {id(error) for error in unknown[MAX_DESCRIBED:]}
    described = [error for error in errors if id(error) not in skipped][:MAX_ERRORS]
    yield from (sentence(error, known) for error in described)
    if more := len(errors) - len(described):
        yield f"and {more} more errors, of which {len(skipped)} are unknown names"


def json_schema(optional_tables: Sequence[str]) -> str:
    """Return the schema for editors, as committed in config/schema.json."""
    schema = Study.model_json_schema()
    schema["properties"]["more_tables"]["items"]["enum"] = list(optional_tables)
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
