"""Regular expressions in a configuration of PEFT, tried before they are used.

PEFT matches them with the names of a model's modules, and some of them ((a+)+b) would keep Python busy forever. The
trial is a process of its own, because Python cannot interrupt a match in the same one. PEFT does not say which
field has a text that is not a regular expression, so that is checked as well.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

LIMIT_SECONDS = 10.0
# The fields of PEFT's configurations that hold names or patterns of modules.
_FIELDS = re.compile("layers|modules|parameters|pattern")
_PLAIN = re.compile(r"[\w.\\^$-]*")
# Match as PEFT does, and say before each pattern which one it is. A plain name need not be a regular expression.
_PROGRAM = r"""
import json, re, sys
patterns, names = json.load(sys.stdin)
for number, pattern in enumerate(patterns):
    print(number, flush=True)
    for form in ("%s", r"(.*\.)?(%s)$", r"(^|.*\.)%s($|\..*)", r"(?:^|.*?\.)%s\.(?P<idx>\d+)\."):
        try:
            for name in names:
                re.fullmatch(form % pattern, name), re.match(form % pattern, name)
        except (re.error, OverflowError, RecursionError):
            pass
"""


def check_patterns(fields: Mapping[str, Any], model: nn.Module) -> None:
    """Raise ValueError for what is no regular expression, and for one that takes too long to match the module names."""
    check_syntax(fields)
    patterns = list(dict.fromkeys(_patterns(fields)))
    if not patterns:
        return
    names = [name for name, _ in [*model.named_modules(), *model.named_parameters()]]
    trial = json.dumps([[pattern for _, pattern in patterns], names])
    try:
        command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
        subprocess.run(command, input=trial.encode(), capture_output=True, timeout=LIMIT_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        key, pattern = patterns[len((error.stdout or b"0").split()) - 1]
        raise ValueError(
            f"{key}: the pattern {pattern[:100]!r} takes more than {LIMIT_SECONDS:g} s to match the names of the "
            "model's modules; write a simpler one, or a list of names"
        ) from None


def check_syntax(fields: Mapping[str, Any]) -> None:
    """Raise ValueError for a text that PEFT takes for a regular expression and that is none."""
    for key, value in fields.items():
        is_pattern = key.endswith("_pattern") or key == "layers_pattern" or isinstance(value, str)
        for text in _texts(value) if _FIELDS.search(key) and is_pattern else ():
            try:
                re.compile(text)
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"{key}: {text[:100]!r} is no regular expression ({error})") from None


def _texts(value: Any) -> list[str]:
    """The texts that a field holds: its own, those of a list, or the keys of a mapping."""
    values = [value] if isinstance(value, str) else value if isinstance(value, Mapping | list) else []
    return [text for text in values if isinstance(text, str)]


def _patterns(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each regular expression with the field that holds it."""
    for key, value in fields.items():
        if _FIELDS.search(key):
            yield from ((key, text) for text in _texts(value) if not _PLAIN.fullmatch(text))
