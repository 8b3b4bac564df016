"""The configuration in a bundle: what names a folder of a machine keeps the folder's own name alone."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lora_core.data.local_files import file_format

if TYPE_CHECKING:
    from lora_core.records import JsonObject

ABSENT = "not-in-the-bundle"  # the folder of local data and models


def without_local_paths(config: JsonObject, *, resolve: bool = False) -> JsonObject:
    """Return the configuration without the names of folders: only the last part of each remains, in plain characters.

    `resolve` follows links, as the name of a model does; it is for paths of this machine alone.
    """
    for section in local_sections(config):
        names = ["path", *(["test"] if file_format(str(section.get("test"))) else [])]  # a test split may be a file
        for name in names:
            path = Path(section[name]).resolve() if resolve else PurePosixPath(section[name])
            plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.name)[:200]
            section[name] = f"{ABSENT}/{(plain.strip('.') and plain) or 'folder'}"
    return config


def local_sections(config: JsonObject) -> list[JsonObject]:
    """Return the sections that name a folder: the data, the model, and user-defined tasks."""
    tasks = config.get("task_settings")
    sections = [config.get("data"), config.get("model"), *(tasks.values() if isinstance(tasks, dict) else ())]
    return [s for s in sections if isinstance(s, dict) and _names_folder(s)]


def _names_folder(section: JsonObject) -> bool:
    return section.get("source", "local") == "local" and isinstance(section.get("path"), str)
