"""Read columns of a JSON Lines file: one object a line, whose values keep their types."""

import json
from pathlib import Path
from typing import Any

from lora_core.data.csv_file import Find
from lora_core.data.text_files import read_lines


def read_jsonl(file: Path, find: Find) -> dict[str, list[Any]]:
    """Return columns of a JSON Lines file (UTF-8); an empty line does not count.

    Line by line, because pyarrow and pandas turn texts that look like dates or numbers into such. Raise ValueError that
    names the file and the line for one that is not an object, lacks a column, has it twice, or holds half of a
    character.
    """
    columns: dict[str, list[Any]] = {}
    for number, line in enumerate(read_lines(file), 1):
        if not line.strip():
            continue
        place = f"{file}, line {number}"
        keys, values = _object(line, place)
        for name, position in find(keys, place).items():
            columns.setdefault(name, []).append(_whole(values[position], place))
    return columns or {name: [] for name in find([], str(file))}


def _object(line: str, place: str) -> tuple[list[str], list[Any]]:
    """The keys and values of the object on a line."""
    try:
        pairs = json.loads(line, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        cause = "too deep" if isinstance(error, RecursionError) else getattr(error, "msg", str(error).split(";")[0])
        raise ValueError(f"{place}: not a JSON object ({cause}); write one object a line") from error
    if not isinstance(pairs, tuple):  # which only an object becomes
        raise ValueError(f"{place}: expected a JSON object ({{...}}), got {_shortened(line.strip())}; write one a line")
    return [key for key, _ in pairs], [value for _, value in pairs]


def _shortened(line: str) -> str:
    return line if len(line) <= 30 else f"{line[:30]}..."


def _whole(value: Any, place: str) -> Any:
    """Refuse half of a character, which JSON can write as an escape and no tokenizer can read."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            half = value[error.start]
            raise ValueError(f"{place}: {half!r} is half of a character; write all of it, or leave it out") from error
    return value
