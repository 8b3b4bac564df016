"""Whether a run's record says what its files say: scores from predictions, times and energies from history and power.

A digest shows that a file was changed after the run; this shows that the figures follow from the files at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_core.data.metrics import METRICS
from lora_core.measuring import conditions
from lora_core.measuring import power_trace as trace
from lora_core.measuring.limits import DeviceLimits

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from lora_core.evaluation.run_record import RunRecord
    from lora_core.records import PowerRow

ROUNDING = 1e-6  # a correlation of float32 values differs by 1e-7 from one processor to another

Figures = Iterable[tuple[str, float | None, float | None]]  # name, as recorded, as computed again


def check_scores(record: RunRecord, path: Path, logits: np.ndarray, labels: np.ndarray) -> None:
    """Compute the scores of every epoch from logits (epochs, examples, outputs) and labels (examples,).

    Raise ValueError that names `path`, the file of the record, and the first score that is another.
    """
    score = METRICS[record.score.metric].function
    epochs = [score(labels, epoch) for epoch in logits]
    best = record.score.best_epoch
    chosen = epochs[best - 1] if 0 < best <= len(epochs) else None
    recorded = record.score
    _compare(
        path,
        [
            ("score.best", recorded.best, max(epochs)),
            (f"score.best_epoch {best}", recorded.best, chosen),
            ("score.last", recorded.last, epochs[-1]),
            ("score.examples", recorded.examples, len(labels)),
        ],
    )


def check_test(record: RunRecord, path: Path, logits: np.ndarray | None, labels: np.ndarray | None) -> None:
    """Compute the scores on the test split from logits (2, examples, outputs) and labels (examples,); None without one.

    Raise ValueError that names `path`, the file of the record, and the first score that is another.
    """
    if record.test is None and record.data.test is None and logits is None:
        return
    if record.test is None or record.data.test is None or logits is None or labels is None:
        raise ValueError(
            f"{path}, its card and its predictions do not agree on whether there is a test split; delete the folder "
            f"{path.parent} and run again"
        )
    test = record.test
    scores = {name: [METRICS[name].function(labels, epoch) for epoch in logits] for name in record.data.metrics}
    chosen, last = scores[record.score.metric]
    last_metrics = [
        (f"test.last_metrics.{name}", test.last_metrics.get(name), values[1]) for name, values in scores.items()
    ]
    _compare(
        path,
        [
            ("test.chosen", test.chosen, chosen),
            ("test.chosen_epoch", test.chosen_epoch, record.score.best_epoch),
            ("test.last", test.last, last),
            *last_metrics,
            ("test.examples", test.examples, len(labels)),
        ],
    )


def check_costs(record: RunRecord, path: Path, history: pd.DataFrame, power: Sequence[PowerRow]) -> None:
    """Compute the run's times and energy from its history and power samples, and its scores from the history.

    Raise ValueError that names `path`, the file of the record, and the first figure that is another.
    """
    train = trace.windows(power, "train")
    seconds = {name: [float(value) for value in history[f"{name}_seconds"]] for name in ("train", "eval")}
    scores = [float(value) for value in history["score"]]
    _compare(
        path,
        [
            ("train_seconds", record.train_seconds, sum(seconds["train"])),
            ("eval_seconds", record.eval_seconds, sum(seconds["eval"])),
            *(
                (f"the seconds of epoch {epoch}", in_history, trace.seconds(window))
                for epoch, (in_history, window) in enumerate(zip(seconds["train"], train, strict=True), 1)
            ),
            *_energies(record, power),
            ("score.best", record.score.best, max(scores)),
            ("score.last", record.score.last, scores[-1]),
        ],
    )


def _energies(record: RunRecord, power: Sequence[PowerRow]) -> Figures:
    """The energies of a run, and the time of its preparation."""
    recorded, tick = record.energy, record.energy.counter_tick_seconds
    limits = DeviceLimits.of(recorded.power_limit_watts)
    source = trace.energy_source(power, limits, tick)
    train, preparation = trace.windows(power, "train"), trace.windows(power, "preparation")
    joules = trace.energy_joules(train, source, limits, tick)
    evaluation_watts = trace.phase_watts(power, "eval", limits, tick)
    uncertainty = trace.uncertainty_joules(train, joules, tick if source == "counter" else None, evaluation_watts)
    yield "energy.train_joules", recorded.train_joules, joules
    yield "energy.uncertainty_joules", recorded.uncertainty_joules, uncertainty
    if record.preparation.seconds is not None:  # older records have none
        prepared = trace.energy_joules(preparation, source, limits, tick)
        yield "preparation.seconds", record.preparation.seconds, sum(map(trace.seconds, preparation))
        yield "preparation.energy_joules", record.preparation.energy_joules, prepared


def check_memory(record: RunRecord, path: Path, power: Sequence[PowerRow]) -> None:
    """Compute the memory that the meter read. Raise ValueError that names `path` and the first figure that differs."""
    measured: Mapping[str, Any] = conditions.memory(power)
    _compare(path, [(f"memory.{name}", getattr(record.memory, name), value) for name, value in measured.items()])


def _compare(path: Path, figures: Figures) -> None:
    for name, recorded, computed in figures:
        same = (
            recorded is computed is None
            if None in (recorded, computed)
            else math.isclose(recorded, computed, rel_tol=ROUNDING, abs_tol=ROUNDING)  # type: ignore[arg-type]
        )
        if not same:
            raise ValueError(
                f"{path} says {name} = {recorded}, but its files give {computed}; delete the folder {path.parent} "
                "and run again"
            )
