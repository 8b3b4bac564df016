"""Snakemake's lock on the working directory, left by a process that was killed: removed only if that is certain.

Every snakemake leaves a note in `.snakemake/owners` while it works. `lora-core unlock`, which is part of `make tables`,
removes the lock if all processes that left a note have ended; otherwise the lock stays, and Snakemake explains it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.processes import ProcessIdentity, has_ended, this_process
from lora_core.records import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filelock import FileLock

OWNERS = Path(".snakemake", "owners")
LOCKS = Path(".snakemake", "locks")


def note_owner() -> None:
    """Leave the note of this process, which holds a lock, and remove the notes of processes that have ended."""
    with _exclusive():
        for note in _notes():
            if _owner_has_ended(note):
                note.unlink()
        write_json(_note_of_this_process(), asdict(this_process()), sync=False)


def remove_note() -> None:
    """Remove the note of this process, which has released its lock; on a disk that cannot be written it stays."""
    with suppress(OSError):
        _note_of_this_process().unlink(missing_ok=True)


def remove_stale_lock(overlays: Sequence[str] = ()) -> int:
    """Run `snakemake --unlock` if every owner of the lock has ended. Return its exit status; 0 if it did not run.

    `overlays` are the study's `--configfile`s.
    """
    with _exclusive():
        locks = list(LOCKS.iterdir()) if LOCKS.is_dir() else []
        notes = _notes()
        if not locks or not notes or not all(map(_owner_has_ended, notes)):
            return 0
        # A lock newer than every note belongs to a snakemake that has not left its note yet.
        if max(lock.stat().st_mtime for lock in locks) > max(note.stat().st_mtime for note in notes):
            return 0
        print(
            "unlocking: the snakemake that locked this folder was killed; unfinished files are made again", flush=True
        )
        configfiles = ["--configfile", *overlays] if overlays else []
        command = [sys.executable, "-P", "-m", "snakemake", "--unlock", *configfiles]
        result = subprocess.run(command, capture_output=True)
        if result.returncode:
            sys.stderr.buffer.write(result.stderr)
            return result.returncode
        for note in notes:
            note.unlink()
    return 0


def _note_of_this_process() -> Path:
    return OWNERS / f"{os.getpid()}.json"


def _notes() -> list[Path]:
    return sorted(file for file in OWNERS.glob("*.json") if file.is_file())


def _owner_has_ended(note: Path) -> bool:
    """Whether the process of a note has ended; a note in another form says nothing, and the lock stays.

    A note is damaged only by a loss of power, which has ended its process too.
    """
    try:
        return has_ended(ProcessIdentity(**read_json(note)))
    except ValueError:
        return True
    except (OSError, TypeError):  # a note of another user, or of another version
        return False


def _exclusive() -> FileLock:
    """A lock on the notes themselves."""
    from filelock import FileLock

    OWNERS.mkdir(parents=True, exist_ok=True)
    return FileLock(OWNERS / "lock")
