"""How good each method is on a task, and how sure that is: best, last and cross-fitted scores, and their differences.

Choosing the best of many epochs on the split that is reported flatters a method, the more epochs the more; the
cross-fitted score chooses on one half of the validation set and scores on the other, both ways.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lora_core.data.metrics import METRICS
from lora_core.evaluation.bootstrap import paired_bootstrap
from lora_core.records import FULL, OWN, atomic_file, read_checked
from lora_core.stats import MIN_SEEDS, t_interval

QUANTITIES = ("best", "last", "cross_fitted")
DIFFERENCE_COLUMNS = [
    "method", "against", "quantity", "seeds", "difference", "low", "high", "detectable", "examples_low",
    "examples_high", "redrawn",
]  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A finished run: its record and its predictions (epochs, examples, outputs) with their labels (examples,)."""

    record: dict[str, Any]
    logits: np.ndarray
    labels: np.ndarray

    @property
    def method(self) -> str:
        return self.record["run"]["method"]

    @property
    def seed(self) -> int:
        return self.record["run"]["seed"]

    @property
    def score(self) -> dict[str, Any]:
        return self.record["measurement"]["score"]

    @property
    def best_logits(self) -> np.ndarray:
        return self.logits[self.score["best_epoch"] - 1]


def read_run(folder: Path) -> Run:
    from safetensors.numpy import load_file

    record = read_checked(folder / "run.json", "predictions.safetensors")
    stored = load_file(folder / "predictions.safetensors")
    return Run(record, stored["logits"], stored["labels"])


def cross_fitted(metric: str, logits: np.ndarray, labels: np.ndarray) -> float | None:
    """The mean of two scores, each on one half of the examples at the epoch that is best on the other half.

    None for fewer than four examples.
    """
    if len(labels) < 4:
        return None
    rows = np.random.default_rng(0).permutation(len(labels))
    halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    found = []
    for choose, judge in (halves, halves[::-1]):
        chosen = [METRICS[metric](labels[choose], epoch[choose]) for epoch in logits]
        found.append(METRICS[metric](labels[judge], logits[int(np.argmax(chosen))][judge]))
    return sum(found) / 2


def collapsed(logits: np.ndarray) -> bool:
    """Whether the predictions (examples, outputs) are the same for every example."""
    values = logits[:, 0] if logits.shape[1] == 1 else logits.argmax(-1)
    return bool(np.ptp(values) <= 1e-6 * max(1.0, float(np.abs(values).max())))


def score_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row a run."""
    rows = []
    for run in runs:
        score = run.score
        rows.append(
            {
                "method": run.method,
                "seed": run.seed,
                "metric": score["metric"],
                "best": score["best"],
                "best_epoch": score["best_epoch"],
                "last": score["last"],
                "cross_fitted": cross_fitted(score["metric"], run.logits, run.labels),
                "epochs": len(run.logits),
                "examples": len(run.labels),
                "constant_guess": run.record["run"]["data"]["validation"]["constant_guess"],
                "collapsed": collapsed(run.logits[-1]),
                "shared": run.record["provenance"]["shared"],
            }
        )
    return rows


def difference_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row for each pair of methods and quantity: method - against, paired by seed; `fft` and `lora` are what
    others are held against.

    Over seeds a t-interval and the smallest effect it would find; below three seeds the mean alone. Over validation
    examples (of the best epoch) a crossed, paired bootstrap.
    """
    scores = pd.DataFrame(score_rows(runs))
    found = list(scores["method"].unique())
    references = [method for method in (FULL, OWN) if method in found]
    methods = [*references, *(method for method in found if method not in references)]
    rows = []
    for against, method in combinations(methods, 2):
        for quantity in QUANTITIES:
            by_method = scores.pivot(index="seed", columns="method", values=quantity)
            pairs = (by_method[method] - by_method[against]).dropna()
            over_seeds = t_interval(list(pairs)) if len(pairs) >= MIN_SEEDS else None
            row = {
                "method": method,
                "against": against,
                "quantity": quantity,
                "seeds": len(pairs),
                "difference": float(pairs.mean()) if len(pairs) else None,
                "low": over_seeds and over_seeds.low,
                "high": over_seeds and over_seeds.high,
                "detectable": over_seeds and over_seeds.detectable,
            }
            if quantity == "best":
                row |= _over_examples(runs, method, against, set(pairs.index))
            rows.append(row)
    return rows


def _over_examples(runs: Sequence[Run], method: str, against: str, seeds: set[int]) -> dict[str, Any]:
    sides = [[r for r in runs if r.method == name and r.seed in seeds] for name in (method, against)]
    found = paired_bootstrap(
        sides[0][0].score["metric"],
        sides[0][0].labels,
        [run.best_logits for run in sides[0]],
        [run.best_logits for run in sides[1]],
    )
    if found is None:
        return {"examples_low": None, "examples_high": None, "redrawn": None}
    return {"examples_low": found.low, "examples_high": found.high, "redrawn": found.redrawn}


def compare(folders: Sequence[Path], scores: Path, differences: Path) -> None:
    """Write a task's scores and their differences from its run folders."""
    runs = [read_run(folder) for folder in folders]
    frames = {
        scores: pd.DataFrame(score_rows(runs)),
        differences: pd.DataFrame(difference_rows(runs), columns=DIFFERENCE_COLUMNS),
    }
    for path, frame in frames.items():
        with atomic_file(path) as temp_path:
            frame.to_csv(temp_path, index=False)
