"""The closed, typed configuration: read once, every error found and reported together."""

import difflib
import json
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, NonNegativeInt, ValidationError

from lora_core.config import sweeps
from lora_core.config.protocol import PROTOCOLS, Protocol
from lora_core.config.sections import (
    Folder,
    HubData,
    HubModel,
    LocalData,
    LocalModel,
    Measure,
    MiniData,
    Name,
    OwnTask,
    RandomModel,
    Resources,
    Train,
    WheelModel,
)  # fmt: skip
from lora_core.data.tasks import TASKS, Task
from lora_core.methods.settings import KINDS, Frozen, Hyperparameters, Kind, MethodSettings, Settings


class ConfigError(ValueError):
    """What is wrong with a configuration, one line per error."""


class Study(Frozen):
    """A whole study. Paths are relative to the working directory."""

    results_dir: Folder = "results"
    model: Annotated[WheelModel | HubModel | LocalModel | RandomModel, Field(discriminator="source")]
    data: Annotated[MiniData | HubData | LocalData, Field(discriminator="source")]
    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    task_settings: dict[Name, OwnTask] = Field(default={})
    methods: Annotated[tuple[Name, ...], Field(min_length=1)]
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
    protocol: Name
    method_settings: dict[Name, MethodSettings]
    train: Train
    measure: Measure = Measure()
    more_tables: tuple[Literal["convergence", "scaling", "sweep"], ...] = Field(
        default=(), description="beyond tables 1-7, each with its figure; any of them can be asked for by name"
    )
    resources: Resources

    @cached_property
    def _protocol(self) -> Protocol:
        return Protocol(self.protocol)

    def task(self, name: str) -> Task:
        """The row of the table of tasks, or of the configuration's own."""
        return TASKS[name] if name in TASKS else self.task_settings[name].row(name)

    def starts(self, method: str, task: str) -> list[str]:
        """The tasks that a run starts from, the nearest first. Raises ConfigError where they go round in a circle."""
        found: list[str] = []
        while (task := self.hyperparameters(method, task)["start_from"]) is not None:
            known = [*TASKS, *self.task_settings]
            if task not in known:
                raise ConfigError(f"start_from: unknown task {task!r}{nearest(task, known)}")
            if task in found:
                raise ConfigError(f"start_from: {' -> '.join([*found, task])} goes round in a circle")
            found.append(task)
        return found

    @cached_property
    def trained_tasks(self) -> list[str]:
        """The study's tasks, then those that runs start from."""
        starts = [start for method in self.methods for task in self.tasks for start in self.starts(method, task)]
        return list(dict.fromkeys([*self.tasks, *starts]))

    def kind(self, method: str) -> Kind:
        """The row of the table of methods."""
        return KINDS[self.method_settings[method].kind]

    def merges(self, method: str) -> bool:
        """Whether the method can be folded into the base model's weights."""
        return self.kind(method).merges(self.method_settings[method])

    @cached_property
    def same_as_lora(self) -> list[str]:
        """The methods that compute what the first plain LoRA of the study computes, that one among them."""
        keys = {}
        for method in self.methods:
            plain = self.kind(method).plain_lora(self.settings(method))
            if plain is not None:
                keys[method] = plain, [self.hyperparameters(method, task) for task in self.tasks]
        first = next(iter(keys.values()), None)
        return [method for method, key in keys.items() if key == first]

    def settings(self, method: str) -> dict[str, Any]:
        """What the method's own file is told: its kind and what belongs to it alone, of the protocol what it leaves
        out."""
        own = self.method_settings[method].model_dump(mode="json", exclude=set(Settings.model_fields) - {"kind"})
        told = self._protocol.resolve(self.kind(method).protocol_column)
        return own | {name: told[name] for name, value in own.items() if value is None}

    def setting_source(self, method: str, name: str) -> str:
        """Where a setting comes from."""
        if getattr(self.method_settings[method], name) is None:
            return self._protocol.source(self.kind(method).protocol_column, name)
        return "method_settings"

    def hyperparameters(self, method: str, task: str) -> dict[str, Any]:
        """Resolved: the protocol's values, then the method's, then the method's for this task.

        Raises ConfigError for what none of them says.
        """
        values = self._protocol.resolve(self.kind(method).protocol_column, task) | self._overrides(method, task)
        if missing := [name for name in Hyperparameters.model_fields if name not in values]:
            raise ConfigError(
                f"protocol: {self.protocol!r} says nothing of {', '.join(missing)} for the task {task!r}; give it in "
                f"method_settings.{method}.task_hyperparameters.{task}"
            )
        if values["start_from"] == task:  # told for all tasks
            values["start_from"] = None
        return Hyperparameters(**{name: values[name] for name in Hyperparameters.model_fields}).model_dump()

    def hyperparameter_source(self, method: str, task: str, name: str) -> str:
        """Where a resolved value comes from: the configuration, or what the protocol names."""
        if name in self._overrides(method, task):
            return "this study's configuration"
        return self._protocol.source(self.kind(method).protocol_column, name)

    def _overrides(self, method: str, task: str) -> dict[str, Any]:
        settings = self.method_settings[method]
        per_task = settings.task_hyperparameters.get(task)
        return settings.hyperparameters.model_dump(exclude_unset=True) | (
            per_task.model_dump(exclude_unset=True) if per_task else {}
        )

    @property
    def protocol_title(self) -> str:
        return self._protocol.title

    def max_length(self, task: str) -> int:
        """Tokens an example is cut to: the data section's, else the protocol's."""
        return self.data.max_length or self._protocol.resolve("full", task)["max_length"]

    @property
    def max_length_source(self) -> str:
        return "this study's configuration" if self.data.max_length else self._protocol.source("full", "max_length")

    @property
    def identity(self) -> dict[str, Any]:
        """Model and data set with their revisions: what one results folder holds. Caps are no part of it."""
        return {
            "model": self.model.model_dump(mode="json"),
            "data": self.data.model_dump(mode="json", include={"source", "id", "revision", "path", "seed"}),
        }


