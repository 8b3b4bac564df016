"""The entries of a study that thresholds, claims and figures compare with; no entry's name has a meaning in code."""

from dataclasses import dataclass


@dataclass(frozen=True)
class References:
    """Names of entries in `methods`; None where the study has no such entry, and what depends on it cannot be said.

    `full` is full fine-tuning and `adapter` the LoRA under test, which together define the threshold of equal accuracy
    (Section 4.1). `library` is the reference implementation that the LoRA under test is checked against.
    """

    full: str | None = None
    adapter: str | None = None
    library: str | None = None
