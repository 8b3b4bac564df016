"""Snakemake's lock on the working directory, left by a process that was killed: removed only where that is certain.

Every snakemake notes itself in `.snakemake/owners` while it works. `python -m lora_core.unlock` (part of `make tables`)
removes a lock when all that took one are gone; otherwise the lock stays, and Snakemake says what it means.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from lora_core.records import read_json, write_json

OWNERS = Path(".snakemake", "owners")
LOCKS = Path(".snakemake", "locks")


def remember() -> None:
    """Note that this process takes a lock."""
    write_json(_own(), {"pid": os.getpid(), "created": psutil.Process().create_time(), "machine": _machine()})


def forget() -> None:
    """This process has given its lock back."""
    _own().unlink(missing_ok=True)


def _own() -> Path:
    return OWNERS / f"{os.getpid()}.json"


def _machine() -> list[str]:
    """Of this boot of this machine: its own number, and the boot's. Empty where the system tells neither."""
    found = []
    for file in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        with contextlib.suppress(OSError):
            found.append(Path(file).read_text(encoding="ascii").strip())
    return found


def gone(owner: dict[str, Any]) -> bool:
    """Whether the process that a note names has certainly ended: on this machine, and not the one now of its number.

    Another boot of this machine ended it; what another machine runs cannot be seen from here.
    """
    here = _machine()
    if len(here) < 2 or owner["machine"] != here:
        return len(here) == 2 and owner["machine"][:1] == here[:1]
    try:
        return abs(psutil.Process(owner["pid"]).create_time() - owner["created"]) > 1
    except psutil.NoSuchProcess:
        return True


def main(words: list[str]) -> int:
    """Remove a stale lock by `snakemake --unlock`, which is told `words` (of the study's configuration)."""
    notes = sorted(OWNERS.glob("*.json"))
    if not (LOCKS.is_dir() and any(LOCKS.iterdir())) or not notes:
        return 0
    owners = [read_json(note) for note in notes]
    if not all(map(gone, owners)):
        return 0
    print("unlocking: the snakemake that worked here was killed; what it had begun is made again", flush=True)
    for note in notes:
        note.unlink()
    done = subprocess.run([Path(sys.executable).with_name("snakemake"), "--unlock", *words], capture_output=True)
    if done.returncode:
        sys.stderr.buffer.write(done.stderr)
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
