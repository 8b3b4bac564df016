"""Errors of a configuration: one sentence each, with the path of the key and the nearest valid name."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lora_core.nearest import nearest
from lora_core.plain_text import shorten

# The discriminated sections: pydantic puts the name of the chosen variant into an error's path, right after this many
# keys. The variant is chosen by the second.
_VARIANT_POSITION = {"model": 1, "data": 1, "method_settings": 2}
_VARIANT_KEY = {"model": "source", "data": "source", "method_settings": "kind"}

# The errors of pydantic that suggest the nearest name, which takes time.
UNKNOWN = ("extra_forbidden", "union_tag_invalid", "literal_error")
Location = Sequence[str]  # of a key, as pydantic gives it


class ConfigError(ValueError):
    """The errors of a configuration, one per line."""


def is_consequence(error: Any) -> bool:
    """Whether an error of pydantic only follows from others: a list is empty because its entries are refused."""
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


def sentence(error: Any, known: Sequence[Location]) -> str:
    """Return one error of pydantic as one sentence that begins with the path of the key.

    `known` are the locations of all keys, from which an error about an unknown key suggests one.
    """
    location = [str(part) for part in error["loc"]]
    given = f"(given: {shorten(repr(error.get('input')))})"
    path = ".".join(shorten(part) for part in _path(location) if part != "[key]")
    match error["type"]:
        case "extra_forbidden":
            return f"{path}: unknown key{_suggestion(location, known)}"
        case "missing":
            return f"{path}: this key is missing"
        case "union_tag_invalid":
            expected = error["ctx"]["expected_tags"].replace("'", "").split(", ")
            tag, key = error["ctx"]["tag"], error["ctx"]["discriminator"].strip("'")
            return f"{path}.{key}: unknown {shorten(repr(tag))}{nearest(tag, expected)}"
        case "union_tag_not_found":
            return f"{path}: the key {error['ctx']['discriminator']} is missing"
        case "literal_error":
            expected = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            value = str(error["input"])
            return f"{path}: unknown value {shorten(repr(error['input']))}{nearest(value, expected)}"
        case kind if expected := _expected_type(kind, location, error["input"]):
            return f"{path}: {expected} {given}"
        case "value_error" if re.match(r"[\w.]+: ", message := str(error["ctx"]["error"])):
            return f"{path}.{message}"  # a check of a whole section names the key at fault
        case "value_error":
            return f"{path}: {error['ctx']['error']} {given}"
    return f"{path}: {error['msg'][0].lower()}{error['msg'][1:]} {given}"


def _expected_type(kind: str, location: Location, value: object) -> str | None:
    """What a list, a section or a text is written like, for an error about a value of another type."""
    if kind in ("tuple_type", "list_type"):
        return f"a list is expected, such as {_example(location, value)}"
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return "keys and values are expected, as in config.yaml"
    if kind == "string_type" and isinstance(value, bool):
        word, meaning = ("yes", "true") if value else ("no", "false")
        return f'a text is expected, and YAML reads the unquoted value {word} as {meaning}; write "{word}" in quotes'
    if kind == "string_type" and isinstance(value, int | float):
        return "a text is expected; put it in quotes"
    return None


def _example(location: Location, value: object) -> str:
    """A list as it is written in place of a single value."""
    if location[-1] == "seeds":
        return "[1, 2, 3]"
    return f"[{shorten(value)}]" if isinstance(value, str) else "[first, second]"


def key_locations(schema: Mapping[str, Any]) -> Iterator[Location]:
    """Yield the location of every key of a JSON schema; a name that the user chooses is written {method} or {task}."""

    def locations(node: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[Location]:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        for name, child in node.get("properties", {}).items():
            yield (*above, name)
            yield from locations(child, (*above, name))
        for variant, reference in node.get("discriminator", {}).get("mapping", {}).items():
            yield from locations({"$ref": reference}, (*above, variant))
        for child in (*node.get("patternProperties", {}).values(), node.get("additionalProperties")):
            if isinstance(child, Mapping):
                yield from locations(child, (*above, f"{{{above[-1].partition('_')[0]}}}"))

    return locations(schema, ())


def _suggestion(location: Location, known: Sequence[Location]) -> str:
    """The end of a sentence about an unknown key: a similar key of the same section, or where it has its place."""
    *section, key = location
    siblings = sorted(other[-1] for other in known if _fits(other[:-1], section))
    if difflib.get_close_matches(key, siblings, cutoff=0.8):
        return nearest(key, siblings)
    if owners := _variants_with(_path(location), location[0], known):
        return owners
    elsewhere: dict[str, str] = {}
    end = _VARIANT_POSITION.get(location[0], 0) + 1
    for other in sorted(known, key=len):  # of keys with the same name, the first of the shortest paths stays
        if other[0] != location[0]:
            elsewhere.setdefault(other[-1], ".".join(_path(other)))
        elif _fits(other[:end], location[:end]):
            elsewhere.setdefault(other[-1], ".".join(_path(other)).replace("{method}", location[1]))
    if key in elsewhere:
        return f"; its place is {elsewhere[key]!r}"
    if close := difflib.get_close_matches(key, elsewhere, n=1, cutoff=0.8):
        return f"; did you mean {elsewhere[close[0]]!r}?"
    above = [part for part in _path(location)[:-2] if location[0] in _VARIANT_KEY]
    return _variants_with([*above, key], location[0], known) or nearest(key, siblings)


def _variants_with(path: Location, section: str, known: Sequence[Location]) -> str:
    """Say which variants of a section have the key of this path; empty if none has it."""
    position = _VARIANT_POSITION.get(section, 0)
    owners = sorted({other[position] for other in known if position and _fits(_path(other), path)})
    return f"; only {_VARIANT_KEY[section]} {' or '.join(owners)} has it" if owners else ""


def _path(location: Location) -> Location:
    """The path of a key as the configuration has it."""
    variant = _VARIANT_POSITION.get(location[0])
    return [part for position, part in enumerate(location) if position != variant]


def _fits(known: Location, location: Location) -> bool:
    """Whether two locations are the same, where {method} and {task} stand for any name."""
    return len(known) == len(location) and all(
        part == name or part.startswith("{") for part, name in zip(known, location, strict=True)
    )
