"""Sweeps: one entry of the configuration becomes a method for each combination of values."""

import copy
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import Any

from lora_core.plain_text import shorten
from lora_core.records import JsonObject

MAX_COMBINATIONS = 1000
MAX_METHODS = 10_000  # of all sweeps together

Entry = Mapping[str, Any]  # an entry of `method_settings` as YAML reads it


def expand(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration with a sweep's methods in place of its entry.

    A malformed sweep is left unchanged, so that the schema reports it. Raise ValueError for too many combinations, and
    if a method of a sweep has the name of another entry.
    """
    entries, methods = config.get("method_settings"), config.get("methods")
    if not isinstance(entries, Mapping) or not isinstance(methods, list):
        return config
    counts = {name: prod(map(len, entry["sweep"].values())) for name, entry in entries.items() if _is_sweep(entry)}
    for name, count in counts.items():
        if count > MAX_COMBINATIONS:
            raise ValueError(
                f"method_settings.{name}.sweep: {count} combinations are too many (at most {MAX_COMBINATIONS})"
            )
    if (total := sum(counts.values())) > MAX_METHODS:
        raise ValueError(f"method_settings: {total} combinations of all sweeps are too many (at most {MAX_METHODS})")
    groups = {
        name: list(_variants(name, entry)) if _is_sweep(entry) else [(name, entry)] for name, entry in entries.items()
    }
    expanded = [variant for group in groups.values() for variant in group]
    if repeated := sorted(str(name) for name, count in Counter(name for name, _ in expanded).items() if count > 1):
        names = shorten(", ".join(repeated))
        raise ValueError(f"method_settings: a sweep makes a method of the same name as another: {names}")
    listed: list[Any] = []
    seen: set[str] = set()
    for name in methods:
        is_entry = isinstance(name, str) and name in groups
        # An entry that is listed twice, which is refused, is not expanded a second time.
        listed += [method for method, _ in groups[name][: 1 if name in seen else None]] if is_entry else [name]
        seen |= {name} if is_entry else set()
    return {**config, "method_settings": dict(expanded), "methods": listed}


def _is_sweep(entry: Any) -> bool:
    sweep = entry.get("sweep") if isinstance(entry, Mapping) else None
    return isinstance(sweep, Mapping) and bool(sweep) and all(isinstance(v, list) and v for v in sweep.values())


def _variants(name: str, entry: Entry) -> Iterator[tuple[str, Entry]]:
    """Yield the name and the entry of a method for each combination of values."""
    for values in product(*entry["sweep"].values()):
        combination = dict(zip(entry["sweep"], values, strict=True))
        variant = copy.deepcopy({key: value for key, value in entry.items() if key != "sweep"})
        for path, value in combination.items():
            _set(variant, str(path).split("."), value)
        method = "-".join([name, *(label(path, value) for path, value in combination.items())])
        yield method, variant | {"swept": {"entry": name, "values": combination}}


def _set(entry: JsonObject, path: list[str], value: Any) -> None:
    """Set a nested key."""
    *parents, last = path
    for parent in parents:
        if not isinstance(entry.get(parent), dict):
            entry[parent] = {}
        entry = entry[parent]
    entry[last] = value


def label(path: str, value: Any) -> str:
    """Return a value as a part of a method's name.

    That is `rank8`, or `query.value` of a list; characters that a file name should not have become `_`.
    """
    values = value if isinstance(value, list | tuple) else [f"{str(path).rpartition('.')[2]}{value}"]
    return re.sub(r"[^A-Za-z0-9._-]+", "_", ".".join(map(str, values)))
