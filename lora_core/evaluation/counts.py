"""The counts of parameters (counts.json): their types, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lora_core.records import read_json
from lora_core.sealed import unseal
from lora_core.typed_records import fill, name_damaged_file


@dataclass(frozen=True)
class MethodCounts:
    """The parameters of a model with one method.

    Attributes:
        trainable: Those that are trained, without the head, which every method trains, unless the method trains the
            whole model: then with the head, as the paper counts (Table 1).
        head: Those of the head.
        total: Those of the whole model, with what the method adds.
    """

    trainable: int
    head: int
    total: int


@dataclass(frozen=True)
class ParameterCounts:
    """The parameters of a study's model with a head of `outputs`: of the `full` model, and with each method."""

    outputs: int
    full: int
    methods: Mapping[str, MethodCounts]


def read_counts(path: Path) -> ParameterCounts:
    """Read counts.json. Raise ValueError that names the file if it is damaged."""
    with name_damaged_file(path):
        content = unseal(read_json(path), path)
        methods = {method: fill(MethodCounts, counts) for method, counts in content["methods"].items()}
        return fill(ParameterCounts, content, methods=methods)
