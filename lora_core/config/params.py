"""The parameters that rules pass to their jobs: plain values from the study, one function for each.

A job reruns when a value changes that its rule passes, so each function returns what decides the job's result and
nothing else.
"""

import itertools
from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any

from lora_core.config.description import StudyDescription
from lora_core.config.paper import differences_from_paper
from lora_core.config.study import Study
from lora_core.data.batches import TEST
from lora_core.layout import Layout
from lora_core.measuring.meters import MeterSettings
from lora_core.training.spec import RunSpec

REGIMES_SECONDS = 150.0


def model_params(study: Study) -> dict[str, object]:
    """Return the `model` section, as `lora_core.models.pretrained.prepare_model` takes it."""
    return study.model.model_dump(mode="json")


def data_params(study: Study, task: str) -> dict[str, object]:
    """Return a task's `source` (DatasetSource), `task` (Task) and `max_length`; both have `from_params`."""
    return {
        "source": study.source(task).to_params(),
        "task": study.task(task).to_params(),
        "max_length": study.max_length(task),
    }


def tested_tasks(study: Study) -> list[str]:
    """Return the tasks that have a test split."""
    return [task for task in study.trained_tasks if TEST in study.source(task).splits]


def method_params(study: Study) -> dict[str, dict[str, object]]:
    """Return the settings of every method by its name; `settings_from_params` reads each."""
    return {method: study.settings(method).to_params() for method in study.methods}


def head_params(study: Study) -> list[int]:
    """Return the numbers of outputs that the heads of the study's tasks have, each once: 1 for a regression."""
    return sorted({len(study.task(task).labels) or 1 for task in study.trained_tasks})


def run_params(study: Study, method: str, task: str, seed: int) -> dict[str, object]:
    """Return one run; `RunSpec.from_params` reads it.

    Threads and checkpoints are left out: they change no result.
    """
    train, measure = study.train, study.measure
    layout = Layout(study.results_dir)
    return RunSpec(
        method=method,
        task=task,
        seed=seed,
        settings=study.settings(method),
        hyperparameters=study.hyperparameters(method, task),
        precision=train.precision,
        batching=train.batching,
        cuda_graphs=train.cuda_graphs,
        evaluation_batch_size=train.evaluation_batch_size,
        device=train.device,
        measure=MeterSettings(measure.meter_name, measure.sample_seconds, measure.idle_seconds),
        base_model=study.model.id if study.model.source == "hub" else layout.model.format(model=study.model.name),
    ).to_params()


def memory_params(study: Study, task: str) -> dict[str, dict[str, object]]:
    """Return a run of each method that is trained on a task; the memory that it needs does not depend on its seed."""
    methods = [method for method in study.methods if task in study.tasks_of(method)]
    return {method: {**run_params(study, method, task, study.seeds[0]), "seed": 0} for method in methods}


def card_params(study: Study) -> dict[str, object]:
    """Return the fields of `lora_core.reporting.card_metadata.CardFacts` that the configuration has."""
    card = study.model_card
    license = {} if card.license is None else {"license": card.license}
    return {"license": license, "grid_co2_grams_per_kwh": card.grid_co2_grams_per_kwh}


def regimes_methods(study: Study) -> list[str]:
    """Return the methods whose steps are compared: full fine-tuning and the adapter, as far as the study has them."""
    return [method for method in (study.references.full, study.references.adapter) if method]


def compares_steps(study: Study) -> bool:
    """Return whether the study has both methods whose steps are compared."""
    return len(regimes_methods(study)) > 1


def regimes_params(study: Study) -> dict[str, object]:
    """Return the `runs` by method and task, the `device`, and for how many `seconds` at most steps are timed."""
    return {
        "runs": {
            method: {task: run_params(study, method, task, study.seeds[0]) for task in study.tasks}
            for method in regimes_methods(study)
        },
        "device": study.train.device,
        "seconds": REGIMES_SECONDS,
    }


def latency_params(study: Study) -> dict[str, object]:
    """Return the fields of `lora_core.evaluation.latency.LatencyPlan` but for `seed` and `threads`."""
    names = ("passes", "seconds", "margin", "batch_size", "single_examples")
    return {name: getattr(study.measure, f"latency_{name}") for name in names} | {
        "device": study.train.device,
        "precision": study.train.precision,
        "reference": study.references.full,
    }


