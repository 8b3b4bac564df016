"""The scores of each method on a task, with their uncertainty: best, last and cross-fitted, and their differences.

Choosing the best of many epochs on the split that is reported flatters a method, and more so with more epochs. The
cross-fitted score chooses the epoch on one half of the validation set and scores it on the other, both ways.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from lora_core.data.metrics import METRICS
from lora_core.evaluation.bootstrap import Resampled, paired_bootstrap
from lora_core.evaluation.references import References
from lora_core.evaluation.run_predictions import RunPredictions
from lora_core.layout import Layout, place
from lora_core.sealed_csv import write_sealed_csv
from lora_core.stats import MEANINGFUL, MIN_SEEDS, TIE, t_interval

QUANTITIES = ("best", "last", "cross_fitted")
# The same on the test split: at the epoch that is best on the validation split, and at the last.
ON_TEST = {"best": "test", "last": "test_last"}
SAME_NUMBER = 1e-3  # predicted numbers that differ by less than this share of the labels' range are the same


@dataclass(frozen=True)
class ScoreRow:
    """The scores of one run (scores/{task}.csv).

    `overlapping` validation examples share a text with a training example; `without_overlap` is the score of the best
    epoch on the others. Both are None if this was not counted. `test` and `test_last` are the scores on the test split,
    of the best epoch and of the last; they and the two fields after them are None for a task without one.
    """

    method: str
    seed: int
    metric: str
    best: float
    best_epoch: int
    last: float
    cross_fitted: float | None
    epochs: int
    examples: int
    overlapping: int | None
    without_overlap: float | None
    baseline_score: float
    collapsed: bool
    shared: bool | None
    equal_length_batches: bool
    test: float | None
    test_last: float | None
    test_examples: int | None
    test_baseline_score: float | None


TEST_COLUMNS = [field.name for field in fields(ScoreRow) if field.name.startswith("test")]


@dataclass(frozen=True)
class DifferenceRow:
    """Score of `method` minus score of `against` (scores/{task}_differences.csv), averaged over their common seeds.

    `low` and `high` bound the interval over seeds, `detectable` is the smallest effect it finds with 80% power, and
    `examples_low` and `examples_high` bound the interval over validation examples (quantity "best" only), for which
    `redrawn` resamples were drawn again. `identical_predictions` is the number of common seeds for which both make the
    same predictions at their best epochs. `method_at_baseline` and `against_at_baseline` say whether a side's mean best
    score is not above the majority-class baseline by more than 2 points, or most of its seeds collapsed. In the rows of
    the quantities "test" and "test_last" all of this is about the test split.
    """

    method: str
    against: str
    quantity: str
    seeds: int
    difference: float | None
    low: float | None
    high: float | None
    detectable: float | None
    examples_low: float | None
    examples_high: float | None
    redrawn: int | None
    identical_predictions: int
    method_at_baseline: bool
    against_at_baseline: bool


DIFFERENCE_COLUMNS = [field.name for field in fields(DifferenceRow)]


def cross_fitted(metric: str, logits: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the mean of two scores, each on one half of the examples at the epoch that is best on the other half.

    `logits` are (epochs, examples, outputs). None for fewer than four examples.
    """
    if len(labels) < 4:
        return None
    rows = np.random.default_rng(0).permutation(len(labels))
    halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    score = METRICS[metric].function
    scores = []
    for choosing, judging in (halves, halves[::-1]):
        by_epoch = [score(labels[choosing], epoch[choosing]) for epoch in logits]
        scores.append(score(labels[judging], logits[int(np.argmax(by_epoch))][judging]))
    return sum(scores) / 2


def score_without_overlap(run: RunPredictions) -> float | None:
    """Return the score of the best epoch on the validation examples that share no text with a training example.

    None if these were not counted, and for fewer than two examples.
    """
    if run.overlaps is None or (~run.overlaps).sum() < 2:
        return None
    kept = ~run.overlaps
    return METRICS[run.record.score.metric].function(run.labels[kept], run.best_logits[kept])


def collapsed(logits: np.ndarray) -> bool:
    """Return whether the predictions (examples, outputs) are the same for every example."""
    values = logits[:, 0] if logits.shape[1] == 1 else logits.argmax(-1)
    return bool(np.ptp(values) <= 1e-6 * max(1.0, float(np.abs(values).max())))


def identical_predictions(a: RunPredictions, b: RunPredictions) -> bool:
    """Return whether two runs make the same predictions at their best epochs.

    These are the classes, or numbers that agree within 0.1% of the range of the labels.
    """
    if a.best_logits.shape[1] > 1:
        return bool((a.best_logits.argmax(-1) == b.best_logits.argmax(-1)).all())
    return bool((np.abs(a.best_logits - b.best_logits) <= SAME_NUMBER * np.ptp(a.labels)).all())


def at_baseline(runs: Sequence[RunPredictions]) -> bool:
    """Return whether a method learned nothing on a task, from the best epochs of its runs."""
    gap = np.mean([run.record.score.best - run.record.data.validation.baseline_score for run in runs])
    return bool(gap <= MEANINGFUL + TIE or np.mean([collapsed(run.best_logits) for run in runs]) > 0.5)


