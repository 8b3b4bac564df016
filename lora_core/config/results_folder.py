"""Which folder may hold results: one of its own, not the project's, the user's, the system's or the data's."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from lora_core.plain_text import shorten
from lora_core.provenance import ROOT

# The project's own folders, next to which results may lie.
PROJECT_FOLDERS = frozenset(
    {
        *(".ci", ".git", ".github", ".snakemake", ".venv"),
        *("bench", "build", "config", "dist", "docs", "envs", "examples", "findings", "lora_core", "paper", "profiles"),
        *("site", "tests", "workflow"),
    }
)
# The system's folders, with all that is in them except what lies in USER_FOLDERS.
SYSTEM_FOLDERS = re.compile(r"/(bin|boot|dev|etc|lib(x?\d+)?|proc|sbin|sys|usr)(/|$)", re.IGNORECASE)
USER_FOLDERS = ("/dev/shm/", "/usr/local/")
# Those of which only the folders in them may be a user's.
SHARED_FOLDERS = frozenset(
    {
        *("/home", "/opt", "/root", "/run", "/tmp", "/var"),
        *("/var/cache", "/var/lib", "/var/local", "/var/lock", "/var/log", "/var/mail", "/var/opt", "/var/run"),
        *("/var/spool", "/var/tmp"),
    }
)
MADE_FOLDERS = (".egg-info", ".dist-info", "__pycache__")  # that tools make and remove
MAX_COMPONENT, MAX_PATH = 255, 4096  # bytes, on Linux
LONGEST_BELOW = 500  # the longest path below a results folder, with names of 100 characters


def normal_path(folder: str) -> str:
    """Return the one way to write a folder. Raise ValueError if it has '..', which may lead anywhere."""
    if ".." in Path(folder).parts:
        raise ValueError("'..' is not supported; write the whole path, or one below the working directory")
    return os.path.normpath(folder)


def folder_errors(folder: str, sources: Mapping[str, str]) -> Iterator[str]:
    """Yield why a folder cannot hold results; `sources` are the folders that are read, by their keys."""
    real = Path(os.path.realpath(folder))
    name = f"results_dir: {shorten(repr(folder))}"
    if reason := _owner(Path(os.path.abspath(folder))) or _owner(real):
        yield f"{name} {reason}; name a folder for results alone"
    elif _too_long(real):
        yield f"{name} is too long for the file system; choose a shorter path"
    elif reason := obstacle(folder):
        yield f"results_dir: {reason}"
    for key, source in sources.items():
        read = Path(os.path.realpath(source))
        if _is_below(read, real):
            yield f"{name} holds what {key} names; name a folder for results alone"
        elif _is_below(real, read):
            yield f"{name} lies in the folder that {key} names; name a folder for results alone"


def obstacle(folder: str | Path) -> str | None:
    """Return what is in the way of a folder: a file, a link to nothing or a link to itself; None if nothing is."""
    # The folders above it too: results/paper cannot be made where `results` is a file.
    for path in reversed((Path(folder), *Path(folder).parents)):
        if not os.path.lexists(path):
            return None
        if path.is_symlink() and not path.is_dir():
            target = shorten(repr(os.readlink(path)))
            return (
                f"{shorten(repr(str(path)))} is a link to {target}, which is no folder; create that folder (is a disk "
                "not mounted?), or remove the link"
            )
        if not path.is_dir():
            return f"{shorten(repr(str(path)))} is not a folder; move it away, or name another one"
    return None


def _owner(path: Path) -> str | None:
    """Whose folder it is, if not that of results."""
    home = Path(os.path.realpath(os.path.expanduser("~")))
    if path == Path(path.anchor):
        return "is the whole file system"
    for base in dict.fromkeys((Path.cwd(), ROOT)):
        if _is_below(base, path):
            return "is the folder of the project, or holds it"
        if _is_below(path, base) and path.relative_to(base).parts[0].casefold() in PROJECT_FOLDERS:
            return "belongs to the project itself"
    if path.name.casefold().endswith(MADE_FOLDERS):
        return "is a folder that Python's tools make and remove"
    is_system = SYSTEM_FOLDERS.match(str(path)) and not str(path).startswith(USER_FOLDERS)
    if (is_system or str(path) in SHARED_FOLDERS) and not _is_below(path, Path.cwd()):
        return "is a folder of the system"
    if _is_below(home, path):
        return "is the home directory, or holds it"
    return None


def _is_below(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or lies in it."""
    return path == folder or folder in path.parents


def _too_long(real: Path) -> bool:
    parts = [len(os.fsencode(part)) for part in real.parts]
    return max(parts) > MAX_COMPONENT or len(os.fsencode(real)) > MAX_PATH - LONGEST_BELOW
