"""Sweeps: one entry of the configuration that stands for a method of each combination of values."""

import copy
import re
from collections.abc import Iterator
from itertools import product
from typing import Any


def expand(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with a sweep's methods in place of its entry; what is no sweep is left for the schema.

    Raises ValueError where a method of a sweep has the name of another entry.
    """
    settings, names = config.get("method_settings"), config.get("methods")
    if not isinstance(settings, dict) or not isinstance(names, list):
        return config
    groups = {
        name: list(_variants(name, entry)) if _is_sweep(entry) else [(name, entry)] for name, entry in settings.items()
    }
    made = [variant for group in groups.values() for variant in group]
    entries = [method for method, _ in made]
    if twice := sorted({name for name in entries if entries.count(name) > 1}):
        raise ValueError(f"method_settings: a sweep makes a method of the same name as another: {', '.join(twice)}")
    return config | {
        "method_settings": dict(made),
        "methods": [
            method
            for name in names
            for method, _ in (groups[name] if isinstance(name, str) and name in groups else [(name, None)])
        ],
    }


def _is_sweep(entry: Any) -> bool:
    sweep = entry.get("sweep") if isinstance(entry, dict) else None
    return isinstance(sweep, dict) and bool(sweep) and all(isinstance(v, list) and v for v in sweep.values())


def _variants(name: str, entry: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """`(method, its entry)` for each combination of values."""
    for values in product(*entry["sweep"].values()):
        swept = dict(zip(entry["sweep"], values, strict=True))
        made = copy.deepcopy({key: value for key, value in entry.items() if key != "sweep"})
        for path, value in swept.items():
            *parents, last = str(path).split(".")
            section = made
            for parent in parents:
                if not isinstance(section.get(parent), dict):
                    section[parent] = {}
                section = section[parent]
            section[last] = value
        method = "-".join([name, *(label(path, value) for path, value in swept.items())])
        yield method, made | {"swept": {"entry": name, "values": swept}}


def label(path: str, value: Any) -> str:
    """A value in the name of a method: `rank8`, or `query.value` of a list; `_` for what no file name may hold."""
    values = value if isinstance(value, list | tuple) else [f"{str(path).rpartition('.')[2]}{value}"]
    return re.sub(r"[^A-Za-z0-9._-]+", "_", ".".join(map(str, values)))
