"""The record about the timed passes of a task (latency/{task}/seed{seed}.json) as typed fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lora_core.provenance import Provenance
from lora_core.records import read_json
from lora_core.typed_records import fill, name_damaged_file


@dataclass(frozen=True)
class InputTokens:
    """The longest input of a method in tokens (None: no limit), and how many validation examples it truncates."""

    longest: int | None
    truncated: int


@dataclass(frozen=True)
class LatencyRecord:
    """What tables need to know about timed passes; `input_tokens` are by method.

    `precision` is that of the timed passes, as in the configuration; older records name none and are all "fp32".
    """

    input_tokens: Mapping[str, InputTokens]
    provenance: Provenance
    precision: str = "fp32"

    @classmethod
    def read(cls, path: Path) -> LatencyRecord:
        """Read a record. Raise ValueError that names the file if it is damaged."""
        with name_damaged_file(path):
            content = read_json(path)
            return cls(
                {method: fill(InputTokens, tokens) for method, tokens in content["input_tokens"].items()},
                fill(Provenance, content["provenance"]),
                content.get("precision", cls.precision),
            )
