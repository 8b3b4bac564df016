"""Checks across the keys of a configuration: names that must be defined elsewhere, and contradictions."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_core.config.errors import ConfigError
from lora_core.config.names import path_problem
from lora_core.config.protocol import protocol_names
from lora_core.config.results_folder import folder_errors
from lora_core.data.tasks import TASKS
from lora_core.layout import paths_of
from lora_core.measuring.meters import METERS
from lora_core.nearest import nearest, unknown_names
from lora_core.plain_text import shorten

if TYPE_CHECKING:
    from lora_core.config.study import Study

Config = Mapping[str, Any]  # as YAML reads it: any part may have a wrong type


def name_errors(config: Config, optional_tables: Sequence[str]) -> Iterator[str]:
    """Yield an error for each name that is not defined, each entry that is listed twice, and each contradiction."""
    for key in ("tasks", "methods", "seeds", "more_tables"):
        yield from _repeated(config, key)
    yield from _names_with_blanks(config)
    yield from _unknown_methods(config)
    yield from _unknown_tasks(config)
    yield from _names_of_the_same_files(config)
    yield from _results_folder_errors(config)
    yield from _unknown_values(config, "more_tables", optional_tables)
    measure = _section(config, "measure")
    if measure.get("simulated") is True and f"simulated_{measure.get('meter')}" not in METERS:
        yield "measure.simulated: a simulated driver is read with measure.meter: nvml"
    protocols = protocol_names()
    protocol = config.get("protocol")
    if isinstance(protocol, str) and protocol not in protocols:
        yield f"protocol: unknown protocol {protocol!r}{nearest(protocol, protocols)}"


def _repeated(config: Config, key: str) -> Iterator[str]:
    entries = _list(config, key)
    plain = [entry for entry in entries if isinstance(entry, str | int | float)]
    if len(plain) != len(set(plain)):
        yield f"{key}: an entry is listed twice in {shorten(str(entries))}"


def _names_with_blanks(config: Config) -> Iterator[str]:
    """Yield an error for each chosen name with a blank around it: without it, it may replace an entry of that name."""
    methods = _section(config, "method_settings")
    sections = {key: _section(config, key) for key in ("method_settings", "task_settings")}
    sections |= {"model.config": _section(_section(config, "model"), "config")}
    sections |= {f"method_settings.{name}.config": _section(methods[name], "config") for name in methods}
    for key, section in sections.items():
        for name in section:
            if isinstance(name, str) and name != name.strip():
                yield f"{key}: the name {shorten(repr(name))} begins or ends with a blank or a line break; remove it"


def _unknown_values(config: Config, key: str, known: Collection[str]) -> Iterator[str]:
    """Yield an error for each entry of a list that is not a known name. The schema reports one that is no text."""
    names = set(known)
    unknown = [(i, name) for i, name in enumerate(_list(config, key)) if isinstance(name, str) and name not in names]
    described = [(f"{key}.{position}: unknown value {shorten(repr(name))}", name) for position, name in unknown]
    yield from unknown_names(key, described, known)


def _unknown_methods(config: Config) -> Iterator[str]:
    known = _section(config, "method_settings")
    unknown = [m for m in _list(config, "methods") if isinstance(m, str) and m not in known]
    described = [(f"methods: no entry {shorten(repr(method))} in method_settings", method) for method in unknown]
    yield from unknown_names("methods", described, map(str, known))
    for role, method in _section(config, "references").items():
        if isinstance(method, str) and method not in known:
            yield f"references.{role}: no entry {method!r} in method_settings{nearest(method, known)}"


def _unknown_tasks(config: Config) -> Iterator[str]:
    of_user = _section(config, "task_settings")
    known = dict.fromkeys([*TASKS, *of_user])
    for name in of_user:
        if name in TASKS:
            yield f"task_settings.{name}: GLUE has a task of that name; choose another name"
    yield from _unknown_values(config, "tasks", known)
    unknown = [
        (f"method_settings.{method}.task_hyperparameters: unknown task {shorten(repr(task))}", task)
        for method, entry in _section(config, "method_settings").items()
        for task in _section(entry, "task_hyperparameters")
        if task not in known
    ]
    yield from unknown_names("method_settings", unknown, known)


def _names_of_the_same_files(config: Config) -> Iterator[str]:
    """Yield an error for names that share files: on some file systems, capitals and small letters are the same."""
    for key, others in (("method_settings", []), ("task_settings", list(TASKS))):
        taken: dict[str, str] = {}
        for name in dict.fromkeys([*others, *map(str, _section(config, key))]):
            paths = [path.casefold() for path in paths_of(key.partition("_")[0], name)]
            other = next((taken[path] for path in paths if path in taken), None)
            if other is None:
                taken |= dict.fromkeys(paths, name)
            elif other.casefold() == name.casefold():
                yield f"{key}: {other!r} and {name!r} differ only in capitals and would share files; rename one"
            else:
                yield f"{key}.{name}: its files have the names of files of the task {other!r}; rename it"


def _results_folder_errors(config: Config) -> Iterator[str]:
    folder = config.get("results_dir")
    if not isinstance(folder, str) or path_problem(folder) or ".." in Path(folder).parts:  # which the schema reports
        return
    sections = {"data": _section(config, "data"), "model": _section(config, "model")}
    sections = {key: section for key, section in sections.items() if section.get("source") == "local"}
    tasks = _section(config, "task_settings")
    sections |= {f"task_settings.{name}": _section(tasks, name) for name in tasks}
    sources = {f"{key}.path": section.get("path") for key, section in sections.items()}
    sources |= {f"task_settings.{name}.test": _section(tasks, name).get("test") for name in tasks}
    yield from folder_errors(
        folder, {key: path for key, path in sources.items() if isinstance(path, str) and not path_problem(path)}
    )


def _section(config: Any, key: str) -> Config:
    section = config.get(key) if isinstance(config, Mapping) else None
    return section if isinstance(section, Mapping) else {}


def _list(config: Config, key: str) -> Sequence[Any]:
    entries = config.get(key)
    return entries if isinstance(entries, list) else []


def study_errors(study: "Study") -> Iterator[str]:
    """Yield the errors that show only when hyperparameters are resolved."""
    if len(set(study.seeds)) < len(study.seeds):  # one as a number and as a text
        yield f"seeds: an entry is listed twice in {list(study.seeds)}"
    yield from _repeated_labels(study.labels)
    if "sweep" in study.more_tables and not any(study.entry(method).swept for method in study.methods):
        yield "more_tables: 'sweep' needs a method with a sweep; add one, or leave the table out"
    if "regimes" in study.more_tables and not (study.references.full and study.references.adapter):
        yield "more_tables: 'regimes' compares full fine-tuning with an adapter; add both to methods, or leave it out"
    for method in study.methods:
        for task in study.tasks:
            try:
                starts = study.starts(method, task)
            except ConfigError as error:
                yield str(error)
            else:
                if starts and not study.settings(method).can_start_another_task():
                    yield (
                        f"method_settings.{method}: {task} cannot start from {starts[0]}, because what this method "
                        "saves is not what it trained; set hyperparameters: {start_from: null}"
                    )
    with suppress(ConfigError):  # which was said above
        for method in study.methods:
            yield from _too_large_micro_batches(study, method)


def _too_large_micro_batches(study: "Study", method: str) -> Iterator[str]:
    """Yield one error for all tasks with the same sizes."""
    tasks: dict[tuple[int, int], list[str]] = {}
    for task in study.tasks_of(method):
        run = study.hyperparameters(method, task)
        if run.micro_batch_size is not None and run.micro_batch_size > run.batch_size:
            tasks.setdefault((run.micro_batch_size, run.batch_size), []).append(task)
    for (micro, batch), names in tasks.items():
        yield (
            f"method_settings.{method}: micro_batch_size {micro} is larger than the batch of {batch} for "
            f"{', '.join(names)}; set it to at most {batch}, or leave it out"
        )


def _repeated_labels(labels: Mapping[str, str]) -> Iterator[str]:
    taken: dict[str, str] = {}
    for method, label in labels.items():
        other = taken.setdefault(label, method)
        if other != method:
            yield f"method_settings.{method}.label: {other!r} is called {label!r} too; give each a label of its own"


def method_errors(study: "Study", methods: Iterable[str]) -> Iterator[str]:
    """Yield an error for each method that cannot be trained with its settings and hyperparameters."""
    for method in methods:
        settings = study.settings(method)
        for task in study.tasks_of(method):
            try:
                settings.check(study.hyperparameters(method, task))
            except ValueError as error:
                yield f"method_settings.{method}.{error}"
