"""`lora-core summary`: LoRA against full fine-tuning in four lines, and the name of the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.evaluation.counts import read_counts
from lora_core.evaluation.frames import read_costs, read_memory, read_scores
from lora_core.evaluation.relative_changes import geometric_ratio, relative_changes
from lora_core.layout import Layout

if TYPE_CHECKING:
    import pandas as pd

    from lora_core.config.study import Study
    from lora_core.evaluation.references import References


@dataclass(frozen=True)
class SummaryRecords:
    """The files that the lines are made from: scores and costs of each task, and the record of each run."""

    counts: Path
    scores: Sequence[Path]
    costs: Sequence[Path]
    runs: Sequence[Path]


def format_summary(study: Study) -> str:
    """Return the lines as text; one sentence if there is nothing to compare, or not yet.

    Raise ValueError if a file is damaged or is of an earlier version.
    """
    layout, references = Layout(study.results_dir), study.references
    if missing := references.missing("full", "adapter"):
        return f"LoRA and full fine-tuning cannot be compared here: {missing}."
    runs = [
        Path(layout.run_record.format(method=method, task=task, seed=seed))
        for method in (str(references.full), str(references.adapter))
        for task in study.tasks
        for seed in study.seeds
    ]
    records = SummaryRecords(
        counts=Path(layout.counts),
        scores=[Path(layout.scores.format(task=task)) for task in study.tasks],
        costs=[Path(layout.costs.format(task=task)) for task in study.tasks],
        runs=runs,
    )
    if lacking := [run for run in runs if not run.exists()]:
        return (
            f"LoRA and full fine-tuning cannot be compared yet: {len(lacking)} of their {len(runs)} runs are missing."
        )
    results = [records.counts, *records.scores, *records.costs, Path(layout.report)]
    if absent := next((path for path in results if not path.exists()), None):
        return f"LoRA and full fine-tuning cannot be compared yet: {absent} is missing; run the study again."
    try:
        return "\n".join([*summary_lines(records, references), f"Open {layout.report}"])
    except LookupError as error:
        raise ValueError(
            f"the results in {layout.results} lack {error}: an earlier version made them; run it again"
        ) from None


def summary_lines(records: SummaryRecords, references: References) -> Iterator[str]:
    """Yield what LoRA has relative to full fine-tuning, each with both numbers, which are means over tasks and seeds.

    A ratio is the geometric mean over tasks, as in the report.
    """
    full, adapter = str(references.full), str(references.adapter)
    scores = 100 * read_scores(records.scores).groupby("method")["best"].mean()
    difference = scores[adapter] - scores[full]
    where = "above" if difference > 0 else "below"
    yield _line(
        "best score",
        f"{abs(difference):.1f} points {where} full fine-tuning ({scores[adapter]:.1f} % against {scores[full]:.1f} %)",
    )
    counts = read_counts(records.counts)
    trained = counts.methods[adapter].trainable
    share = f"{100 * trained / counts.full:.2g} % of full fine-tuning"
    yield _line("trained parameters", f"{share} ({trained:,} and the head, against {counts.full:,})")
    yield _line("time per epoch", _ratio(read_costs(records.costs), "seconds_per_epoch", "s", references))
    yield _line("training memory", _ratio(read_memory(records.runs), "mean_mb", "MB", references))


def _line(quantity: str, text: str) -> str:
    return f"{quantity + ':':20}{text if text.startswith('n/a') else f'LoRA {text}'}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(frame: pd.DataFrame, column: str, unit: str, references: References) -> str:
    """Return the ratio of a measured quantity; n/a with the reason if a run has no value, or devices differ."""
    frame = frame[frame["method"].isin([references.full, references.adapter])]
    tasks = list(dict.fromkeys(frame["task"]))
    reasons = "; ".join(relative_changes(frame, column, references, tasks).reasons)
    if frame[column].isna().any() or frame["device"].nunique() > 1:
        return f"n/a, because {reasons or 'a run has no value'}"
    means = frame.groupby("method")[column].mean()
    full, adapter = (_number(means[str(method)]) for method in (references.full, references.adapter))
    notes = [f"{adapter} {unit} against {full} {unit}"]
    if len(tasks) > 1:
        notes.append(f"ratio: geometric mean over {len(tasks)} tasks")
    if "resident" in set(frame.get("kind", [])):
        notes.append("of the whole process on a CPU")
    if reasons:
        notes.append(reasons)
    return f"{geometric_ratio(frame, column, references):.2f} of full fine-tuning ({'; '.join(notes)})"
