"""The record about the timed passes of a task (latency/{task}/seed{seed}.json) as typed fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lora_core.provenance import Provenance
from lora_core.records import check_digests, read_json
from lora_core.sealed import unseal
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
    `suspended_seconds` is for how long the process did not run while passes were timed.
    """

    input_tokens: Mapping[str, InputTokens]
    provenance: Provenance
    precision: str = "fp32"
    suspended_seconds: float = 0.0

    @classmethod
    def read(cls, path: Path, passes: Path | None = None) -> LatencyRecord:
        """Read a record. Raise ValueError that names the file if it or the file of the passes is damaged or edited."""
        with name_damaged_file(path):
            content = unseal(read_json(path), path)
            check_digests(content, path, {} if passes is None else {passes.name: passes})
            return cls(
                {method: fill(InputTokens, tokens) for method, tokens in content["input_tokens"].items()},
                fill(Provenance, {"code": None, "allocator": None} | content["provenance"]),
                content.get("precision", cls.precision),
                float(content.get("suspended_seconds", 0.0)),
            )