def reference_params(study: Study) -> dict[str, str | None]:
    """Return the study's references; `References(**params)` reads them."""
    return asdict(study.references)


def swept_params(study: Study) -> dict[str, dict[str, object]]:
    """Return the entry and the values of each method that a sweep made; empty without a sweep."""
    swept = {method: study.entry(method).swept for method in study.methods}
    return {method: combination.model_dump(mode="json") for method, combination in swept.items() if combination}


def description_params(study: Study, batching: bool = True) -> dict[str, object]:
    """Return the description of the study; `StudyDescription(**params)` reads it.

    Without `batching` it does not say how batches are formed, and in which precision, for tables that do not depend on
    training.
    """
    description = _describe(study)
    return (description if batching else replace(description, batching="", precision="")).to_params()


def _describe(study: Study) -> StudyDescription:
    """The description that is printed above every table."""
    model, data = study.model, study.data
    limits = [
        f"at most {limit} {split} examples"
        for split, limit in (("training", data.max_train_examples), ("validation", data.max_validation_examples))
        if limit
    ]
    user_tasks = [task for task in study.tasks if task in study.task_settings]
    name = {"mini": "mini-GLUE (generated)", "hub": "GLUE", "local": "GLUE from a local folder"}[data.source]
    if user_tasks:
        listed = ", ".join(user_tasks)
        name = "user files" if len(user_tasks) == len(study.tasks) else f"{name} and user files ({listed})"
    data_title = ", ".join([name, *limits])
    return StudyDescription(
        model=model.id if model.source == "hub" else model.name,
        data=data_title,
        protocol=study.protocol_title,
        seeds=list(study.seeds),
        batching=study.train.batching,
        precision=study.train.precision,
        simulated=study.measure.simulated,
        differences=differences_from_paper(study, data_title),
    )


def draw_params(study: Study, name: str, settings: Collection[str]) -> dict[str, object]:
    """Return the settings that a table or figure needs: the labels, and those that its entry in the catalogue lists."""
    known = {
        "references": reference_params,
        "comparable": lambda study: not _describe(study).differences,
        "latency_margin": lambda study: study.measure.latency_margin,
        "precision": lambda study: study.train.precision,
        "methods": lambda study: [m for m in study.methods if study.settings(m).cost_table == name],
        "hyperparameters": hyperparameter_params,
        "swept": swept_params,
    }
    return {
        "labels": study.labels,
        **{setting: value(study) for setting, value in known.items() if setting in settings},
    }


def report_params(study: Study) -> dict[str, object]:
    """Return the `references`, `labels` and `latency_margin` that the page and the claims need."""
    return {
        "references": reference_params(study),
        "labels": study.labels,
        "latency_margin": study.measure.latency_margin,
    }


def claims_params(study: Study) -> dict[str, object]:
    """Return the description of the `study`, its `references`, `labels` and `latency_margin`."""
    return {"study": description_params(study), **report_params(study)}


def hyperparameter_params(study: Study) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    """Return `{method: {task: {name: {value, source}}}}` for table 7, with the settings of the methods.

    Micro-batches are named in a study that has some.
    """
    runs = itertools.product(study.methods, study.tasks)
    has_micro = any(study.hyperparameters(*run).micro_batch_size is not None for run in runs)
    left_out = set() if has_micro else {"micro_batch_size"}
    return {
        method: {
            task: {n: {"value": v, "source": source} for n, (v, source) in values.items() if n not in left_out}
            for task in study.tasks
            for values in [_resolved(study, method, task)]
        }
        for method in study.methods
    }


def _resolved(study: Study, method: str, task: str) -> dict[str, tuple[Any, str]]:
    """Return each value that one run trains with, and a text that says where it comes from."""
    hyperparameters = study.hyperparameters(method, task)
    micro = {"micro_batch_size": hyperparameters.micro_batch_size or hyperparameters.batch_size}
    values: dict[str, tuple[Any, str]] = {
        name: (value, study.hyperparameter_source(method, task, name))
        for name, value in (asdict(hyperparameters) | micro).items()
    }
    for name, value in study.settings(method).to_params().items():
        if name != "kind":
            source = study.setting_source(method, name)
            parts = value if isinstance(value, dict) else {name: value}
            values |= {part: (part_value, source) for part, part_value in parts.items()}
    return values | {
        "maximum_length": (study.max_length(task), study.max_length_source),
        "batching": (study.train.batching, "train"),
        "precision": (study.train.precision, "train"),
    }
