"""Checks of what surrounds a study: Python's flags, files that hide packages, and folders that must be writable.

Each raises ValueError with one sentence. They are fast enough for every call of Snakemake.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from importlib.machinery import PathFinder
from pathlib import Path

from lora_core.layout import Layout
from lora_core.plain_text import message

STATE = Path(".snakemake")  # Snakemake's own folder
TEST_BYTES = 1 << 14  # more than a file system keeps in an inode

ADVICE_BY_ERRNO = {
    errno.ENOSPC: "free some disk space",
    errno.EDQUOT: "free some disk space",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "make the folder writable",
    errno.EACCES: "make the folder writable",
    errno.EPERM: "make the folder writable",
    errno.ELOOP: "remove the symbolic link, which leads back to itself",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENOMEM: "free some memory",
}


def other_package() -> str | None:
    """Return a sentence if the current folder has a package of its own, as a copy of the project, and another one runs.

    Snakemake would run the folder's, so what is said about code that changed would not be about that.
    """
    here, runs = Path("lora_core"), Path(__file__).parents[1]
    if not (here / "__init__.py").is_file() or here.resolve() == runs.resolve():
        return None
    return (
        f"this folder has a lora_core of its own, but the one in {runs} runs; use the command that `make setup` "
        "installs here"
    )


def describe(error: Exception) -> str:
    """Return an error as one sentence; an operating system's has its file, its cause and, if known, what to do.

    What it quotes from files is `plain_text.message`.
    """
    if not isinstance(error, OSError):
        return message(str(error))
    reason = error.strerror or str(error) or type(error).__name__
    file = error.filename2 or error.filename
    advice = ADVICE_BY_ERRNO.get(error.errno or 0)
    return message((f"{file}: {reason}" if file else reason) + (f"; {advice}" if advice else ""))


def check_python() -> None:
    """Reject `python -OO`: transformers reads docstrings, which that strips."""
    if sys.flags.optimize >= 2:
        raise ValueError(
            "Python runs without docstrings (PYTHONOPTIMIZE=2 or python -OO), which transformers needs; unset "
            "PYTHONOPTIMIZE and run the same command again"
        )


def check_hidden_modules(repository: Path) -> None:
    """Reject a file such as random.py next to the package: jobs would import it in place of the module of that name."""
    elsewhere = [entry for entry in sys.path if entry and Path(entry).resolve() != repository.resolve()]
    packages = (file.parent for file in repository.glob("*/__init__.py") if file.parent.name != "lora_core")
    for path in sorted((*repository.glob("*.py"), *packages)):
        name = path.stem
        if name in sys.stdlib_module_names or name == "lora_core" or PathFinder.find_spec(name, elsewhere):
            raise ValueError(f"{path} hides the Python module {name!r} from every job; rename or move it")


def check_writable(folder: Path, purpose: str) -> None:
    """Reject a folder in which no file can be written. `purpose` begins the sentence; a missing folder is created."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix=".test-") as stream:
            stream.write(bytes(TEST_BYTES))
    except OSError as error:
        reason = "it is not a folder" if isinstance(error, FileExistsError) else error.strerror
        advice = ADVICE_BY_ERRNO.get(error.errno or 0, "move it away")
        raise ValueError(f"{purpose} {str(folder)!r} cannot be written ({reason}); {advice}") from None


def check_folders(results_dir: str, *, dry_run: bool) -> None:
    """Reject folders that Snakemake and jobs cannot write to; a dry run writes to none of them once they exist."""
    if not (dry_run and (STATE / "locks").is_dir()):
        check_writable(STATE, "Snakemake's folder")
    if dry_run:
        return
    check_writable(Path(results_dir), "results_dir:")
    check_writable(Path(results_dir, Layout.logs), "the folder of logs")
    temporary = Path(os.environ.get("TMPDIR", tempfile.gettempdir()))
    if temporary.is_dir():  # else Python takes another
        try:
            check_writable(temporary, "the folder for temporary files")
        except ValueError as error:
            raise ValueError(f"{error}, or set TMPDIR to another folder") from None
