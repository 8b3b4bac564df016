"""Values that the configuration refuses although they have the right type, or could be converted to it."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field

MAX_NUMBER = 2**32 - 1
MAX_DEPTH = 50
# A number written with a leading zero, which is octal to some programs.
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+(\.[0-9]*)?")


def _check_number(value: Any) -> Any:
    """Refuse what pydantic would convert to a number: true and false, and a text that may be octal."""
    if isinstance(value, bool):
        raise ValueError("true and false are not numbers")
    if isinstance(value, str) and _LEADING_ZERO.fullmatch(value.strip()):
        raise ValueError("write the number without a leading zero")
    return value


NUMBER = BeforeValidator(_check_number)
Seed = Annotated[int, Field(ge=0, le=MAX_NUMBER), NUMBER]
PositiveInt = Annotated[int, Field(gt=0), NUMBER]
NonNegativeInt = Annotated[int, Field(ge=0), NUMBER]
PositiveFloat = Annotated[float, Field(gt=0), NUMBER]
NonNegativeFloat = Annotated[float, Field(ge=0), NUMBER]


def checked(annotation: Any) -> Any:
    """Return the type of a field, with the check of numbers if it is one."""
    types = _types_in(annotation)
    return Annotated[annotation, NUMBER] if types & {int, float} and not types & {bool, str, Any} else annotation


def _types_in(annotation: Any) -> frozenset[Any]:
    parts = get_args(annotation)
    if not parts:
        return frozenset([annotation] if isinstance(annotation, type) or annotation is Any else [])
    return frozenset().union(*map(_types_in, parts))


def off_as_text(value: Any) -> Any:
    """Return "off" for what YAML reads in its place."""
    return "off" if value is False else value


def check_bounds(value: Any) -> None:
    """Raise ValueError for a number that is not finite or too large, which may be inside of lists and mappings.

    The message begins with the path of the key inside of `value`.
    """
    for path, message in _out_of_bounds(value, ()):
        raise ValueError(f"{'.'.join(path)}: {message}" if path else message)


def _out_of_bounds(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path and the error of each number that is out of bounds."""
    if len(path) > MAX_DEPTH:
        yield path[:1], f"values are nested more than {MAX_DEPTH} deep"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _out_of_bounds(inner, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from _out_of_bounds(inner, (*path, str(position)))
    elif isinstance(value, int) and abs(value) > MAX_NUMBER:
        yield path, f"a number of at most {MAX_NUMBER} is expected"
    elif _is_infinite(value):
        yield path, f"a finite number is expected, not {value}"


def _is_infinite(value: Any) -> bool:
    if isinstance(value, str):  # PEFT's configuration takes 1e400 as a number, which is a text to YAML
        try:
            return any(c.isdigit() for c in value) and math.isinf(float(value))
        except ValueError:
            return False
    return isinstance(value, float) and not math.isfinite(value)
