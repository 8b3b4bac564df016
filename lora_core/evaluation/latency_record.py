"""The record about the timed passes of a task (latency/{task}/seed{seed}.json) as typed fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_core.provenance import ABSENT, Provenance
from lora_core.records import check_digests, read_latency_record
from lora_core.typed_records import fill, name_damaged_file

# A predicted score has changed if it moved by more than this.
SCORE_CHANGE = 0.01


@dataclass(frozen=True)
class InputTokens:
    """The longest input of a method in tokens (None: no limit), and how many validation examples it truncates."""

    longest: int | None
    truncated: int


@dataclass(frozen=True)
class MergeProof:
    """How the merged model's logits and predictions differ from the unmerged one's.

    Attributes:
        largest_logit: Of the unmerged model.
        merged_minus_unmerged: The largest difference of a logit.
        merged_minus_base: The same to the base model under the same head, which shows that the adapter does something.
        predictions: How many predictions were compared; None in older records, as the next.
        changed_predictions: Predictions that differ: another class, or a score that moved by more than `SCORE_CHANGE`.
        scores: Whether the predictions are scores; None in older records.
    """

    largest_logit: float
    merged_minus_unmerged: float
    merged_minus_base: float
    predictions: int | None
    changed_predictions: int | None
    scores: bool | None


@dataclass(frozen=True)
class Switching:
    """The seconds of every round in which one task's adapter was exchanged for another's in memory, by method.

    Attributes:
        full_model_seconds: Loading a full model from disk, in the same rounds.
        attach_seconds: Reading an adapter and putting it in the place of another one.
        merge_seconds: Reading an adapter and folding it into the weights; not of a method that cannot merge, nor where
            only PEFT can.
    """

    full_model_seconds: Sequence[float]
    attach_seconds: Mapping[str, Sequence[float]]
    merge_seconds: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class LatencyRecord:
    """What tables need to know about timed passes; `input_tokens` and `merge` are by method.

    `precision` is that of the timed passes, as in the configuration.
    `suspended_seconds` is for how long the process did not run while passes were timed. `switching` is None in older
    records, and where there is no adapter or no full model.
    """

    input_tokens: Mapping[str, InputTokens]
    provenance: Provenance
    precision: str
    suspended_seconds: float
    merge: Mapping[str, MergeProof]
    switching: Switching | None = None

    @classmethod
    def read(cls, path: Path, passes: Path | None = None) -> LatencyRecord:
        """Read a record. Raise ValueError that names the file if it or the file of the passes is damaged or edited."""
        with name_damaged_file(path):
            content = read_latency_record(path)
            check_digests(content, path, {} if passes is None else {passes.name: passes})
            return cls(
                {method: fill(InputTokens, tokens) for method, tokens in content["input_tokens"].items()},
                fill(Provenance, ABSENT | content["provenance"]),
                content["precision"],
                float(content["suspended_seconds"]),
                {method: fill(MergeProof, proof) for method, proof in content["merge"].items()},
                None if content.get("switching") is None else fill(Switching, content["switching"]),
            )
