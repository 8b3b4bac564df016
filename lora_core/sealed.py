"""Records that carry a digest of their own content, so that an edit is noticed wherever they are read.

The digest of a record that does not say what it is of, such as the scores of a task, also covers its place in the
results folder (`lora_core.layout.place`), so that the file of another task is noticed, too. The digest guards against
accidents and hand edits, not against somebody who computes it again.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SEAL = "content_sha256"  # the key of a JSON record, and the last column of a CSV file, with the digest of all others


def seal(record: Mapping[str, Any], place: str | None = None) -> dict[str, Any]:
    """Return a JSON record with its digest, which covers the record's place if it is given."""
    content = json.loads(json.dumps(record, allow_nan=False))
    return {**record, SEAL: digest(content, place)}


def unseal(
    record: Mapping[str, Any],
    path: Path,
    remedy: str = "delete it and run again",
    *,
    place: str | None = None,
    always_sealed: bool = False,
) -> dict[str, Any]:
    """Return a record that was read from `path` without its digest.

    One that has no digest is accepted if the first version of the project wrote it, which named no `format`; with
    `always_sealed`, that version had no such record. A digest that does not cover `place` is older and accepted. Raise
    ValueError that names the file if its content was changed after it was written, or belongs in another place.
    """
    content = {name: value for name, value in record.items() if name != SEAL}
    if SEAL not in record:
        if always_sealed or record.get("format", 1) != 1:
            raise ValueError(f"{path} was edited after it was written (its {SEAL} is missing); {remedy}")
    elif record[SEAL] not in digests(content, place):
        raise ValueError(f"{path} {edited(place)}; {remedy}")
    return content


def digests(content: object, place: str | None) -> tuple[str, ...]:
    """Return the digests that a file's content may have: with its place, and the older one without."""
    return (digest(content),) if place is None else (digest(content, place), digest(content))


def edited(place: str | None) -> str:
    """Return in words what is wrong with a file that does not match its digest."""
    other = "" if place is None else ", or is the file of another task or method"
    return f"was edited after it was written{other} (its content does not match its {SEAL})"


def digest(content: object, place: str | None = None) -> str:
    """Return the SHA-256 digest of what JSON can hold, whatever the order of keys, and of its place."""
    covered = content if place is None else {"place": place, "content": content}
    return hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()
