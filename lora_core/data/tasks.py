"""The tasks as rows of one table: their columns, metric and labels (Section 4.1)."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """One task; GLUE's are in the layout of the hub's `nyu-mll/glue`.

    `labels` is empty for regression. The first of `metrics` is the score; the others stand beside it. `label` is the
    column of labels, `validation` the split that is scored.
    """

    title: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    label: str = "label"
    validation: str = "validation"

    @property
    def layout(self) -> dict[str, Any]:
        """How the examples lie in their files, as `lora_core.data.datasets` is told."""
        return {
            "texts": self.columns,
            "labels": self.labels,
            "label": self.label,
            "splits": {"train": "train", "validation": self.validation},
        }


PAIR = ("sentence1", "sentence2")

TASKS = {
    "sst2": Task("SST-2", ("sentence",), ("negative", "positive"), ("accuracy",)),
    "mrpc": Task("MRPC", PAIR, ("not_equivalent", "equivalent"), ("accuracy", "f1")),
    "cola": Task("CoLA", ("sentence",), ("unacceptable", "acceptable"), ("matthews",)),
    "rte": Task("RTE", PAIR, ("entailment", "not_entailment"), ("accuracy",)),
    "stsb": Task("STS-B", PAIR, (), ("pearson", "spearman")),
    "mnli": Task(
        "MNLI",
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        ("accuracy",),
        validation="validation_matched",
    ),
}
# Those of the paper; it leaves MNLI out, from which Hu et al. start others.
PAPER_TASKS = ("sst2", "mrpc", "cola", "rte", "stsb")


def task_title(task: str) -> str:
    """What a task is called in tables and figures."""
    return TASKS[task].title if task in TASKS else task
