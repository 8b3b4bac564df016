"""What tables, figures and pages call the methods of a study, and how they write a setting's value."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from lora_core.decimals import plain

if TYPE_CHECKING:
    from lora_core.config.study import Study


def method_labels(study: "Study") -> dict[str, str]:
    """Return `{method: label}` in the order of the study's methods: the entry's own label, else that of its kind.

    The values of a sweep's combination are part of its label; a default label that several methods share is followed by
    the name of the entry.
    """
    labels = {}
    for method in study.methods:
        entry = study.entry(method)
        label = entry.label or study.settings(method).default_label()
        labels[method] = ", ".join([label, *([sweep_label(entry.swept.values)] if entry.swept else [])])
    return distinct_labels(labels, {method for method in labels if not study.entry(method).label})


def distinct_labels(labels: Mapping[str, str], changeable: Collection[str] | None = None) -> dict[str, str]:
    """Return `{method: label}` in which a label that several methods share is followed by the method's name.

    Of methods that are not `changeable` (by default all are) the label stays.
    """
    counts = Counter(labels.values())
    shared = {m for m, label in labels.items() if counts[label] > 1 and (changeable is None or m in changeable)}
    return {method: f"{label}, {method}" if method in shared else label for method, label in labels.items()}


def sweep_label(values: Mapping[str, Any]) -> str:
    """Return a combination of values as text: `{"config.r": 8, "alpha": 8}` is "r 8, alpha 8"."""
    return ", ".join(f"{key.rpartition('.')[2].replace('_', ' ')} {setting_text(v)}" for key, v in values.items())


def setting_text(value: Any) -> str:
    """Return a setting as a person would write it."""
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(setting_text, value))
    if isinstance(value, float):
        return plain(value)
    return str(value)
