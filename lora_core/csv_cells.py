"""Texts in CSV files that a spreadsheet would run as formulas: they get an apostrophe, as spreadsheets write a text.

Texts such as a device's name come from outside. Numbers stay as they are, negative ones too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from lora_core.atomic_files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

Value = TypeVar("Value")
FORMULA = re.compile("'*\\s*[=+@\uff1d\uff0b\uff0d\uff20-]")  # also full-width characters
# A number, which may be followed by its spread or interval: nothing in it refers to a cell or calls a function.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?( ?%)?( [\[(±][\d\s.,;%±\[\]()+−-]*)?")


def as_text(value: Value) -> Value | str:
    """Return a value for a CSV file: a text that begins like a formula with an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def from_text(value: Value) -> Value | str:
    """Return the value that `as_text` was given."""
    return value[1:] if isinstance(value, str) and value.startswith("'") and _is_formula(value[1:]) else value


def _is_formula(text: str) -> bool:
    return bool(FORMULA.match(text)) and not NUMBER.fullmatch(text)


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame as CSV, with `as_text` of its texts; the file appears complete or not at all."""
    with atomic_file(path) as temp_path:
        map_texts(frame, as_text).to_csv(temp_path, index=False)


def read_frame(path: Path) -> pd.DataFrame:
    """Read a file of `write_frame`, or of plain rows: the package's one way into a frame.

    Since 3.1 pandas reads every number exactly as it was written.
    """
    import pandas as pd

    return map_texts(pd.read_csv(path), from_text)


def map_texts(frame: pd.DataFrame, function: Callable[[object], object]) -> pd.DataFrame:
    """Return a frame with `function` of every cell in its columns of texts."""
    names = frame.select_dtypes(exclude=["number", "bool"]).columns
    return frame.assign(**{str(name): frame[name].map(function) for name in names})
