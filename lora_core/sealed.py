"""Records that carry a digest of their own content, so that an edit is noticed wherever they are read.

The digest guards against accidents and hand edits, not against somebody who computes it again.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SEAL = "content_sha256"  # the key of a JSON record, and the last column of a CSV file, with the digest of all others


def seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON record with its digest."""
    content = json.loads(json.dumps(record, allow_nan=False))
    return {**record, SEAL: digest(content)}


def unseal(record: Mapping[str, Any], path: Path, remedy: str = "delete it and run again") -> dict[str, Any]:
    """Return a record that was read from `path` without its digest; one that has none is older and accepted.

    Raise ValueError that names the file if its content was changed after it was written.
    """
    content = {name: value for name, value in record.items() if name != SEAL}
    if SEAL in record and digest(content) != record[SEAL]:
        raise ValueError(f"{path} was edited after it was written (its content does not match its {SEAL}); {remedy}")
    return content


def digest(content: object) -> str:
    """Return the SHA-256 digest of what JSON can hold, whatever the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
