"""How a model card says to open what was trained: the call, with what transformers and PEFT cannot know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lora_core.evaluation.run_record import RunRecord
from lora_core.models.model import head_config
from lora_core.reporting.card_metadata import hub_name

FOLDER_OF_BASE = "FOLDER_OF_THE_BASE_MODEL"


@dataclass(frozen=True)
class Repository:
    """A repository of the hub.

    Attributes:
        name: Its name.
        base_model: The name on the hub by which the adapter in it names its base model; None if it names none.
    """

    name: str
    base_model: str | None


def usage(run: RunRecord, library: str | None, folder: str = "weights") -> list[str]:
    """Return the lines about opening `folder` by transformers, with peft for an adapter; none for another library.

    transformers takes the tokenizer, the labels and the revision from the base model, so the call names them.
    """
    if library is None:
        return []
    arguments: dict[str, object] = {"model": folder}
    if library == "peft":
        revision = {"revision": run.base_revision} if run.base_revision else {}
        arguments |= {"tokenizer": folder, **revision, "dtype": "float32", "model_kwargs": head_config(run.data.labels)}
    lines = _section(_pipeline(arguments), run)
    if library == "peft":
        lines[-1] += (
            " The package `peft` must be installed. `AutoPeftModelForSequenceClassification.from_pretrained` takes the "
            "same folder and, by name, what is in `model_kwargs`. If the base model was moved, use "
            "`PeftModel.from_pretrained(base, folder)`."
        )
    return lines


def published_usage(run: RunRecord, library: str | None, repository: Repository) -> list[str]:
    """Return the lines about opening a repository of the hub; none for another library.

    PEFT opens an adapter there: a pipeline would look for the base model's revision in the adapter's repository.
    """
    if library is None:
        return []
    if library == "transformers":
        return _section(_pipeline({"model": repository.name}), run)
    head = head_config(run.data.labels)
    if repository.base_model:
        code = [
            "from peft import AutoPeftModelForSequenceClassification", "from transformers import AutoTokenizer", "",
            *_call("model = AutoPeftModelForSequenceClassification.from_pretrained(", repository.name, head),
        ]  # fmt: skip
    else:
        code = [
            "from peft import PeftModel",
            "from transformers import AutoModelForSequenceClassification, AutoTokenizer", "",
            *_call("base = AutoModelForSequenceClassification.from_pretrained(", FOLDER_OF_BASE, head),
            f"model = PeftModel.from_pretrained(base, {repository.name!r})",
        ]  # fmt: skip
    return _section([*code, "model.eval()", f"tokenizer = AutoTokenizer.from_pretrained({repository.name!r})"], run)


def published_contents(run: RunRecord, library: str | None, repository: Repository) -> str:
    """Return what is in a repository, and who can use it."""
    if library == "transformers":
        return "A whole model, which the package `transformers` loads."
    note = "" if repository.base_model else f" {who_can_open(run)}"
    if library is None:
        return f"What was trained of the model; `lora_core.methods.registry.load` loads it.{note}"
    return f"An adapter, which the package `peft` loads onto its base model.{note}"


def who_can_open(run: RunRecord) -> str:
    """Return who can use an adapter that names no base model, and why."""
    published = hub_name(run)
    if published:
        base = f"The base model was prepared from {published}, but its weights are not those of the hub"
    else:
        base = f"The base model, {run.model}, has no name on the hub"
    return f"{base}, so only those who have its folder can use the adapter."


def _pipeline(arguments: Mapping[str, object]) -> list[str]:
    start = "classify = pipeline("
    return ["from transformers import pipeline", "", *_call(start, "text-classification", arguments)]


def _call(start: str, first: str, arguments: Mapping[str, object]) -> list[str]:
    """The lines of a call, one for each argument."""
    return [start, f'    "{first}",', *(f"    {name}={value!r}," for name, value in arguments.items()), ")"]


def _section(code: list[str], run: RunRecord) -> list[str]:
    cut = f"With `truncation=True` a call cuts texts at {max_length(run)} tokens, as training did."
    return ["", "## How to open it", "", "```python", *code, "```", "", cut]


def max_length(run: RunRecord) -> int:
    """Return the maximum input length in training, in tokens: of the data, or less if the model has a lower limit."""
    tokens = run.measurement.get("input_tokens")
    limit = tokens.get("longest") if isinstance(tokens, dict) else None
    return min(run.data.max_length, limit or run.data.max_length)
