"""What differs between a record and what a configuration asks for, as texts that name both values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lora_core.records import JsonObject

SETTINGS_DIFFER = "settings differ"  # how the reason begins
LIMITS = (
    *("max_train_examples", "max_validation_examples"),
    *("validation_fraction", "split_seed", "test", "test_fraction"),
)
COMPLETE = ("config",)  # mappings that the user fills: there, a key that is missing is a difference


def differences(recorded: Mapping[str, Any], expected: Mapping[str, Any], *, complete: bool = False) -> Iterator[str]:
    """Name what has another value than expected, with both values.

    A key of only one side belongs to another version of this project and is left out, unless the mapping is `complete`.
    """
    for name in {**expected, **recorded} if complete else expected:
        before, after = recorded.get(name), expected.get(name)
        if before == after or not (complete or name in recorded):
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from differences(before, after, complete=complete or name in COMPLETE)
        else:
            yield f"{name} {_text(before)} -> {_text(after)}"


def changed_limits(recorded: Mapping[str, Any] | None, expected: Mapping[str, Any]) -> list[str]:
    """Name limits on examples, and a split by a fraction, that are missing on one side: there is none there."""
    if recorded is None:
        return []
    before, after = recorded["source"], expected["source"]
    names = [name for name in LIMITS if (name in before) != (name in after)]
    return [f"{name} {_text(before.get(name))} -> {_text(after.get(name))}" for name in names]


def file_digests(files: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of a record's files, by their names."""
    return {name: entry["sha256"] if isinstance(entry, Mapping) else str(entry) for name, entry in files.items()}


def files_differ(recorded: Mapping[str, Any] | None, current: Mapping[str, Any] | None) -> bool:
    """Return whether a file that both sides know has two digests."""
    if not recorded or not current:
        return False
    digests = file_digests(current)
    return any(digests.get(name, digest) != digest for name, digest in recorded.items())


def plain(values: Mapping[str, Any]) -> JsonObject:
    """Return values as a JSON file has them."""
    return json.loads(json.dumps(values))


def _text(value: object) -> str:
    return "none" if value is None else json.dumps(value) if isinstance(value, list | bool) else str(value)
