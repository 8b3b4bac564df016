"""Local paths in texts that may be shared: those that name a user or a machine are shortened."""

import os
import re
import sys
from contextlib import suppress
from pathlib import Path

from lora_core.atomic_files import atomic_file


def shorten_paths(text: str) -> str:
    """Return a text in which the working directory, the home folder and those of Python have short names."""
    places = {sys.prefix: "ENVIRONMENT", sys.base_prefix: "PYTHON"}
    with suppress(OSError):  # the working directory may be gone
        places = {os.getcwd(): ".", **places}
    with suppress(RuntimeError):  # there may be no home
        places |= {str(Path.home()): "~"}
    for place, short in places.items():
        if len(place) > 1:
            text = re.sub(re.escape(place) + r"(?![\w.-])", short, text)
    return text


def shorten_paths_in(file: Path) -> None:
    """Shorten local paths in a log, since results may be shared; not where the file cannot be replaced."""
    with suppress(OSError):
        text = file.read_text(encoding="utf-8", errors="replace")
        with atomic_file(file, sync=False) as temp_path:
            temp_path.write_text(shorten_paths(text), encoding="utf-8")
