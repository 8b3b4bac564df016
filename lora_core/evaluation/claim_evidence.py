"""What claims are judged from: a study's records, read into data frames."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lora_core.evaluation.counts import ParameterCounts, read_counts
from lora_core.evaluation.frames import LatencyRun, read_costs, read_differences, read_latency_runs, read_memory
from lora_core.evaluation.references import References
from lora_core.evaluation.regime_record import Regimes, read_regimes
from lora_core.evaluation.run_record import RunRecord


@dataclass(frozen=True)
class ClaimRecords:
    """The files that the claims are judged from; `latency_records` are in the order of `latency`.

    `measured_regimes` is regimes.json, or nothing in a study that has none.
    """

    counts: Path
    differences: Sequence[Path]
    latency: Sequence[Path]
    latency_records: Sequence[Path]
    runs: Sequence[Path]
    costs: Sequence[Path]
    measured_regimes: Sequence[Path] = ()


@dataclass(frozen=True)
class Evidence:
    """A study's records, as the judges read them.

    Attributes:
        counts: Of the parameters that each method trains.
        differences: One row per pair of methods, quantity and task.
        latency: The timed passes per task and seed.
        latency_margin: Times are equivalent within this share.
        memory: One row per run; without figures unless they are those of a real GPU.
        costs: One row per run; energy and power are missing if a simulated driver reported them.
        tokens_per_example: Of the training split, by task.
        simulated: Whether any run's meter was simulated.
        scores: The score of each run, one row per run: of the best epoch, on the test split if there is one.
        labels: What people call the methods, by their names.
        regimes: The measurement of single training steps; None if there is none.
    """

    references: References
    counts: ParameterCounts
    differences: pd.DataFrame
    latency: Sequence[LatencyRun]
    latency_margin: float
    memory: pd.DataFrame
    costs: pd.DataFrame
    tokens_per_example: Mapping[str, float]
    simulated: bool
    scores: pd.DataFrame = field(default_factory=pd.DataFrame)
    labels: Mapping[str, str] = field(default_factory=dict)
    regimes: Regimes | None = None

    def label(self, method: str) -> str:
        """Return what people call a method."""
        return self.labels.get(method, method)

    @property
    def judged_differences(self) -> pd.DataFrame:
        """The differences that decide: of the best epoch, on the test split of each task that has one."""
        differences = self.differences
        tested = differences.loc[differences["quantity"] == "test", "task"]
        quantity = differences["task"].isin(tested).map({True: "test", False: "best"})
        return differences[differences["quantity"] == quantity]

    @property
    def tested_tasks(self) -> list[str]:
        """The tasks that have a test split."""
        tested = self.differences.loc[self.differences["quantity"] == "test", "task"]
        return list(map(str, tested.unique()))

    def lacks(self, tasks: Iterable[str]) -> bool:
        """Whether the study was made without one of these tasks."""
        return not set(tasks) <= set(self.costs["task"])

    @property
    def seeds(self) -> int:
        """How many seeds the study has."""
        return int(self.costs["seed"].nunique())


def read_evidence(
    records: ClaimRecords, references: References, latency_margin: float, labels: Mapping[str, str] | None = None
) -> Evidence:
    """Read the records. What a simulated power meter reported is no figure, nor is a CPU's memory."""
    memory, costs = read_memory(records.runs), read_costs(records.costs)
    simulated = memory["simulated"].any() or costs["simulated"].any()
    memory.loc[(memory["kind"] != "device") | memory["simulated"], "mean_mb"] = None
    costs.loc[costs["simulated"], ["energy", "power"]] = float("nan")
    runs = [RunRecord.read(path) for path in records.runs]
    scores = [
        {"method": r.method, "task": r.task, "seed": r.seed, "best": r.test.chosen if r.test else r.score.best}
        for r in runs
    ]
    cards = [run.data for run in runs]
    return Evidence(
        references=references,
        counts=read_counts(records.counts),
        differences=read_differences(records.differences),
        latency=read_latency_runs(records.latency, records.latency_records),
        latency_margin=latency_margin,
        memory=memory,
        costs=costs,
        tokens_per_example={card.task: card.train.tokens / card.train.examples for card in cards},
        simulated=bool(simulated),
        scores=pd.DataFrame(scores),
        labels=labels or {},
        regimes=_read_regimes(records.measured_regimes, references),
    )


def _read_regimes(files: Sequence[Path], references: References) -> Regimes | None:
    return read_regimes(files[0], references) if files and not references.missing("full", "adapter") else None
