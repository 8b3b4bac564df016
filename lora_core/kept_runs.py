"""The decision to keep a run although its code or packages changed: kept.json in the folder of the run.

It is about one run.json and about the code at that time: after a new run, or another change of the code, it says
nothing. Deleting the file takes the decision back.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lora_core.layout import Layout
from lora_core.records import read_json, sha256, write_json
from lora_core.sealed import seal, unseal
from lora_core.typed_records import name_damaged_file

FORMAT = 1
MAX_REASON = 300  # characters
_NAME = Path(Layout.kept).name
REMEDY = "delete it, and decide again with `lora-core keep`"


@dataclass(frozen=True)
class KeptRun:
    """A run that is kept.

    Attributes:
        because: The reason that the user gave.
        kept: When it was kept (ISO 8601, UTC).
        run: The SHA-256 of its run.json.
        code: The digest of the code that would train it now.
        changes: What had changed, such as "code: lora_core/training/loop.py" or "packages: torch 2.11.0 -> 2.12.0".
    """

    method: str
    task: str
    seed: int
    because: str
    kept: str
    run: str
    code: str
    changes: Sequence[str]


def check_reason(text: str) -> str:
    """Return the reason for keeping a run as one line. Raise ValueError for none, a long one or control characters."""
    line = " ".join(text.split())
    if not line:
        raise ValueError('--because is empty; say why the results are kept, such as --because "only messages changed"')
    if len(line) > MAX_REASON:
        raise ValueError(f"--because has {len(line)} characters; at most {MAX_REASON} fit into tables")
    if not line.isprintable():
        raise ValueError("--because has characters that cannot be printed; write plain text")
    return line


def kept_file(run_record: str | Path) -> Path:
    """Return where the decision about the run with this run.json is."""
    return Path(run_record).with_name(_NAME)


def write_kept(run_record: str | Path, kept: KeptRun) -> None:
    """Write a decision."""
    write_json(kept_file(run_record), seal({"format": FORMAT, **asdict(kept)}))


def read_kept(file: Path) -> KeptRun:
    """Read a kept.json.

    Raise ValueError that names it if it is damaged, was edited, or was written by a newer version.
    """
    with name_damaged_file(file):
        content = unseal(read_json(file), file, REMEDY, always_sealed=True)
        if content.get("format") != FORMAT:
            raise ValueError(f"{file} has format {content.get('format')!r:.20}, and this version reads {FORMAT}")
        kept = KeptRun(**{field.name: content[field.name] for field in fields(KeptRun)})
        _check_types(kept)
        return kept


def _check_types(kept: KeptRun) -> None:
    texts: list[Any] = [kept.method, kept.task, kept.because, kept.kept, kept.run, kept.code, *kept.changes]
    if not all(isinstance(text, str) for text in texts) or type(kept.seed) is not int:
        raise ValueError("a field has another type")
    if check_reason(kept.because) != kept.because:
        raise ValueError("its reason is not one line")


def kept_run(run_record: str | Path, digest: str | None = None) -> KeptRun | None:
    """Return the decision about a run; None if there is none, or if it is about another run.json than the present one.

    `digest` is the SHA-256 of the run.json, if it is known. Raise ValueError as `read_kept` does.
    """
    # Without pathlib: this is called for every run at every start.
    file = f"{os.path.dirname(run_record)}/{_NAME}"
    if not os.path.lexists(file) or not os.path.isfile(run_record):
        return None
    kept = read_kept(Path(file))
    return kept if kept.run == (digest or sha256(Path(run_record))) else None


def kept_runs(files: Iterable[Path]) -> list[KeptRun]:
    """Return the decisions of kept.json files about the run.json next to each; those about other runs are left out."""
    found = (kept_run(file.with_name(Path(Layout.run_record).name)) for file in files)
    return [kept for kept in found if kept]
