"""The five tasks as rows of one table: their columns, metric and labels (Section 4.1)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One GLUE task, in the layout of the hub's `nyu-mll/glue`.

    `labels` is empty for regression. The first of `metrics` is the score; the others stand beside it.
    """

    title: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]


PAIR = ("sentence1", "sentence2")

TASKS = {
    "sst2": Task("SST-2", ("sentence",), ("negative", "positive"), ("accuracy",)),
    "mrpc": Task("MRPC", PAIR, ("not_equivalent", "equivalent"), ("accuracy", "f1")),
    "cola": Task("CoLA", ("sentence",), ("unacceptable", "acceptable"), ("matthews",)),
    "rte": Task("RTE", PAIR, ("entailment", "not_entailment"), ("accuracy",)),
    "stsb": Task("STS-B", PAIR, (), ("pearson", "spearman")),
}
