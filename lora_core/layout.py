"""Every path below a results folder. No other module writes one out.

`Layout("results").run_record` is the pattern `results/runs/{method}/{task}/seed{seed}/run.json`, which Snakemake takes
as it is and Python fills with `.format(method=..., task=..., seed=...)`. `Layout.run_record` is the same pattern
relative to the results folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Below:
    """A path below the results folder, as a pattern with wildcards such as {task} and {seed}."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def __get__(self, layout: Layout | None, owner: type[Layout]) -> str:
        return self.pattern if layout is None else f"{layout.results}/{self.pattern}"


_RUN = "runs/{method}/{task}/seed{seed}"


@dataclass(frozen=True)
class Layout:
    """The paths of one results folder."""

    results: str

    study = _Below("study.json")
    model = _Below("models/{model}")
    model_record = _Below("models/{model}.json")
    data = _Below("data/{task}")
    train_data = _Below("data/{task}/train.safetensors")
    validation_data = _Below("data/{task}/validation.safetensors")
    data_card = _Below("data/{task}/card.json")
    data_sources = _Below("data/{task}/sources.json")

    counts = _Below("counts.json")
    memory_scaling = _Below("scaling.json")

    run = _Below(_RUN)
    run_record = _Below(f"{_RUN}/run.json")
    history = _Below(f"{_RUN}/history.csv")
    power = _Below(f"{_RUN}/power.csv")
    predictions = _Below(f"{_RUN}/predictions.safetensors")
    weights = _Below(f"{_RUN}/weights")
    model_card = _Below(f"{_RUN}/README.md")
    progress = _Below(f"{_RUN}/progress.json")
    checkpoint = _Below("checkpoints/{method}-{task}-seed{seed}")
    merged = _Below("merged/{method}/{task}/seed{seed}")
    merged_record = _Below("merged/{method}/{task}/seed{seed}.json")

    latency = _Below("latency/{task}/seed{seed}.csv")
    latency_record = _Below("latency/{task}/seed{seed}.json")
    scores = _Below("scores/{task}.csv")
    differences = _Below("scores/{task}_differences.csv")
    costs = _Below("energy/{task}.csv")
    curve = _Below("energy/{task}_curve.csv")

    runs = _Below("runs.csv")
    table = _Below("tables/{table}")  # with .md, .csv, .tex, .json
    figure = _Below("figures/{figure}")  # with .svg, .csv
    claims = _Below("claims")  # with .md, .csv
    report = _Below("report.html")

    logs = _Below("logs")
    train_log = _Below("logs/train/{method}/{task}/seed{seed}.log")


@dataclass(frozen=True)
class RunFiles:
    """The records of one finished run."""

    record: Path
    history: Path
    power: Path
    predictions: Path

    @classmethod
    def of_each_run(
        cls, record: Iterable[str], history: Iterable[str], power: Iterable[str], predictions: Iterable[str]
    ) -> list[RunFiles]:
        """Return the files of several runs, from a list of each kind of file in the same order of runs."""
        return [cls(*map(Path, files)) for files in zip(record, history, power, predictions, strict=True)]