def load(config: dict[str, Any], overlay: dict[str, Any] | None = None) -> Study:
    """The study that a merged configuration describes.

    A `model` or `data` section in which `overlay` (what came on the command line) names a `source` starts anew: it
    inherits no key of the default's other source. Raises ConfigError with every error, a line each.
    """
    config = dict(config)
    for section in ("model", "data"):
        own = (overlay or {}).get(section)
        if isinstance(own, dict) and "source" in own:
            config[section] = own
    try:
        config = sweeps.expand(config)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    errors = list(_cross_errors(config))
    try:
        study = Study.model_validate(config)
    except ValidationError as error:
        errors += [_sentence(e) for e in error.errors()]
    if not errors:
        errors = list(dict.fromkeys(_resolved_errors(study)))
    if errors:
        raise ConfigError(f"{len(errors)} error(s) in the configuration:\n" + "\n".join(f"  - {e}" for e in errors))
    return study


def _resolved_errors(study: Study) -> Iterator[str]:
    """What is wrong with a study once its hyperparameters are resolved."""
    if "sweep" in study.more_tables and not any(study.method_settings[method].swept for method in study.methods):
        yield "more_tables: 'sweep' needs a method with a sweep; give one, or leave the table out"
    for method in study.methods:
        for task in study.tasks:
            try:
                starts = study.starts(method, task)
            except ConfigError as error:
                yield str(error)
            else:
                if starts and not study.kind(method).goes_on(study.method_settings[method]):
                    yield (
                        f"method_settings.{method}: what it saves of {starts[0]} is not what it trained, and {task} "
                        "cannot start from it; say hyperparameters: {start_from: null}"
                    )


