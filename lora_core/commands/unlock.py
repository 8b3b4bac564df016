"""Snakemake's lock on the working directory, left by a process that was killed: removed only where that is certain.

Every snakemake notes itself in `.snakemake/owners` while it works. `python -m lora_core.commands.unlock` (part of `make tables`)
removes a lock when all that took one are gone; otherwise the lock stays, and Snakemake says what it means. Where the
system tells no machine, boot or process (it is no Linux), it always stays.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_core.records import read_json, write_json

if TYPE_CHECKING:
    from filelock import FileLock

OWNERS = Path(".snakemake", "owners")
LOCKS = Path(".snakemake", "locks")
# What tells a machine and what tells its boot; process numbers are those of a namespace, as a container has its own.
MACHINE, BOOT, NAMESPACE = Path("/etc/machine-id"), Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


def remember() -> None:
    """Note that this process takes a lock; notes of processes that are gone are dropped."""
    with _alone():
        for note in _notes():
            if gone(read_json(note)):
                note.unlink()
        write_json(_own(), {"pid": os.getpid(), "born": born(os.getpid()), **place()})


def forget() -> None:
    """This process has given its lock back."""
    _own().unlink(missing_ok=True)


def _own() -> Path:
    return OWNERS / f"{os.getpid()}.json"


def _notes() -> list[Path]:
    return sorted(OWNERS.glob("*.json"))


def _alone() -> "FileLock":
    from filelock import FileLock

    OWNERS.mkdir(parents=True, exist_ok=True)
    return FileLock(OWNERS / "lock")


def place() -> dict[str, str | None]:
    """Where a process number means something."""

    def told(file: Path) -> str | None:
        try:
            text = str(file.readlink()) if file == NAMESPACE else file.read_text(encoding="ascii").strip()
        except OSError:
            return None
        return None if text in ("", "uninitialized") else text

    return {"host": platform.node() or None, "machine": told(MACHINE), "boot": told(BOOT), "namespace": told(NAMESPACE)}


def born(pid: int) -> str | None:
    """When a process began, in ticks since the boot, which no clock moves; None where none of that number lives."""
    try:
        text = Path("/proc", str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()
    return None if state == "Z" else fields[18]


def gone(owner: dict[str, Any]) -> bool:
    """Whether the process that a note names has certainly ended: on this machine, and not the one now of its number.

    Another boot of this machine ended it; what another machine or container runs cannot be seen from here.
    """
    here = place()
    if None in here.values() or any(owner[name] != here[name] for name in ("host", "machine")):
        return False
    if owner["boot"] != here["boot"]:
        return True
    return owner["namespace"] == here["namespace"] and owner["born"] != born(owner["pid"])


def main(words: list[str]) -> int:
    """Remove a stale lock by `snakemake --unlock`, which is told `words` (of the study's configuration)."""
    with _alone():
        locks = list(LOCKS.iterdir()) if LOCKS.is_dir() else []
        notes = _notes()
        if not locks or not notes or not all(gone(read_json(note)) for note in notes):
            return 0
        # A lock newer than every note is that of a snakemake that has not noted itself yet.
        if max(lock.stat().st_mtime for lock in locks) > max(note.stat().st_mtime for note in notes):
            return 0
        print("unlocking: the snakemake that worked here was killed; what it had begun is made again", flush=True)
        done = subprocess.run([Path(sys.executable).with_name("snakemake"), "--unlock", *words], capture_output=True)
        if done.returncode:
            sys.stderr.buffer.write(done.stderr)
            return done.returncode
        for note in notes:
            note.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
