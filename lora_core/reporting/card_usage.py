"""How a model card says to open a run's weights: the call, with what transformers cannot know from an adapter."""

from __future__ import annotations

from lora_core.evaluation.run_record import RunRecord
from lora_core.models.model import head_config


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
    lines = [
        "", "## How to open it", "", "```python", "from transformers import pipeline", "", "classify = pipeline(",
        '    "text-classification",', *(f"    {name}={value!r}," for name, value in arguments.items()), ")", "```", "",
        f"With `truncation=True` a call cuts texts at {max_length(run)} tokens, as training did.",
    ]  # fmt: skip
    if library == "peft":
        lines[-1] += (
            " The package `peft` must be installed. `AutoPeftModelForSequenceClassification.from_pretrained` takes the "
            "same folder and, by name, what is in `model_kwargs`. If the base model was moved, use "
            "`PeftModel.from_pretrained(base, folder)`."
        )
    return lines


def max_length(run: RunRecord) -> int:
    """Return the maximum input length in training, in tokens: of the data, or less if the model has a lower limit."""
    tokens = run.measurement.get("input_tokens")
    limit = tokens.get("longest") if isinstance(tokens, dict) else None
    return min(run.data.max_length, limit or run.data.max_length)
