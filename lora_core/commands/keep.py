"""`lora-core keep`: keep finished runs although their code or packages changed, or take that back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.code_digest import CACHE, CodeDigests
from lora_core.commands.training_code import code_of_training
from lora_core.commands.why import explain
from lora_core.config.data_files import changed_data_files
from lora_core.config.outdated import ResultsComparison
from lora_core.kept_runs import KeptRun, check_reason, kept_file, write_kept
from lora_core.provenance import ROOT
from lora_core.records import sha256

if TYPE_CHECKING:
    from lora_core.commands.run_names import RunName
    from lora_core.config.study import Study

ALONE = "only a change of code or packages can be kept"
NOTHING = "nothing that is known changed, so there is nothing to keep"


def keep(study: Study, runs: Sequence[RunName], because: str) -> Iterator[str]:
    """Record that runs are kept, and yield a line for each; one that would not be made again is left as it is.

    Raise ValueError, before anything is written, if one of them would be made again for another reason than its code,
    or if none has been made.
    """
    because, digests = check_reason(because), CodeDigests(cache=CACHE)
    code = code_of_training(study, digests)
    if code is None:
        raise ValueError(f"{ROOT} has no workflow/scripts/train.py, so which code would train is unknown here")
    records = {run: run.record(study) for run in runs if Path(run.record(study)).exists()}
    if not records:
        raise ValueError(f"{runs[0].record(study)} does not exist: only a run that was made can be kept")
    reasons = ResultsComparison(study, code, changed_data_files, keeping=set(records.values())).reasons
    _refuse([(run, reasons[path]) for run, path in records.items() if path in reasons])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for one in explain(study, list(records), code, digests):
        run, path = one.run, records[one.run]
        changes = [*one.changes, *([one.packages] if one.packages else [])]
        if not changes:
            yield f"{run}: {NOTHING}"
            continue
        made, digest = sha256(Path(path)), code(run.method).digest
        write_kept(path, KeptRun(run.method, run.task, run.seed, because, now, made, digest, changes))
        yield f"{run}: kept"


def _refuse(reasons: Sequence[tuple[RunName, str]]) -> None:
    """Raise ValueError if a run would be made again for another reason than its code."""
    if reasons:
        run, reason = reasons[0]
        others = f", nor can {len(reasons) - 1} others" if reasons[1:] else ""
        raise ValueError(f"{run} cannot be kept, because {reason}{others}: {ALONE}")


def undo(study: Study, runs: Sequence[RunName]) -> Iterator[str]:
    """Take the decisions about runs back, and yield a line for each. Raise ValueError if there are none."""
    files = {run: kept_file(run.record(study)) for run in runs}
    present = {run: file for run, file in files.items() if file.exists() or file.is_symlink()}
    if not present:
        raise ValueError(f"{next(iter(files.values()))} does not exist: none of these runs is kept")
    for run, file in present.items():
        file.unlink()
        yield f"{run}: no longer kept"
