"""The entries of a study that thresholds, claims and figures compare with; no entry's name has a meaning in code."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

# What the paper calls each role.
NAMES = {"full": "full fine-tuning", "adapter": "LoRA", "library": "loralib"}


@dataclass(frozen=True)
class References:
    """Names of entries in `methods`, or None if the study has no such entry.

    Attributes:
        full: Full fine-tuning. Together with `adapter` it defines the threshold of equal accuracy (Section 4.1).
        adapter: The LoRA under test.
        library: The reference implementation that the LoRA under test is checked against.
    """

    full: str | None = None
    adapter: str | None = None
    library: str | None = None

    def missing(self, *roles: str) -> str | None:
        """Say which of the roles ("full", "adapter", "library") the study has no method for; None if it has all."""
        absent = [NAMES[role] for role in roles if getattr(self, role) is None]
        return f"this study has no method that stands for {' or '.join(absent)}" if absent else None

    def names(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Return what a sentence calls each role: the method's label, or what the paper calls it."""
        names = NAMES | {role: labels[method] for role, method in vars(self).items() if method in labels}
        # An ordinary word is not capitalized inside a sentence.
        return names | {"full": re.sub(r"^[A-Z](?=[a-z]+\b)", lambda match: match[0].lower(), names["full"])}
