"""What tables and figures call the combinations of a sweep."""

from collections.abc import Mapping
from typing import Any

from lora_core.reporting.inputs import SweptMethod
from lora_core.reporting.table import number_text


def sweep_labels(swept: Mapping[str, SweptMethod]) -> dict[str, str]:
    """Return `{method: label}`; the entry's name is part of the label if several entries are swept."""
    several = len({combination.entry for combination in swept.values()}) > 1
    return {
        method: (f"{combination.entry}: " if several else "") + sweep_label(combination.values)
        for method, combination in swept.items()
    }


def sweep_label(values: Mapping[str, Any]) -> str:
    """Return a combination of values as text: `{"config.r": 8, "alpha": 8}` is "r 8, alpha 8"."""
    return ", ".join(f"{key.rpartition('.')[2].replace('_', ' ')} {number_text(v)}" for key, v in values.items())
