"""Prints results/README.md from the paths of a results folder and the catalogue (`make pictures`)."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lora_core.layout import Layout  # noqa: E402
from lora_core.reporting import catalogue  # noqa: E402

# What is below each path of `Layout`; a path without an entry here is an error.
CONTENTS = {
    "report": "the whole study as one page: the answer, every table with its figure, and all runs to sort and filter; "
    "needs no network",
    "table": "every table as `.md`, `.csv`, `.tex` and `.json`; see below",
    "figure": "every figure as `.svg`, with what it shows as `.csv`; see below",
    "narrow_figure": "the same for a narrow screen",
    "claims": "the paper's claims, each with the rule that judges it and the verdict, qualified by what differs from "
    "the paper's study, as `.md` and `.csv`",
    "runs": "one row per run and quantity",
    "run": "one run:",
    "run_record": "its settings, measurement and provenance",
    "history": "one row per epoch",
    "power": "one row per sample of the meter",
    "predictions": "logits, epoch x example; the loss of every step",
    "weights": "the adapter in PEFT's layout, or the whole model as a transformers folder",
    "model_card": "the model card",
    "kept": "if the run is kept although its code changed: the decision and its reason "
    "([docs/reliability.md](../docs/reliability.md))",
    "progress": "how far the run is, while it runs",
    "run_lock": "held by the job that makes the run, so that no second one writes the same files",
    "merged": "the adapter merged into plain weights: a transformers folder",
    "merged_record": "digests of its files",
    "scores": "best, last and cross-fitted scores",
    "differences": "differences between methods with their intervals",
    "latency": "every timed pass",
    "latency_record": "where it was measured, and the check that merging changed no logit",
    "costs": "cost at equal accuracy",
    "curve": "score against time and energy",
    "regimes": "steps of both methods on batches of many sizes, measured and predicted",
    "memory_scaling": "predicted training memory of ten model sizes, and what a real step of two of them kept",
    "checkpoint": "the state of an unfinished long run; deleted when it finishes "
    "([docs/reliability.md](../docs/reliability.md))",
    "counts": "trainable parameters of every method",
    "gradients": "what a method trains without effect: parameters that get no gradient",
    "memory": "the memory that the largest batch of each method needs, predicted before anything is trained",
    "model": "the prepared model",
    "model_config": "its configuration, as transformers writes it",
    "model_record": "digests of its files",
    "data": "one task:",
    "train_data": "tokenized training examples",
    "validation_data": "tokenized validation examples",
    "test_data": "tokenized test examples, of a task that has a test split",
    "data_card": "what the examples are, and the digests of their files",
    "data_sources": "size and digest of the files that the examples were read from",
    "study": "the model and data set of this folder; a study of another model or data set is rejected",
    "logs": "one log per job, and next to it an exit record (`.json`) with the job's state and error",
    "train_log": "the log of a run",
}
TEXT = """# What a study produces

<!-- Made by `make pictures` (docs/results_folder.py) from the code; a test compares the two. -->

The workflow produces everything in this folder except this page. To produce a file again, delete it and request it
again.

| path | contents |
| --- | --- |
{paths}

## Tables and figures

Tables 1 to 7 are those of the paper, from this study's records. An optional table is made if `more_tables` names it, or
if it is requested by its path; its figure comes with it.

| table | contents |
| --- | --- |
{tables}

| figure | contents |
| --- | --- |
{figures}
"""


def paths() -> str:
    """Every path of a results folder, in the order of CONTENTS."""
    patterns = {name: getattr(Layout, name) for name in vars(Layout) if isinstance(getattr(Layout, name), str)}
    patterns = {name: pattern for name, pattern in patterns.items() if not name.startswith("_")}
    if patterns.keys() != CONTENTS.keys():
        sys.exit(f"docs/results_folder.py: not in both CONTENTS and Layout: {patterns.keys() ^ CONTENTS.keys()}")
    return "\n".join(f"| `{patterns[name]}` | {text} |" for name, text in CONTENTS.items())


def entries(pattern: str, entries: dict[str, catalogue.Entry]) -> str:
    """The tables or figures of the catalogue, with what a study must have or ask for."""
    lines = []
    for entry in entries.values():
        note = " (optional)" if entry.optional else " (if the study has such methods)" if entry.requires else ""
        lines.append(f"| `{pattern.format(table=entry.name, figure=entry.name)}` | {entry.title}{note} |")
    return "\n".join(lines)


if __name__ == "__main__":
    tables = entries(f"{Layout.table}.md", catalogue.TABLES)
    figures = entries(f"{Layout.figure}.svg", catalogue.FIGURES)
    print(TEXT.format(paths=paths(), tables=tables, figures=figures), end="")
