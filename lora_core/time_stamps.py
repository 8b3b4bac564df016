"""Files whose time stamps lie in the future: what is made from them would look older than they are.

They come from a clock that was set back, an archive that was unpacked in another time zone, or a file server with
another clock. Snakemake deletes what such an input was used for.
"""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

# How Snakemake dates a folder.
FOLDER_STAMP = ".snakemake_timestamp"


def correct_future(paths: Iterable[Path]) -> int:
    """Give files and folders that are dated in the future the present time; return how many there were.

    One that is missing or belongs to somebody else stays as it is.
    """
    now = time.time()
    corrected = 0
    for path in paths:
        for file in (path, path / FOLDER_STAMP):
            with suppress(OSError):
                if file.stat().st_mtime > now:
                    os.utime(file, (now, now))
                    corrected += 1
    return corrected


def tree(folder: Path) -> Iterator[Path]:
    """Every file and folder below a folder, without those that begin with a dot."""
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(path, name) for name in (*folders, *files))
