"""The tasks of GLUE that the project knows (Section 4.1), one row each."""

from lora_core.data.task import Task

PAIR = ("sentence1", "sentence2")

TASKS = {
    task.name: task
    for task in (
        Task("sst2", "SST-2", ("sentence",), ("negative", "positive"), ("accuracy",)),
        Task("mrpc", "MRPC", PAIR, ("not_equivalent", "equivalent"), ("accuracy", "f1")),
        Task("cola", "CoLA", ("sentence",), ("unacceptable", "acceptable"), ("matthews",)),
        Task("rte", "RTE", PAIR, ("entailment", "not_entailment"), ("accuracy",)),
        Task("stsb", "STS-B", PAIR, (), ("pearson", "spearman")),
        Task(
            "mnli",
            "MNLI",
            ("premise", "hypothesis"),
            ("entailment", "neutral", "contradiction"),
            ("accuracy",),
            validation_split="validation_matched",
        ),
    )
}
# Those of the paper; it leaves MNLI out, from which Hu et al. start others.
PAPER_TASKS = ("sst2", "mrpc", "cola", "rte", "stsb")


def task_title(task: str) -> str:
    """Return what a task is called in tables and figures; a user's own task is called by its name."""
    return TASKS[task].title if task in TASKS else task
