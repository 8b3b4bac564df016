"""Processes: which one wrote a note, whether it or the parent of this one has ended, and a limit on its time."""

import hashlib
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

MACHINE_ID = Path("/etc/machine-id")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SHORT_SECONDS, LAST_SECONDS = 3, 0.3  # a short limit on processor time; what is left of it to say why a process ends
PID_NAMESPACE = Path("/proc/self/ns/pid")  # a container has separate process ids


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, named so that no other process is ever taken for it.

    Attributes:
        pid: The process id, which means something only together with the rest and may be used again.
        started: When the process started, in clock ticks since the boot: no change of the clock moves it.
        host: The host's name, hashed.
        machine: The machine's id, hashed.
        boot: The id of the machine's current boot.
        namespace: The namespace of the process id.

    Fields that the system does not report are None.
    """

    pid: int
    started: str | None
    host: str | None
    machine: str | None
    boot: str | None
    namespace: str | None


@dataclass(frozen=True)
class Place:
    """Where a process id means something: the fields of `ProcessIdentity` that all processes here share."""

    host: str | None
    machine: str | None
    boot: str | None
    namespace: str | None


def this_process() -> ProcessIdentity:
    """Return the identity of the process that calls."""
    return ProcessIdentity(pid=os.getpid(), started=start_time(os.getpid()), **vars(current_place()))


def current_place() -> Place:
    """Return where this process runs. Host and machine are hashed, so that a note does not name them."""
    try:
        namespace = str(PID_NAMESPACE.readlink())
    except OSError:
        namespace = None
    return Place(
        host=_hashed(platform.node()), machine=_hashed(_read(MACHINE_ID)), boot=_read(BOOT_ID), namespace=namespace
    )


def start_time(pid: int) -> str | None:
    """Return when a process started, in clock ticks since the boot; None if no such process is running."""
    try:
        text = Path("/proc", str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may contain anything; `state` is the third field of the line, the start time the 22nd.
    state, *fields = text.rpartition(")")[2].split()
    return None if state == "Z" else fields[18]


def has_ended(process: ProcessIdentity) -> bool:
    """Return whether a process has certainly ended.

    A reboot of this machine ended it. Processes of another machine or container cannot be seen from here: for them,
    and on a system that does not report where a process runs (one without /proc), the answer is False.
    """
    here = current_place()
    if None in vars(here).values() or (process.host, process.machine) != (here.host, here.machine):
        return False
    if process.boot != here.boot:
        return True
    return process.namespace == here.namespace and process.started != start_time(process.pid)


def wait_for_parent(program: str) -> bool:
    """Return True once the nearest process above this one that runs `program` has ended; False if there is none."""
    import psutil

    parent = None
    with suppress(psutil.Error):
        # Not the direct parent, which may be a shell that outlives the program.
        parents = psutil.Process().parents()
        parent = next((p for p in parents if program in [Path(word).name for word in p.cmdline()]), None)
    if parent is None:
        return False
    with suppress(psutil.Error):
        while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
    return True


def _read(file: Path) -> str | None:
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        return None
    return None if text in ("", "uninitialized") else text


def _hashed(text: str | None) -> str | None:
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else None


def on_processor_time_limit(handler: Callable[[int, Any], NoReturn]) -> None:
    """Call `handler` when a limit on this process's processor time (`ulimit -t`) is reached, before it is killed."""
    if not hasattr(signal, "SIGXCPU"):  # a system without such limits
        return
    import resource

    signal.signal(signal.SIGXCPU, handler)
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY:
        return
    # `ulimit -t` sets both limits, and at the hard one the system sends SIGKILL.
    if hard > SHORT_SECONDS:
        latest = hard - 2
        resource.setrlimit(resource.RLIMIT_CPU, (latest if soft < 0 else min(soft, latest), hard))
    else:  # limits are whole seconds
        signal.signal(signal.SIGPROF, lambda _, frame: handler(signal.SIGXCPU, frame))
        signal.setitimer(signal.ITIMER_PROF, max(0.01, hard - LAST_SECONDS - time.process_time()))


def stop_at_time_limit(signal_number: int, frame: Any) -> NoReturn:
    """End the process with a sentence, as a handler of `on_processor_time_limit`."""
    sys.exit("the limit on processor time is reached (ulimit -t): raise it and run the same command again")
