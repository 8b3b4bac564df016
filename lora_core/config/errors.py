"""Errors of a configuration: one sentence each, with the path of the key and the nearest valid name."""

import difflib
import re
from collections.abc import Collection, Iterable
from typing import Any

# The discriminated sections: pydantic puts the name of the chosen variant into an error's path, right after this many
# keys.
_VARIANT_POSITION = {"model": 1, "data": 1, "method_settings": 2}


class ConfigError(ValueError):
    """The errors of a configuration, one per line."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return the end of an error message: the nearest valid name, or all of them."""
    names = list(map(str, valid))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; valid: {', '.join(names)}"


def sentence(error: Any, known_keys: Collection[str]) -> str:
    """Return one error of pydantic as one sentence that begins with the path of the key.

    `known_keys` are all keys of the configuration, and an error about an unknown key suggests the nearest.
    """
    location = [str(part) for part in error["loc"]]
    value = error.get("input")
    variant = _VARIANT_POSITION.get(location[0])
    path = ".".join(part for position, part in enumerate(location) if position != variant)
    match error["type"]:
        case "extra_forbidden":
            return f"{path}: unknown key{nearest(location[-1], sorted(known_keys))}"
        case "missing":
            return f"{path}: this key is missing"
        case "union_tag_invalid":
            expected = error["ctx"]["expected_tags"].replace("'", "").split(", ")
            tag = error["ctx"]["tag"]
            return f"{path}.{error['ctx']['discriminator'].strip(chr(39))}: unknown {tag!r}{nearest(tag, expected)}"
        case "union_tag_not_found":
            return f"{path}: the key {error['ctx']['discriminator']} is missing"
        case "literal_error":
            expected = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            return f"{path}: unknown value {value!r}{nearest(str(value), expected)}"
        case "value_error" if re.match(r"[\w.]+: ", message := str(error["ctx"]["error"])):
            return f"{path}.{message}"  # a check of a whole section names the key at fault
        case "value_error":
            return f"{path}: {error['ctx']['error']} (given: {value!r})"
    return f"{path}: {error['msg'][0].lower()}{error['msg'][1:]} (given: {value!r})"
