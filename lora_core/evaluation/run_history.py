"""A finished run, epoch by epoch, with its power samples."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from lora_core.csv_cells import read_frame
from lora_core.evaluation.run_checks import check_costs, check_memory
from lora_core.evaluation.run_record import RunRecord
from lora_core.layout import HISTORY, POWER
from lora_core.measuring import power_trace as trace
from lora_core.measuring.idle_power import IdlePower
from lora_core.measuring.limits import DeviceLimits
from lora_core.measuring.sampling import sampling
from lora_core.records import PowerRow, read_rows


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
        """The source of the run's energy, for any part of it; None if what was read cannot be true."""
        return trace.energy_source(self.power, self.limits, self.record.energy.counter_tick_seconds)

    @property
    def counter_tick_seconds(self) -> float | None:
        """How often its energy counter advances; None if that is not known, or if its energy is from elsewhere."""
        return self.record.energy.counter_tick_seconds if self.energy_source == "counter" else None

    @cached_property
    def idle(self) -> IdlePower:
        """The idle power: that of the baseline that the run used, in older records that of its own samples."""
        if self.record.energy.idle_measured is not None:
            return self.record.energy.idle
        return trace.idle_power(self.power, self.limits, self.counter_tick_seconds)

    @property
    def idle_watts(self) -> float | None:
        """The idle power that is subtracted."""
        return self.idle.net_watts

    @cached_property
    def evaluation_watts(self) -> float | None:
        """The mean power of all evaluations together, which lie between the training windows."""
        return trace.phase_watts(self.power, "eval", self.limits, self.counter_tick_seconds)

    @property
    def best(self) -> float:
        """The best score of all epochs."""
        return float(self.history["score"].max())


def read_history(record_path: Path, history: Path, power: Path) -> RunHistory:
    """Read a run's record, history and power samples.

    Raise ValueError if one is damaged, if the samples do not have one training window per epoch, or if both give other
    times, energies or scores than the record says.
    """
    record = RunRecord.read(record_path, {HISTORY: history, POWER: power})
    run = RunHistory(record, read_frame(history), read_rows(power, PowerRow))
    if len(run.windows) != len(run.history):
        raise ValueError(
            f"{power} has {len(run.windows)} training windows, but {history} has {len(run.history)} epochs; delete the "
            f"folder {record_path.parent} and run again"
        )
    check_costs(record, record_path, run.history, run.power)
    check_memory(record, record_path, run.power)
    return run
