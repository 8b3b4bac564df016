"""A check that files to be published name no folder of the machine they come from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

WEIGHTS_SUFFIX = ".safetensors"  # their content is tensors


def check_no_private_paths(folder: Path, results: Path) -> None:
    """Raise ValueError if a text file of `folder` names the home folder, the working folder or the results folder.

    A JSON file must not have any other path that exists on this machine as a value either.
    """
    private = {path for path in (Path.home(), Path.cwd(), results.resolve()) if len(path.parts) > 1}
    for file in sorted(file for file in folder.iterdir() if file.suffix != WEIGHTS_SUFFIX):
        text = file.read_text(encoding="utf-8", errors="replace")
        found = [str(path) for path in private if f"{path}/" in text or f"{json.dumps(str(path))[1:-1]}/" in text]
        if file.suffix == ".json":
            found += [value for value in _texts(json.loads(text)) if _is_local(value, private)]
        if found:
            raise ValueError(
                f"nothing is uploaded, because {file.name} names {min(found)}, a path of this machine; remove it from "
                "the file's source, such as a name in the configuration"
            )


def _texts(value: object) -> Iterator[str]:
    """Yield every text that is a value inside of JSON; keys, such as the entries of a vocabulary, are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _is_local(value: str, private: set[Path]) -> bool:
    """Whether a value is the path of something on this machine; a token may look like the root folder."""
    if not value.startswith("/") or len(value) > 4096 or "\0" in value or len(Path(value).parts) < 2:
        return False
    try:
        return Path(value) in private or (len(Path(value).parts) > 2 and Path(value).exists())
    except OSError:
        return False
