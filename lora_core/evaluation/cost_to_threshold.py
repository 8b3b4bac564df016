"""What equal accuracy costs: one threshold per task, and what each run spends up to the first epoch that reaches it.

Cutting the recorded history gives exactly what early stopping would have cost (Section 4.1) without a second training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from lora_core.evaluation.disturbance import is_disturbed
from lora_core.evaluation.references import References
from lora_core.evaluation.run_history import RunHistory
from lora_core.layout import Layout, place
from lora_core.measuring import power_trace as trace
from lora_core.sealed_csv import write_sealed_csv
from lora_core.stats import MEANINGFUL, TIE

MARGIN = 0.005  # min(LoRA, FFT) - 0.005 (Section 4.1)


@dataclass(frozen=True)
class Threshold:
    """A score to reach, or None and the reason why there is none."""

    score: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Cost:
    """Cost up to the first epoch that reaches a threshold; all None if no epoch does, and energy if not measured."""

    epochs: int | None = None
    train_seconds: float | None = None
    train_energy_joules: float | None = None
    train_net_energy_joules: float | None = None
    uncertainty_joules: float | None = None  # of both energies
    is_too_short: bool = False  # for the meter to tell its energy


@dataclass(frozen=True)
class CostRow:
    """One run (energy/{task}.csv): its whole cost, and its cost up to the task's and to its seed's threshold.

    A run that never reaches the threshold has `reached` False and no cost: it is censored, and its full length is
    only a lower bound of the cost.
    """

    method: str
    seed: int
    device: str
    start_from: str | None
    planned_epochs: int
    best_score: float
    threshold: float | None
    threshold_reason: str | None
    threshold_meaningful: bool | None
    reached: bool | None
    epochs_to_threshold: int | None
    seconds_to_threshold: float | None
    energy_to_threshold_joules: float | None
    net_energy_to_threshold_joules: float | None
    idle_net_of: str | None  # whose power is subtracted from it: "idle" or "idle_context", None if that is not known
    energy_uncertainty_joules: float | None  # of both, because the energy counter advances in ticks
    too_short_for_meter: bool | None  # up to the threshold
    seed_threshold: float | None
    epochs_to_seed_threshold: int | None
    seconds_to_seed_threshold: float | None
    energy_to_seed_threshold_joules: float | None
    train_seconds: float
    median_epoch_seconds: float
    train_energy_joules: float | None
    preparation_seconds: float | None
    preparation_energy_joules: float | None
    energy_source: str | None
    energy_boundary: str | None
    meter: str
    meter_reason: str | None
    simulated: bool
    shared: bool | None
    disturbed: bool | None  # `is_disturbed`, or suspended
    suspended_seconds: float
    eval_suspended_seconds: float


def threshold(runs: Sequence[RunHistory], references: References) -> Threshold:
    """Return min(mean best score of full fine-tuning, of LoRA, over seeds) - 0.005, the score of equal accuracy.

    There is none without runs of both `references.full` and `references.adapter`.
    """
    if reason := references.missing("full", "adapter"):
        return Threshold(None, reason)
    means = []
    for method in (references.full, references.adapter):
        scores = [run.best for run in runs if run.record.method == method]
        if not scores:
            return Threshold(None, f"there is no run of {method!r}")
        means.append(sum(scores) / len(scores))
    return Threshold(min(means) - MARGIN)


def cost_to_reach(run: RunHistory, score: float | None) -> Cost:
    """Return epochs, seconds and joules up to the first epoch whose score reaches `score`."""
    reached = run.history.index[run.history["score"] >= (float("inf") if score is None else score - TIE)]
    if reached.empty:
        return Cost()
    epochs = int(reached[0]) + 1
    seconds = float(run.history["train_seconds"].iloc[:epochs].sum())
    joules, windows, tick = energy_joules(run, epochs), run.windows[:epochs], run.counter_tick_seconds
    return Cost(
        epochs,
        seconds,
        joules,
        trace.net_joules(joules, run.idle, seconds),
        trace.uncertainty_joules(windows, joules, tick, run.evaluation_watts),
        run.energy_source is not None and trace.is_too_short(windows, run.energy_source, tick),
    )


def energy_joules(run: RunHistory, epochs: int) -> float | None:
    """Return the energy of the first epochs' training windows, read from the same source as that of the whole run."""
    return trace.energy_joules(run.windows[:epochs], run.energy_source, run.limits, run.counter_tick_seconds)


