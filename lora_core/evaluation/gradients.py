"""Which trained parameters get a gradient (gradients/{method}.json): the record's fields, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lora_core.layout import Layout, place, wildcards
from lora_core.records import read_json
from lora_core.sealed import unseal
from lora_core.typed_records import fill, name_damaged_file


@dataclass(frozen=True)
class Gradients:
    """What a method trains of a study's model without any effect.

    Attributes:
        outputs: The outputs of the heads that were tried, one for each shape of task; none if nobody tried.
        without: The tensors that are trained but got no gradient, or one of exactly 0, with one of these heads, and how
            many parameters each has.
        read_instead: Names of modules that the model reads in their place where it computes an answer, such as
            Longformer's query_global; they are not trained.
    """

    outputs: tuple[int, ...]
    without: Mapping[str, int]
    read_instead: tuple[str, ...] = ()


def read_gradients(path: Path) -> tuple[str, Gradients]:
    """Read a record; return the method's name with it. Raise ValueError that names the file if it is damaged."""
    with name_damaged_file(path):
        content = unseal(read_json(path), path, place=place(Layout.gradients, path), always_sealed=True)
        gradients = fill(
            Gradients,
            content,
            outputs=tuple(content["outputs"]),
            without={str(name): int(count) for name, count in content["without"].items()},
            read_instead=tuple(content["read_instead"]),
        )
        return wildcards(Layout.gradients, path)["method"], gradients
