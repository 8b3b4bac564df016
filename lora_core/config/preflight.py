"""A study against the world: its files and hub names checked before a job starts, its results folder, its name in
words."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lora_core.config.study import ConfigError, Study, nearest
from lora_core.data import datasets as glue
from lora_core.data.hub import check_hub
from lora_core.models import pretrained as prepare
from lora_core.records import read_json, write_json


def check_paths(study: Study) -> None:
    """Refuse folders and files that are not there. Raises ValueError; quick enough for every call of Snakemake."""
    if study.model.source == "local":
        prepare.check_local(study.model.path)
    if study.model.source == "wheel":
        prepare.wheel_folder(study.model.package, study.model.path)
    for task in study.trained_tasks:
        data_files(study, task)


def data_files(study: Study, task: str) -> list[str]:
    """The files that a task in a local folder is read from; none for the hub and mini-GLUE."""
    source = data_source(study, task)
    if "path" not in source:
        return []
    return [
        file for split in study.task(task).layout["splits"].values() for file in glue.local_files(source, task, split)
    ]


def data_source(study: Study, task: str) -> dict[str, Any]:
    """Where a task's examples come from, and how many of them: the data section, or a folder of the task's own."""
    source = study.data.model_dump(mode="json", exclude={"max_length"})
    if task not in study.task_settings:
        return source
    caps = {name: value for name, value in source.items() if name.startswith("max_")}
    return {"source": "own", "path": study.task_settings[task].path} | caps


def check_content(study: Study) -> None:
    """Refuse, before any job starts, settings that a method does not take, weights with another sha256, data
    with other columns or labels, and a hub that cannot be reached for what is not there yet. Raises ValueError."""
    wrong = []
    for method in study.methods:
        try:
            study.kind(method).check(study.method_settings[method])
        except ValueError as error:
            wrong.append(f"method_settings.{method}.{error}")
    if wrong:
        raise ValueError("\n".join(wrong))
    results = Path(study.results_dir)
    if not (results / "models" / study.model.name).exists():
        if study.model.source == "wheel":
            prepare.check_wheel(study.model.package, study.model.path, study.model.sha256)
        if study.model.source == "hub":
            check_hub("model", study.model.id, study.model.revision)
    waiting = [task for task in study.trained_tasks if not (results / "data" / task / "card.json").exists()]
    sources = {task: data_source(study, task) for task in waiting}
    if study.data.source == "hub" and any(source["source"] == "hub" for source in sources.values()):
        check_hub("data", study.data.id, study.data.revision)
    for task, source in sources.items():
        if "path" in source:
            glue.check_local(source, task, **study.task(task).layout)


def check_folder(study: Study) -> None:
    """Refuse a results folder that holds another model or data set. Raises ConfigError."""
    file = Path(study.results_dir) / "study.json"
    if not file.exists():
        return
    held = read_json(file)
    for key, value in study.identity.items():
        if held.get(key) != value:
            raise ConfigError(
                f"results_dir: {study.results_dir!r} holds a study of another {key} ({_words(held.get(key))}; this "
                f"one asks for {_words(value)}): give another results_dir, or remove the folder"
            )


def _words(section: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in section.items() if v is not None) if isinstance(section, dict) else "none"


def check_targets(words: Iterable[str], products: set[str], results_dir: str) -> None:
    """Refuse a word of a command line that lies in a folder of results and is no product, with the nearest that is.

    Raises ValueError.
    """
    folders = tuple({f"{results_dir}/{Path(p).relative_to(results_dir).parts[0]}/" for p in products})
    for word in words:
        if word.startswith(folders) and word.rstrip("/") not in products:
            raise ValueError(f"no rule of this study makes {word!r}{nearest(word, sorted(products))}")


def remember(study: Study) -> None:
    """Write study.json, which names the model and the data set that the results folder holds."""
    file = Path(study.results_dir) / "study.json"
    if not file.exists():
        write_json(file, study.identity)


def describe(study: Study, batching: bool) -> dict[str, Any]:
    """The study in words, for the head of every table (`lora_core.reporting.rendering.Study`)."""
    model, source = study.model, study.data
    data_name = {"mini": "mini-GLUE (generated)", "hub": "GLUE", "local": "GLUE from a local folder"}[source.source]
    caps = [
        f"at most {cap} {split} examples"
        for split, cap in (("training", source.max_train_examples), ("validation", source.max_validation_examples))
        if cap
    ]
    own = [task for task in study.tasks if task in study.task_settings]
    if own:
        data_name = f"{data_name} and own files ({', '.join(own)})" if len(own) < len(study.tasks) else "own files"
    return {
        "model": model.id if model.source == "hub" else model.name,
        "data": ", ".join([data_name, *caps]),
        "protocol": study.protocol_title,
        "seeds": list(study.seeds),
        "batching": study.train.batching if batching else "",
        "simulated": study.measure.simulated,
        "comparable": model.source == "hub"
        and model.id in ("roberta-base", "FacebookAI/roberta-base")
        and source.source == "hub"
        and source.id in ("glue", "nyu-mll/glue")
        and not caps
        and not own
        and study.protocol == "table7",
    }


def resolved_hyperparameters(study: Study) -> dict[str, dict[str, dict[str, Any]]]:
    """`{method: {task: {name: {value, source}}}}`, the method's own settings among them: Table 7."""
    resolved: dict[str, dict[str, dict[str, Any]]] = {}
    for method in study.methods:
        resolved[method] = {}
        for task in study.tasks:
            values = {
                name: {"value": value, "source": study.hyperparameter_source(method, task, name)}
                for name, value in study.hyperparameters(method, task).items()
            }
            for name, value in study.settings(method).items():
                parts = value if isinstance(value, dict) else {name: value}
                values |= {
                    part: {"value": v, "source": study.setting_source(method, name)} for part, v in parts.items()
                }
            values.pop("kind")
            values["maximum_length"] = {"value": study.max_length(task), "source": study.max_length_source}
            values["batching"] = {"value": study.train.batching, "source": "train"}
            values["precision"] = {"value": study.train.precision, "source": "train"}
            resolved[method][task] = values
    return resolved
