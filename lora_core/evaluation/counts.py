"""The counts of parameters (counts.json): their types, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lora_core.records import read_json
from lora_core.sealed import unseal
from lora_core.typed_records import fill, name_damaged_file

OLDER_COUNTS = {"saved_bytes": None}  # what older records lack


@dataclass(frozen=True)
class MethodCounts:
    """The parameters of a model with one method.

    Attributes:
        trainable: Those that are trained, without the head, which every method trains, unless the method trains the
            whole model: then with the head, as the paper counts (Table 1).
        head: Those of the head.
        total: Those of the whole model, with what the method adds.
        saved_bytes: Of the tensors that a run saves: an adapter with its head, or all weights; None in older records.
    """

    trainable: int
    head: int
    total: int
    saved_bytes: int | None = None


@dataclass(frozen=True)
class ParameterCounts:
    """The parameters of a study's model with a head of `outputs`: of the `full` model, and with each method.

    `full_bytes` are those of the tensors of the whole model on disk; None in older records.
    """

    outputs: int
    full: int
    methods: Mapping[str, MethodCounts]
    full_bytes: int | None = None


def read_counts(path: Path) -> ParameterCounts:
    """Read counts.json. Raise ValueError that names the file if it is damaged."""
    with name_damaged_file(path):
        content = unseal(read_json(path), path)
        methods = {method: fill(MethodCounts, OLDER_COUNTS | counts) for method, counts in content["methods"].items()}
        return fill(ParameterCounts, {"full_bytes": None} | content, methods=methods)
