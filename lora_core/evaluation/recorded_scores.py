"""The scores in the record of a run (run.json)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """The score on the validation split.

    Attributes:
        metric: Name of the score.
        best: The best of all epochs.
        best_epoch: Counted from 1.
        last: After the last epoch, by the weights that were saved.
        examples: How many it was measured on.
    """

    metric: str
    best: float
    best_epoch: int
    last: float
    examples: int


@dataclass(frozen=True)
class TestedScore:
    """The score on the test split.

    Attributes:
        metric: Name of the score.
        chosen: At the epoch that has the best score on the validation split.
        chosen_epoch: That epoch, counted from 1.
        last: After the last epoch, by the weights that were saved.
        last_metrics: Every metric of the task after the last epoch.
        examples: How many it was measured on.
    """

    metric: str
    chosen: float
    chosen_epoch: int
    last: float
    last_metrics: Mapping[str, float]
    examples: int
