"""What the model card of a published run says of its files: what they are, and how to load them from the hub."""

from __future__ import annotations

import json

from lora_core.evaluation.run_record import RunRecord

LOCAL_BASE = (
    "The base model, {name}, was a local folder and has no name on the hub, so only those who have that folder can use "
    "the adapter."
)


def published_contents(run: RunRecord, library: str | None, repository: str, base_model: str | None) -> str:
    """Return the paragraphs about the files of a repository.

    `library` is the package that loads them, None if only this project does; `base_model` is the base model's name on
    the hub, None if it has none.
    """
    if library == "transformers":
        loading = f'from transformers import pipeline\n\nclassify = pipeline("text-classification", "{repository}")'
        return f"A whole model, which the package `transformers` loads:\n\n```python\n{loading}\n```"
    base_note = "" if base_model else f" {LOCAL_BASE.format(name=run.model)}"
    if library is None:
        return f"What was trained of the model; `lora_core.methods.registry.load` loads it.{base_note}"
    labels = run.data.labels
    arguments = f"num_labels={run.data.outputs}"
    if labels:
        arguments += f", id2label={json.dumps(dict(enumerate(labels)), ensure_ascii=False)}"
    base = f'"{base_model}"' if base_model else "FOLDER_OF_THE_BASE_MODEL"
    loading = (
        "from peft import PeftModel\n"
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n"
        f"base = AutoModelForSequenceClassification.from_pretrained({base}, {arguments})\n"
        f'model = PeftModel.from_pretrained(base, "{repository}").eval()\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{repository}")'
    )
    return f"An adapter, which the package `peft` loads onto its base model:{base_note}\n\n```python\n{loading}\n```"
