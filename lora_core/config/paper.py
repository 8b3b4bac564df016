"""In what a study differs from the paper's: only without a difference are its results comparable with the paper's."""

from collections.abc import Iterator
from dataclasses import asdict

from lora_core.config.protocol import read_protocol
from lora_core.config.sections import HubData, HubModel
from lora_core.config.study import Study
from lora_core.data.tasks import TASKS
from lora_core.decimals import plain
from lora_core.methods.settings import PlainLora

MODELS = ("roberta-base", "FacebookAI/roberta-base")
DATA_SETS = ("glue", "nyu-mll/glue")
PROTOCOL = "table7"
LORA = PlainLora(8, 8, ("query", "value"))
PRECISION = "fp32"


def differences_from_paper(study: Study, data: str) -> list[str]:
    """Return each difference as what differs, a colon, and what this study has.

    Of the methods, only the references count, and where one is absent, those like it. Seeds and batching do not. `data`
    is the description of the study's data.
    """
    return list(_differences(study, data))


def _differences(study: Study, data: str) -> Iterator[str]:
    model, source = study.model, study.data
    if not (isinstance(model, HubModel) and model.id in MODELS):
        yield f"model: {model.id if isinstance(model, HubModel) else model.name}"
    limited = source.max_train_examples or source.max_validation_examples
    of_glue = isinstance(source, HubData) and source.id in DATA_SETS and all(task in TASKS for task in study.tasks)
    if limited or not of_glue:
        yield f"data: {data}"
    if study.protocol != PROTOCOL:
        yield f"protocol: {study.protocol_title}"
    yield from _differing_lengths(study)
    if study.train.precision != PRECISION:
        yield f"precision: {study.train.precision}"
    for role, reference in asdict(study.references).items():
        for method in _compared(study, role) if reference is None else [reference]:
            settings = [*_differing_method(study, role, method), *_overrides(study, method)]
            if settings:
                yield f"settings of {study.labels[method]}: {', '.join(settings)}"


def _compared(study: Study, role: str) -> list[str]:
    """The methods that readers compare with the paper's where the study lacks the reference itself."""
    return [
        method
        for method in study.methods
        if (role == "full" and study.settings(method).protocol_column == "full")
        or (role == "adapter" and study.settings(method).plain_lora() is not None)
    ]


def _differing_lengths(study: Study) -> Iterator[str]:
    lengths = {study.max_length(task) for task in study.tasks} - {
        read_protocol(PROTOCOL).resolve("full", task)["max_length"] for task in study.tasks
    }
    if lengths:
        yield f"maximum length: {', '.join(map(str, sorted(lengths)))} tokens"


def _differing_method(study: Study, role: str, method: str) -> Iterator[str]:
    """What the method of a reference computes, if that is not full fine-tuning or the paper's LoRA."""
    settings = study.settings(method)
    plain = settings.plain_lora()
    if role == "full":
        if settings.protocol_column != "full":
            yield f"kind {settings.kind}"
    elif plain is None:
        yield f"kind {settings.kind} other than plain LoRA"
    else:
        for name, value in vars(plain).items():
            if value != getattr(LORA, name):
                yield f"{name} {_text(value)}"


def _overrides(study: Study, method: str) -> Iterator[str]:
    """The hyperparameters that the method's entry sets to other values than the protocol has."""
    values: dict[str, list[str]] = {}
    for task in study.tasks:
        for name, value in study.overrides(method, task).items():
            texts = values.setdefault(name, [])
            if _text(value) not in texts:
                texts.append(_text(value))
    yield from (f"{name} {' or '.join(texts)}" for name, texts in values.items())


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return " and ".join(map(str, value))
    return plain(value) if isinstance(value, float) else "none" if value is None else str(value)