def score_rows(runs: Sequence[RunPredictions]) -> list[ScoreRow]:
    """Return one row per run."""
    return [
        ScoreRow(
            method=run.record.method,
            seed=run.record.seed,
            metric=run.record.score.metric,
            best=run.record.score.best,
            best_epoch=run.record.score.best_epoch,
            last=run.record.score.last,
            cross_fitted=cross_fitted(run.record.score.metric, run.logits, run.labels),
            epochs=len(run.logits),
            examples=len(run.labels),
            overlapping=None if run.overlaps is None else int(run.overlaps.sum()),
            without_overlap=score_without_overlap(run),
            baseline_score=run.record.data.validation.baseline_score,
            collapsed=collapsed(run.logits[-1]),
            shared=run.record.provenance.shared,
            equal_length_batches=run.record.equal_length_batches,
            test=None if test is None else test.chosen,
            test_last=None if test is None else test.last,
            test_examples=None if test is None else test.examples,
            test_baseline_score=None if run.record.data.test is None else run.record.data.test.baseline_score,
        )
        for run in runs
        for test in [run.record.test]
    ]


def difference_rows(runs: Sequence[RunPredictions], references: References) -> list[DifferenceRow]:
    """Return one row per pair of methods and quantity, paired by seed.

    Every method is compared with `references.full` first and with `references.adapter` second, then with those that
    come before it in the study. The interval over seeds is Student's; below three seeds there is none. The interval
    over validation examples comes from a crossed, paired bootstrap of the best epoch. The rows about the test split, if
    the task has one, come last.
    """
    on_test = [tested for run in runs if (tested := run.on_test())]
    rows = _difference_rows(on_test, references, tuple(ON_TEST)) if on_test else []
    rows = [replace(row, quantity=ON_TEST[row.quantity]) for row in rows]
    return [*_difference_rows(runs, references, QUANTITIES), *rows]


def _difference_rows(
    runs: Sequence[RunPredictions], references: References, quantities: Sequence[str]
) -> list[DifferenceRow]:
    scores = pd.DataFrame(score_rows(runs))
    by_run = {(run.record.method, run.record.seed): run for run in runs}
    present = list(scores["method"].unique())
    learned_nothing = {method: at_baseline([run for run in runs if run.record.method == method]) for method in present}
    first = [method for method in (references.full, references.adapter) if method in present]
    methods = [*first, *(method for method in present if method not in first)]
    rows = []
    for against, method in combinations(methods, 2):
        common = [seed for seed in scores["seed"].unique() if {(method, seed), (against, seed)} <= by_run.keys()]
        identical = sum(identical_predictions(by_run[method, seed], by_run[against, seed]) for seed in common)
        for quantity in quantities:
            by_method = scores.pivot(index="seed", columns="method", values=quantity)
            differences = (by_method[method] - by_method[against]).dropna()
            over_seeds = t_interval(list(differences)) if len(differences) >= MIN_SEEDS else None
            over_examples = None
            if quantity == "best":
                over_examples = _over_examples(runs, method, against, set(differences.index))
            rows.append(
                DifferenceRow(
                    method=method,
                    against=against,
                    quantity=quantity,
                    seeds=len(differences),
                    difference=float(differences.mean()) if len(differences) else None,
                    low=over_seeds.low if over_seeds else None,
                    high=over_seeds.high if over_seeds else None,
                    detectable=over_seeds.detectable if over_seeds else None,
                    examples_low=over_examples.low if over_examples else None,
                    examples_high=over_examples.high if over_examples else None,
                    redrawn=over_examples.redrawn if over_examples else None,
                    identical_predictions=identical,
                    method_at_baseline=learned_nothing[method],
                    against_at_baseline=learned_nothing[against],
                )
            )
    return rows


def _over_examples(runs: Sequence[RunPredictions], method: str, against: str, seeds: set[int]) -> Resampled | None:
    pair = [[r for r in runs if r.record.method == name and r.record.seed in seeds] for name in (method, against)]
    first = pair[0][0]
    return paired_bootstrap(
        first.record.score.metric,
        first.labels,
        [run.best_logits for run in pair[0]],
        [run.best_logits for run in pair[1]],
    )


def compare_scores(runs: Sequence[RunPredictions], references: References, scores: Path, differences: Path) -> None:
    """Write the scores of one task's runs and the differences between methods.

    Without a test split there are no columns about one.
    """
    rows = pd.DataFrame(score_rows(runs))
    frames = {
        scores: rows.drop(columns=[] if rows["test_examples"].notna().any() else TEST_COLUMNS),
        differences: pd.DataFrame(difference_rows(runs, references), columns=DIFFERENCE_COLUMNS),
    }
    places = {scores: place(Layout.scores, scores), differences: place(Layout.differences, differences)}
    for path, frame in frames.items():
        write_sealed_csv(path, frame, places[path])
