"""`lora-core status --why`: what has changed since each run was made that would be made again."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_core.code_digest import CACHE, CodeDigests
from lora_core.commands.durations import format_duration
from lora_core.commands.remembered import Memory
from lora_core.commands.training_code import code_of_training, keep_parsed
from lora_core.config.announcement import recorded_seconds
from lora_core.config.data_files import changed_data_files
from lora_core.config.differences import SETTINGS_DIFFER
from lora_core.config.outdated import Code, ResultsComparison
from lora_core.config.preflight import check_results_folder
from lora_core.config.run_changes import OTHER_CODE, Cause, Change, made_again
from lora_core.job_records import read_job_record
from lora_core.layout import Layout, exit_record
from lora_core.provenance import ROOT, installed_packages

if TYPE_CHECKING:
    from lora_core.commands.run_names import RunName
    from lora_core.config.study import Study
    from lora_core.kept_runs import KeptRun

LISTED_FILES = 6
NO_REASON = "by itself no reason to make a run again"


@dataclass(frozen=True)
class Explanation:
    """Whether a run would be made again, and why.

    Attributes:
        exists: Whether it has been made.
        changes: A line for each cause to make it again, such as "settings: rank 8 -> 2"; empty if it stays.
        packages: A line with the versions that differ, which are no reason to make it again; empty if none do.
        kept: The decision to keep it; None if there is none, or if it would be made again in spite of it.
        can_be_kept: Whether it would be made again for no other reason than code, or what Snakemake alone compares.
        seconds: What is recorded of its time.
    """

    run: RunName
    exists: bool
    changes: tuple[str, ...] = ()
    packages: str = ""
    kept: KeptRun | None = None
    can_be_kept: bool = False
    seconds: float = 0.0


def explain(study: Study, runs: Sequence[RunName], code: Code | None, digests: CodeDigests) -> list[Explanation]:
    """Return for each run whether it would be made again, and why.

    `code` returns the code that trains a method; None compares no code. `digests` are those of the other stages.
    Raise ValueError that says what to delete for a damaged record of data or of the model, or an edited record.
    """
    comparison = ResultsComparison(study, code, changed_data_files, every=True)
    memory, packages = Memory(study, ROOT), installed_versions()
    preparation = _repeated_preparation(study, digests)
    explanations = []
    for run in runs:
        path = run.record(study)
        if not Path(path).exists():
            explanations.append(Explanation(run, exists=False))
            continue
        changes = [_line(change) for change in comparison.changes.get(path, [])] if path in comparison.reasons else []
        kept = comparison.kept.get(path) if not changes else None
        remembered = memory.read(run) if not changes and not kept and code else None
        if remembered and code:
            changes = [f"Snakemake: {text}" for text in memory.changes(run, remembered, code(run.method).digest)]
            changes += [f"input: {text}" for task, text in preparation if task in (None, run.task)]
        record = (comparison.records or {}).get(path, {})
        versions = _changed_versions(record, packages)
        of_code_alone = all(change.cause == Cause.CODE for change in comparison.changes.get(path, []))
        can_be_kept, seconds = bool(changes) and of_code_alone, recorded_seconds(record)
        explanations.append(Explanation(run, True, tuple(changes), versions, kept, can_be_kept, seconds))
    keep_parsed(digests)
    return explanations


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results."""
    return {"python": platform.python_version(), **installed_packages()}


def _changed_versions(run: Mapping[str, Any], now: Mapping[str, str]) -> str:
    """The versions that differ from those of a run, as a line; empty for a record that says none."""
    try:
        provenance = run["provenance"]
        recorded = {"python": str(provenance["python"]), **provenance["packages"]}
    except (LookupError, TypeError):
        return ""
    changed = [f"{name} {was} -> {now.get(name, 'none')}" for name, was in recorded.items() if now.get(name) != was]
    return f"packages: {', '.join(changed)}" if changed else ""


def _line(change: Change) -> str:
    match change.cause:
        case Cause.SETTINGS if change.reason.startswith(f"{SETTINGS_DIFFER} ("):
            return f"settings: {change.reason.removeprefix(f'{SETTINGS_DIFFER} (')[:-1]}"
        case Cause.CODE:
            more = f" and {len(change.files) - LISTED_FILES} more" if change.files[LISTED_FILES:] else ""
            return f"code: {', '.join(change.files[:LISTED_FILES]) or OTHER_CODE}{more}"
    return f"{change.cause}: {change.detail or change.reason}"


def _repeated_preparation(study: Study, digests: CodeDigests) -> list[tuple[str | None, str]]:
    """The preparation of the model and of tasks that other code made: the task (None: of all), and a text."""
    layout, scripts = Layout(study.results_dir), ROOT / "workflow" / "scripts"
    if not (scripts / "prepare_model.py").is_file():
        return []
    of_tasks = [(task, "tokenize_dataset", f"tokenize_dataset/{task}") for task in study.trained_tasks]
    repeated = []
    for task, rule, job in [(None, "prepare_model", "prepare_model"), *of_tasks]:
        made_by = _code_of_job(exit_record(Path(layout.log(job))))
        if made_by is not None and made_by != digests.digest(scripts / f"{rule}.py"):
            repeated.append((task, made_again(job, OTHER_CODE)))
    return repeated


def _code_of_job(record: Path) -> str | None:
    """The digest of the code that a finished job says it ran; None if it does not."""
    try:
        return str((read_job_record(record).made_from or {})["code"])
    except (OSError, ValueError, LookupError):
        return None


def format_why(study: Study, runs: Sequence[RunName], *, selected: bool) -> str:
    """Return the explanations as text: runs with the same changes together.

    With `selected`, runs that stay are listed too. Raise ValueError as `explain` does, and as Snakemake does for a
    folder with the results of another model or other data: it starts nothing there.
    """
    check_results_folder(study)
    digests = CodeDigests(cache=CACHE)
    code = code_of_training(study, digests)
    explained = explain(study, runs, code, digests)
    again = [one for one in explained if one.changes]
    seconds = sum(one.seconds for one in again)
    took = f"; what is recorded of them took {format_duration(seconds)}" if again else ""
    lines = [f"{study.results_dir}: {len(again)} of {len(explained)} runs would be made again{took}."]
    groups: dict[tuple[str, ...], list[str]] = {}
    for one in again:
        packages = [f"{one.packages} ({NO_REASON})"] if one.packages else []
        groups.setdefault((*one.changes, *packages), []).append(str(one.run))
    for changes, named in groups.items():
        lines += ["", ", ".join(named), *(f"  {change}" for change in changes)]
    lines += ["", *_kept_lines(explained)] if any(one.kept for one in explained) else []
    lines += ["", *_other_lines(explained)] if selected and len(again) < len(explained) else []
    if code is None:
        lines += ["", f"Code was not compared: {ROOT} has no workflow/scripts/train.py."]
    if any(one.can_be_kept for one in again):
        lines += ["", 'To keep results although the code changed: lora-core keep RUN --because "..."']
    return "\n".join(lines)


def _kept_lines(explained: Sequence[Explanation]) -> Iterator[str]:
    runs: dict[str, list[str]] = {}
    for one in explained:
        if one.kept:
            runs.setdefault(one.kept.because, []).append(str(one.run))
    yield from (f"kept, because “{because}”: {', '.join(named)}" for because, named in runs.items())


def _other_lines(explained: Sequence[Explanation]) -> Iterator[str]:
    for one in explained:
        if not one.changes and not one.kept:
            yield f"{one.run}: {'nothing that is known changed' if one.exists else 'not made yet'}"
