"""What a function that draws a table or figure receives: files by the name of their record, and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_core.evaluation.references import References

# Files by the name of their record (`lora_core.reporting.catalogue.RECORDS`).
Inputs = Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class Setting:
    """A resolved hyperparameter or method setting, and where in the configuration it comes from."""

    value: Any
    source: str


@dataclass(frozen=True)
class SweptMethod:
    """One combination of a sweep: the entry that is swept, and the values of this combination by their keys."""

    entry: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class DrawSettings:
    """What tables and figures need from the configuration; an entry of the catalogue names what it reads.

    `narrow` is no setting: a figure is drawn twice, for a wide column and for a phone.

    `latency_margin` is the margin of the equivalence test (0.03: 3 %), `precision` that of training (empty: unknown).
    `comparable` is whether published figures may be shown on an axis with those of the study.
    `labels` are those of all methods, in the order of the study; `methods` are the entries that a table shows.
    `hyperparameters` are by method, task and name; `swept` are by method.
    """

    references: References = field(default_factory=References)
    labels: Mapping[str, str] = field(default_factory=dict)
    comparable: bool = False
    latency_margin: float = 0.0
    precision: str = ""
    methods: tuple[str, ...] = ()
    hyperparameters: Mapping[str, Mapping[str, Mapping[str, Setting]]] = field(default_factory=dict)
    swept: Mapping[str, SweptMethod] = field(default_factory=dict)
    narrow: bool = False

    def label(self, method: str) -> str:
        """Return what pages call a method; its name if the study has no such method."""
        return self.labels.get(method, method)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> DrawSettings:
        """Read the plain values that a rule passes: what an entry does not need may be missing."""
        return cls(
            references=References(**params.get("references", {})),
            labels=params.get("labels", {}),
            comparable=params.get("comparable", False),
            latency_margin=params.get("latency_margin", 0.0),
            precision=params.get("precision", ""),
            methods=tuple(params.get("methods", ())),
            hyperparameters={
                method: {
                    task: {name: Setting(**setting) for name, setting in settings.items()}
                    for task, settings in tasks.items()
                }
                for method, tasks in params.get("hyperparameters", {}).items()
            },
            swept={method: SweptMethod(**one) for method, one in params.get("swept", {}).items()},
        )


def input_files(files: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Files by record as paths, from names as a rule passes them: a single name, or several."""
    return {
        record: [Path(names)] if isinstance(names, str | Path) else [Path(name) for name in names]
        for record, names in files.items()
    }
