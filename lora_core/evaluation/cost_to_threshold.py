"""What equal accuracy costs: one threshold per task, and what each run spends up to the first epoch that reaches it.

Cutting the recorded history gives exactly what early stopping would have cost (Section 4.1) without a second training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import pandas as pd

from lora_core.evaluation.disturbance import is_disturbed
from lora_core.evaluation.references import References
from lora_core.evaluation.run_checks import check_costs, check_memory
from lora_core.evaluation.run_record import RunRecord
from lora_core.layout import HISTORY, POWER
from lora_core.measuring import power_trace as trace
from lora_core.measuring.limits import DeviceLimits
from lora_core.measuring.sampling import sampling
from lora_core.records import PowerRow, read_rows
from lora_core.sealed_csv import write_sealed_csv
from lora_core.stats import MEANINGFUL, TIE

MARGIN = 0.005  # min(LoRA, FFT) - 0.005 (Section 4.1)


@dataclass(frozen=True)
class RunHistory:
    """A finished run with its history (one row per epoch) and its power samples."""

    record: RunRecord
    history: pd.DataFrame
    power: list[PowerRow]

    @cached_property
    def windows(self) -> list[list[PowerRow]]:
        """The training windows, one per epoch."""
        return trace.windows(self.power, "train")

    @cached_property
    def limits(self) -> DeviceLimits:
        """What its device can report."""
        return DeviceLimits.of(self.record.energy.power_limit_watts)

    @cached_property
    def suspended_seconds(self) -> float:
        """For how long the run was suspended while it trained."""
        return self._suspended("train")

    @cached_property
    def eval_suspended_seconds(self) -> float:
        """For how long the run was suspended while it was evaluated."""
        return self._suspended("eval")

    def _suspended(self, phase: str) -> float:
        """By the clock, and by the gaps between samples, which is all that older records have."""
        column = f"{phase}_suspended_seconds"
        by_clock = float(self.history[column].sum()) if column in self.history else 0.0
        by_gaps = sampling(trace.windows(self.power, phase), self.record.sample_seconds).suspended_seconds
        return max(by_clock, by_gaps)

    @cached_property
    def energy_source(self) -> str | None:
        """The source of the run's energy, for any part of it."""
        return trace.energy_source(self.power)

    @property
    def best(self) -> float:
        """The best score of all epochs."""
        return float(self.history["score"].max())


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
    seed_threshold: float | None
    epochs_to_seed_threshold: int | None
    seconds_to_seed_threshold: float | None
    energy_to_seed_threshold_joules: float | None
    train_seconds: float
    median_epoch_seconds: float
    train_energy_joules: float | None
    energy_source: str | None
    energy_boundary: str | None
    meter: str
    meter_reason: str | None
    simulated: bool
    shared: bool | None
    disturbed: bool | None  # `is_disturbed`, or suspended
    suspended_seconds: float
    eval_suspended_seconds: float


def read_history(record_path: Path, history: Path, power: Path) -> RunHistory:
    """Read a run's record, history and power samples.

    Raise ValueError if one is damaged, if the samples do not have one training window per epoch, or if both give other
    times, energies or scores than the record says.
    """
    record = RunRecord.read(record_path, {HISTORY: history, POWER: power})
    run = RunHistory(record, pd.read_csv(history, float_precision="round_trip"), read_rows(power, PowerRow))
    if len(run.windows) != len(run.history):
        raise ValueError(
            f"{power} has {len(run.windows)} training windows, but {history} has {len(run.history)} epochs; delete the "
            f"folder {record_path.parent} and run again"
        )
    check_costs(record, record_path, run.history, run.power)
    check_memory(record, record_path, run.power)
    return run


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
    joules = energy_joules(run, epochs)
    idle_watts = trace.idle_watts(run.power, run.limits)
    net_joules = None if joules is None or idle_watts is None else joules - idle_watts * seconds
    return Cost(epochs, seconds, joules, net_joules)


def energy_joules(run: RunHistory, epochs: int) -> float | None:
    """Return the energy of the first epochs' training windows, read from the same source as that of the whole run."""
    return trace.energy_joules(run.windows[:epochs], run.energy_source, run.limits)


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
        seed_threshold=seed_threshold.score,
        epochs_to_seed_threshold=seed_cost.epochs,
        seconds_to_seed_threshold=seed_cost.train_seconds,
        energy_to_seed_threshold_joules=seed_cost.train_energy_joules,
        train_seconds=record.train_seconds,
        median_epoch_seconds=float(run.history["train_seconds"].median()),
        train_energy_joules=energy_joules(run, len(run.history)),
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
    for path, frame in frames.items():
        write_sealed_csv(path, frame)