def _cross_errors(config: dict[str, Any]) -> Iterator[str]:
    """What no single field can know: names that must exist elsewhere, and repeated entries."""
    given = config.get("method_settings")
    settings: dict[str, Any] = given if isinstance(given, dict) else {}
    known = list(settings)
    for key in ("tasks", "methods", "seeds"):
        entries = config.get(key)
        plain = (
            [entry for entry in entries if isinstance(entry, str | int | float)] if isinstance(entries, list) else []
        )
        if len(plain) != len(set(plain)):
            yield f"{key}: an entry stands twice in {entries}"
        if key == "methods" and isinstance(entries, list):
            yield from (
                f"methods: no entry {m!r} in method_settings{nearest(str(m), known)}" for m in entries if m not in known
            )
    own_tasks, given_tasks = config.get("task_settings"), config.get("tasks")
    tasks = [*TASKS, *(own_tasks if isinstance(own_tasks, dict) else ())]
    twice = [name for name in tasks[len(TASKS) :] if name in TASKS]
    yield from (f"task_settings.{name}: GLUE has a task of that name; give it another" for name in twice)
    for i, task in enumerate(given_tasks if isinstance(given_tasks, list) else ()):
        if task not in tasks:
            yield f"tasks.{i}: unknown value {task!r}{nearest(str(task), tasks)}"
    for method in known:
        own = settings[method].get("task_hyperparameters") if isinstance(settings[method], dict) else None
        yield from (
            f"method_settings.{method}.task_hyperparameters: unknown task {t!r}{nearest(t, tasks)}"
            for t in (own if isinstance(own, dict) else ())
            if t not in tasks
        )
    measure = config.get("measure")
    if isinstance(measure, dict) and measure.get("simulated") is True and measure.get("meter") != "nvml":
        yield "measure.simulated: a simulated driver is read with measure.meter: nvml"
    protocols = sorted(p.stem for p in PROTOCOLS.glob("*.yaml"))
    if "protocol" in config and config["protocol"] not in protocols:
        yield f"protocol: unknown protocol {config['protocol']!r}{nearest(str(config['protocol']), protocols)}"


def nearest(word: str, valid: list[str]) -> str:
    """The tail of an error message: the nearest valid name, or all of them."""
    close = difflib.get_close_matches(word, valid, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; valid: {', '.join(map(str, valid))}"


def _sentence(error: Any) -> str:
    """One pydantic error as one sentence, with the key's path and the nearest valid name."""
    where = [str(part) for part in error["loc"]]
    given: Any = error.get("input")
    # A tagged union puts its tag into the path, right after the key it belongs to.
    tag_at = {"model": 1, "data": 1, "method_settings": 2}.get(where[0])
    path = ".".join(part for i, part in enumerate(where) if i != tag_at)
    match error["type"]:
        case "extra_forbidden":
            return f"{path}: unknown key{nearest(where[-1], sorted(_keys()))}"
        case "missing":
            return f"{path}: this key is missing"
        case "union_tag_invalid":
            expected = error["ctx"]["expected_tags"].replace("'", "").split(", ")
            tag = error["ctx"]["tag"]
            return f"{path}.{error['ctx']['discriminator'].strip(chr(39))}: unknown {tag!r}{nearest(tag, expected)}"
        case "union_tag_not_found":
            return f"{path}: the key {error['ctx']['discriminator']} is missing"
        case "literal_error":
            expected = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            return f"{path}: unknown value {given!r}{nearest(str(given), expected)}"
    return f"{path}: {error['msg'][0].lower()}{error['msg'][1:]} (given: {given!r})"


def _keys(cls: type[Frozen] = Frozen) -> set[str]:
    """Every key that any part of the configuration knows."""
    return set(cls.model_fields).union(*(_keys(sub) for sub in cls.__subclasses__()))


def json_schema() -> str:
    """The schema for editors, as committed in config/schema.json."""
    return json.dumps(Study.model_json_schema(), indent=2, sort_keys=True) + "\n"


def read_files(*overlays: str) -> Study:
    """The study of config.yaml in the working directory with `overlays` laid over it, as Snakemake lays them."""
    from snakemake.utils import update_config

    config: dict[str, Any] = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
    overlay: dict[str, Any] = {}
    for file in overlays:
        update_config(overlay, yaml.safe_load(Path(file).read_text(encoding="utf-8")))
    update_config(config, overlay)
    return load(config, overlay)


if __name__ == "__main__":
    print(read_files(*sys.argv[1:]).results_dir)