def cost_rows(runs: Sequence[RunHistory], references: References) -> list[CostRow]:
    """Return one row per run of one task."""
    task_threshold = threshold(runs, references)
    return [
        _cost_row(
            run,
            task_threshold,
            threshold(_same_seed(runs, run), references),
            disturbed=run.suspended_seconds > 0
            or is_disturbed(run.history, run.record.provenance.device == "cpu", _same_work(runs, run)),
        )
        for run in runs
    ]


def _same_seed(runs: Sequence[RunHistory], run: RunHistory) -> list[RunHistory]:
    return [other for other in runs if other.record.seed == run.record.seed]


def _same_work(runs: Sequence[RunHistory], run: RunHistory) -> list[pd.DataFrame]:
    """The histories of all seeds of a run's method on its device."""
    method, device = run.record.method, run.record.device
    return [other.history for other in runs if (other.record.method, other.record.device) == (method, device)]


def _cost_row(run: RunHistory, task_threshold: Threshold, seed_threshold: Threshold, disturbed: bool | None) -> CostRow:
    record, score = run.record, task_threshold.score
    meaningful_from = record.data.validation.baseline_score + MEANINGFUL
    cost, seed_cost = cost_to_reach(run, score), cost_to_reach(run, seed_threshold.score)
    return CostRow(
        method=record.method,
        seed=record.seed,
        device=record.device,
        start_from=record.start_from,
        planned_epochs=len(run.history),
        best_score=run.best,
        threshold=score,
        threshold_reason=task_threshold.reason,
        threshold_meaningful=None if score is None else score >= meaningful_from - TIE,
        reached=None if score is None else cost.epochs is not None,
        epochs_to_threshold=cost.epochs,
        seconds_to_threshold=cost.train_seconds,
        energy_to_threshold_joules=cost.train_energy_joules,
        net_energy_to_threshold_joules=cost.train_net_energy_joules,
        idle_net_of=None if run.idle_watts is None else run.idle.net_of,
        energy_uncertainty_joules=cost.uncertainty_joules,
        too_short_for_meter=None if cost.epochs is None else cost.is_too_short,
        seed_threshold=seed_threshold.score,
        epochs_to_seed_threshold=seed_cost.epochs,
        seconds_to_seed_threshold=seed_cost.train_seconds,
        energy_to_seed_threshold_joules=seed_cost.train_energy_joules,
        train_seconds=record.train_seconds,
        median_epoch_seconds=float(run.history["train_seconds"].median()),
        train_energy_joules=energy_joules(run, len(run.history)),
        preparation_seconds=record.preparation.seconds,
        preparation_energy_joules=record.preparation.energy_joules,
        energy_source=record.energy.source,
        energy_boundary=record.energy.boundary,
        meter=record.energy.meter,
        meter_reason=record.energy.reason,
        simulated=record.energy.simulated,
        shared=record.provenance.shared,
        disturbed=disturbed,
        suspended_seconds=run.suspended_seconds,
        eval_suspended_seconds=run.eval_suspended_seconds,
    )


def curve_rows(runs: Sequence[RunHistory]) -> pd.DataFrame:
    """Return one row per epoch of every run: score against the time and energy spent so far."""
    parts = [
        pd.DataFrame(
            {
                "method": run.record.method,
                "seed": run.record.seed,
                "epoch": run.history["epoch"],
                "score": run.history["score"],
                "cumulative_train_seconds": run.history["train_seconds"].cumsum(),
                "cumulative_train_energy_joules": run.history["epoch"].map(partial(energy_joules, run)).astype(float),
            }
        )
        for run in runs
    ]
    return pd.concat(parts, ignore_index=True)


def write_costs(runs: Sequence[RunHistory], references: References, costs: Path, curve: Path) -> None:
    """Write one task's cost at equal accuracy, and score against cost epoch by epoch."""
    frames = {costs: pd.DataFrame(cost_rows(runs, references)), curve: curve_rows(runs)}
    places = {costs: place(Layout.costs, costs), curve: place(Layout.curve, curve)}
    for path, frame in frames.items():
        write_sealed_csv(path, frame, places[path])
