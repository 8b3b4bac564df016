"""Checks across the keys of a configuration: names that must be defined elsewhere, and contradictions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_core.config.errors import ConfigError
from lora_core.config.protocol import protocol_names
from lora_core.config.results_folder import folder_errors
from lora_core.data.tasks import TASKS
from lora_core.layout import TASK_FILE_SUFFIXES
from lora_core.measuring.meters import METERS
from lora_core.nearest import nearest

if TYPE_CHECKING:
    from lora_core.config.study import Study

Config = Mapping[str, Any]  # as YAML reads it: any part may have a wrong type


def name_errors(config: Config, optional_tables: Sequence[str]) -> Iterator[str]:
    """Yield an error for each name that is not defined, each entry that is listed twice, and each contradiction."""
    for key in ("tasks", "methods", "seeds", "more_tables"):
        yield from _repeated(config, key)
    yield from _unknown_methods(config)
    yield from _unknown_tasks(config)
    yield from _names_of_the_same_files(config)
    yield from _results_folder_errors(config)
    for position, table in enumerate(_list(config, "more_tables")):
        if table not in optional_tables:
            yield f"more_tables.{position}: unknown value {table!r}{nearest(str(table), optional_tables)}"
    measure = _section(config, "measure")
    if measure.get("simulated") is True and f"simulated_{measure.get('meter')}" not in METERS:
        yield "measure.simulated: a simulated driver is read with measure.meter: nvml"
    protocols = protocol_names()
    if "protocol" in config and config["protocol"] not in protocols:
        yield f"protocol: unknown protocol {config['protocol']!r}{nearest(str(config['protocol']), protocols)}"


def _repeated(config: Config, key: str) -> Iterator[str]:
    entries = _list(config, key)
    plain = [entry for entry in entries if isinstance(entry, str | int | float)]
    if len(plain) != len(set(plain)):
        yield f"{key}: an entry is listed twice in {entries}"


def _unknown_methods(config: Config) -> Iterator[str]:
    known = list(_section(config, "method_settings"))
    for method in _list(config, "methods"):
        if method not in known:
            yield f"methods: no entry {method!r} in method_settings{nearest(str(method), known)}"
    for role, method in _section(config, "references").items():
        if isinstance(method, str) and method not in known:
            yield f"references.{role}: no entry {method!r} in method_settings{nearest(method, known)}"


def _unknown_tasks(config: Config) -> Iterator[str]:
    of_user = list(_section(config, "task_settings"))
    known = [*TASKS, *of_user]
    for name in of_user:
        if name in TASKS:
            yield f"task_settings.{name}: GLUE has a task of that name; choose another name"
    for position, task in enumerate(_list(config, "tasks")):
        if task not in known:
            yield f"tasks.{position}: unknown value {task!r}{nearest(str(task), known)}"
    for method, entry in _section(config, "method_settings").items():
        for task in _section(entry, "task_hyperparameters"):
            if task not in known:
                key = f"method_settings.{method}.task_hyperparameters"
                yield f"{key}: unknown task {task!r}{nearest(str(task), known)}"


def _names_of_the_same_files(config: Config) -> Iterator[str]:
    """Yield an error for names that share files: on some file systems, capitals and small letters are the same."""
    for key, others in (("method_settings", []), ("task_settings", list(TASKS))):
        taken = {name.casefold(): name for name in others}
        for name in map(str, _section(config, key)):
            other = taken.setdefault(name.casefold(), name)
            if other != name:
                yield f"{key}: {other!r} and {name!r} differ only in capitals and would share files; rename one"
    known = {*TASKS, *map(str, _section(config, "task_settings"))}
    for name in sorted(known):
        for suffix in TASK_FILE_SUFFIXES:
            if f"{name}{suffix}" in known:
                yield f"task_settings.{name}{suffix}: its files have the names of files of the task {name!r}; rename it"


def _results_folder_errors(config: Config) -> Iterator[str]:
    folder = config.get("results_dir")
    if not isinstance(folder, str) or "\0" in folder or ".." in Path(folder).parts:  # which the schema reports
        return
    sections = {"data": _section(config, "data"), "model": _section(config, "model")}
    sections = {key: section for key, section in sections.items() if section.get("source") == "local"}
    tasks = _section(config, "task_settings")
    sections |= {f"task_settings.{name}": _section(tasks, name) for name in tasks}
    sources = {f"{key}.path": section.get("path") for key, section in sections.items()}
    yield from folder_errors(
        folder, {key: path for key, path in sources.items() if isinstance(path, str) and "\0" not in path}
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
    if "sweep" in study.more_tables and not any(study.entry(method).swept for method in study.methods):
        yield "more_tables: 'sweep' needs a method with a sweep; add one, or leave the table out"
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


def method_errors(study: "Study", methods: Iterable[str]) -> Iterator[str]:
    """Yield an error for each method that cannot be trained with its settings and hyperparameters."""
    for method in methods:
        settings = study.settings(method)
        starts = [start for task in study.tasks for start in study.starts(method, task)]
        for task in dict.fromkeys([*study.tasks, *starts]):
            try:
                settings.check(study.hyperparameters(method, task))
            except ValueError as error:
                yield f"method_settings.{method}.{error}"
