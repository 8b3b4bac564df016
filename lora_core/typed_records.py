"""JSON records as typed objects: a dataclass filled from the keys of a file, and one sentence for a damaged file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Filled = TypeVar("Filled", bound="DataclassInstance")


def fill(kind: type[Filled], content: Mapping[str, Any], /, **parsed: object) -> Filled:
    """Return an instance of a dataclass whose fields are keys of `content`, except for those already `parsed`.

    Other keys are ignored. Raise KeyError for a missing key.
    """
    names = [field.name for field in fields(kind) if field.name not in parsed]
    return kind(**{name: content[name] for name in names}, **parsed)


@contextmanager
def name_damaged_file(path: Path) -> Iterator[None]:
    """Raise ValueError that names the file if its content, which the block reads, lacks a key or has other values."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{path} is damaged (field {error} is missing); delete it and run again") from error
    except (AttributeError, TypeError, LookupError, ArithmeticError, ValueError, csv.Error) as error:
        if path.name in str(error):  # a sentence that names the file
            raise
        raise ValueError(f"{path} is damaged ({error}); delete it and run again") from error
