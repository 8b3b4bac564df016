"""`lora-core summary`: LoRA against full fine-tuning in four lines, and the name of the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.config.foreign import foreign_products
from lora_core.evaluation.answer import read_answer
from lora_core.evaluation.claim_evidence import ClaimRecords, read_evidence
from lora_core.evaluation.older_runs import check_older_run
from lora_core.job_records import read_outputs
from lora_core.kept_runs import kept_file, kept_runs
from lora_core.layout import Layout
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.kept import kept_sentences

if TYPE_CHECKING:
    from lora_core.config.study import Study
    from lora_core.evaluation.answer import Answer
    from lora_core.evaluation.comparison import Comparison

# The figures that are printed; the page has all of them.
SHOWN = ("score", "parameters", "epoch_time", "memory")


def format_summary(study: Study) -> str:
    """Return the lines as text; one sentence if there is nothing to compare, or not yet.

    Raise ValueError if a file is damaged or is of an earlier version.
    """
    layout, names = Layout(study.results_dir), study.references.names(study.labels)
    if reason := study.references.missing("full", "adapter"):
        return f"{names['adapter']} and {names['full']} cannot be compared here: {reason}."
    records = _records(study)
    files = [records.counts, Path(layout.report)]
    files += [file for group in vars(records).values() if isinstance(group, list) for file in group]
    if absent := [file for file in files if not file.exists()]:
        missing = f"{absent[0]} is missing" + (f", and {len(absent) - 1} more" if len(absent) > 1 else "")
        return f"{names['adapter']} and {names['full']} cannot be compared yet: {missing}; run the study again."
    foreign = foreign_products(layout.results, read_outputs(layout.logs))
    if differing := [file for file in files if str(file) in foreign]:
        raise ValueError(f"{differing[0]} is not what its job wrote; run the study again")
    for record in records.runs:
        check_older_run(record)
    try:
        evidence = read_evidence(records, study.references, study.measure.latency_margin, study.labels)
        kept = kept_sentences(kept_runs(map(kept_file, records.runs)), DrawSettings(labels=study.labels))
        return "\n".join([*summary_lines(read_answer(evidence)), *kept, f"Open {layout.report}"])
    except LookupError as error:
        raise ValueError(
            f"the results in {layout.results} lack {error}: an earlier version made them; run it again"
        ) from None


def _records(study: Study) -> ClaimRecords:
    layout = Layout(study.results_dir)
    timed = [{"task": task, "seed": seed} for task in study.tasks for seed in study.timed_seeds]
    return ClaimRecords(
        counts=Path(layout.counts),
        differences=[Path(layout.differences.format(task=task)) for task in study.tasks],
        latency=[Path(layout.latency.format(**one)) for one in timed],
        latency_records=[Path(layout.latency_record.format(**one)) for one in timed],
        runs=[
            Path(layout.run_record.format(method=method, task=task, seed=seed))
            for method in study.methods
            for task in study.tasks
            for seed in study.seeds
        ],
        costs=[Path(layout.costs.format(task=task)) for task in study.tasks],
    )


def summary_lines(answer: Answer) -> list[str]:
    """Return a line for each figure: its value relative to full fine-tuning, both numbers, and how sure that is."""
    if answer.reason:
        return [answer.verdict]
    figures = {one.name: one for one in answer.comparisons}
    width = max(len(figures[name].title) for name in SHOWN) + 1
    return [f"{f'{figures[name].title}:':{width}} {_text(figures[name], answer)}" for name in SHOWN]


def _text(one: Comparison, answer: Answer) -> str:
    if one.value is None:
        return "; ".join(filter(None, [one.state_text, one.note]))
    relation = "against" if one.is_difference else "of"
    seeds = f"{one.interval_text}, {one.sample_text}" if one.interval_text else one.sample_text
    facts = "; ".join([one.figures_text, seeds, one.state_text])
    return f"{answer.adapter} {one.text} {relation} {answer.full} ({facts})"
