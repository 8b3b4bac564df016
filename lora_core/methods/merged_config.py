"""The config.json of a merged model: the base model's, with the class and the head that were trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lora_core.methods.adapter_files import PREFIX, load_tensors
from lora_core.models.model import head_config, model_shapes
from lora_core.records import JsonObject, read_json, read_run_record
from lora_core.typed_records import name_damaged_file

# The fields that describe a model's head.
HEAD = ("id2label", "label2id", "problem_type")


def merged_config(base: Path, weights: Path, record: Path | None) -> JsonObject:
    """The base model's configuration with the class and the head that were trained.

    They are in the run's record. An adapter from elsewhere may have a config.json that describes the head, as older
    runs have; without one, the adapter's tensors say how many outputs there are.
    """
    architecture: str | None = None
    if record is not None:
        with name_damaged_file(record):
            run = read_run_record(record)["run"]
            head, architecture = _head(run["data"]["labels"]), run.get("architecture")
    elif (weights / "config.json").exists():
        with name_damaged_file(weights / "config.json"):
            described = read_json(weights / "config.json")
            head = {name: described[name] for name in HEAD if name in described}
    else:
        outputs = _count_outputs(base, weights)
        head = _head([f"LABEL_{i}" for i in range(outputs)] if outputs > 1 else [])
    architecture = architecture or type(model_shapes(base, 2)).__name__  # which older records do not say
    config = read_json(base / "config.json") | head | {"architectures": [architecture]}
    return dict(sorted(config.items()))


def _head(labels: Sequence[str]) -> JsonObject:
    """The fields of a configuration about a head for these labels, in transformers' form; none: regression."""
    names = labels or ["LABEL_0"]
    return {
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
        "problem_type": head_config(labels)["problem_type"],
    }


def _count_outputs(base: Path, weights: Path) -> int:
    """The rows of the adapter's head: of the tensor whose shape depends on the number of labels."""
    two, three = (dict(model_shapes(base, outputs).named_parameters()) for outputs in (2, 3))
    of_labels = {name for name, p in two.items() if p.shape != three[name].shape}
    for name, tensor in load_tensors(weights, "numpy").items():
        if name.removeprefix(PREFIX) in of_labels:
            return len(tensor)
    raise ValueError(f"the adapter in {weights} has no head, and no config.json that says what its outputs are")
