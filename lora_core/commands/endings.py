"""How a command ends: with its status, or with one sentence on standard error about what went wrong."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

from lora_core.commands.environment import check_python, describe
from lora_core.plain_text import message

if TYPE_CHECKING:
    from collections.abc import Callable


def end_status(command: Callable[[], int | None]) -> int:
    """Run a command and return its exit status. An error is one sentence, but for a defect of this package itself."""
    import zipfile

    if sys.stdout is None:  # closed: what is opened next would take its place
        return _fail("standard output is closed; run the command with one, as with >/dev/null")
    if isinstance(sys.stdout, TextIOWrapper):  # whose encoding may lack characters of names and labels
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        check_python()
        status = command() or 0
        sys.stdout.flush()  # here, so that an error is reported
        return status
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # the program that read the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError as error:
        return _fail(f"out of memory ({error}); free some" if str(error) else "out of memory; free some")
    except ImportError as error:
        if str(error.name).startswith("lora_core"):
            raise
        return _fail(_of_import(error))
    except UnicodeEncodeError as error:
        character = error.object[error.start]
        return _fail(
            f"the locale has no character {character!r}, which is in a name or a path: run the command with UTF-8, as "
            "with LC_ALL=C.UTF-8"
        )
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        return _fail(describe(error))


def _fail(text: str, status: int = 1) -> int:
    print(message(text), file=sys.stderr)
    return status


def _of_import(error: ImportError) -> str:
    if isinstance(error, ModuleNotFoundError):
        return (
            f"the workflow's packages are missing ({error}): install them with `make setup` in the repository, or with "
            "`pip install 'lora-core[workflow] @ git+URL-OF-THE-REPOSITORY@TAG'`"
        )
    return (
        f"a package cannot be loaded ({error}): free some memory or raise the limit on it (ulimit -v), or install the "
        "packages again with `make setup`"
    )
