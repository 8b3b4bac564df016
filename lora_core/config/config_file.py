"""Read a configuration file: YAML or JSON in which every value means the same to every reader.

Snakemake reads the same files by itself, and silently: of a key that is given twice it takes the last one, and by the
rules of YAML 1.1 it reads `010` as 8, `1:30` as 90 and `yes` as true. Such a file is refused here.
"""

import errno
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from lora_core.config.errors import ConfigError
from lora_core.config.protocol import SafeLoader
from lora_core.config.yaml_values import MAX_VALUES, TOO_MANY, argument_errors, node_errors, size_errors
from lora_core.nearest import nearest
from lora_core.records import JsonObject

MAX_BYTES = 3_000_000

_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def read_config_file(file: Path) -> JsonObject:
    """Return the keys and values of a file.

    Raise ConfigError with every error in the file, one per line, and OSError if there is no such file.
    """
    text = _read_text(file)
    errors: list[str] = []
    try:
        content = json.loads(text, object_pairs_hook=lambda pairs: _unique(pairs, errors))
    except json.JSONDecodeError as error:
        if file.suffix == ".json":
            raise ConfigError(f"{file}: line {error.lineno}: not valid JSON ({error.msg})") from None
        return _read_yaml(file, text)
    except (ValueError, RecursionError):  # a number of thousands of digits; lists in lists in lists ...
        raise ConfigError(f"{file}: a number is too long, or values are nested too deeply") from None
    if not isinstance(content, dict):
        errors.append("expected keys and values, as in config.yaml")
    elif (count := _count(content)) > MAX_VALUES:
        errors.append(TOO_MANY.format(count))
    _raise(file, errors)
    return cast(JsonObject, content)


def read_config_files(files: Sequence[str | Path]) -> list[JsonObject]:
    """Return the content of each file. Raise ConfigError with the errors of all, and OSError if one does not exist."""
    contents: list[JsonObject] = []
    errors: list[str] = []
    for file in files:
        try:
            contents.append(read_config_file(Path(file)))
        except ConfigError as error:
            errors.append(str(error))
    if errors:
        raise ConfigError("\n".join(errors))
    return contents


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse what Snakemake's `--config key=value ...` reads silently in one of two ways, like the same in a file.

    Raise ConfigError with every error, one per line.
    """
    pairs = [argument.partition("=")[::2] for argument in arguments]
    repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    errors = [f"--config {key}: the key is given twice; remove one" for key in repeated]
    for key, value in pairs:
        errors += [f"--config {key}: {error}" for error in argument_errors(value)]
    if errors:
        raise ConfigError("\n".join(errors))


def _raise(file: Path, errors: Sequence[str]) -> None:
    if errors:
        raise ConfigError("\n".join(f"{file}: {error}" for error in errors))


def _read_text(file: Path) -> str:
    if file.is_symlink() and not file.exists():
        raise ConfigError(f"{file}: this link leads to {os.readlink(file)!r}, which does not exist")
    if not file.exists():
        raise FileNotFoundError(errno.ENOENT, f"{os.strerror(errno.ENOENT)}{_similar(file)}", str(file))
    size = file.stat().st_size
    if not file.is_file():
        kind = "a folder" if file.is_dir() else "a device or a pipe"
        raise ConfigError(f"{file}: this is {kind}; name a file, which can be read more than once")
    if size > MAX_BYTES:
        raise ConfigError(f"{file}: {size} bytes are too many for a configuration (at most {MAX_BYTES})")
    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}: line {line}: this is not UTF-8; save the file as UTF-8") from None
    if control := _CONTROL_CHARACTER.search(text):
        line = text.count("\n", 0, control.start()) + 1
        raise ConfigError(f"{file}: line {line}: the control character {control[0]!r} is not allowed; remove it")
    return text


def _similar(file: Path) -> str:
    """The end of a sentence about a file that does not exist: the nearest study in its folder and in config/."""
    names = sorted({str(other) for folder in (file.parent, Path("config")) for other in folder.glob("*.yaml")})
    by_stem = [name for name in names if Path(name).stem == file.stem]
    return nearest(str(file), by_stem or names, cutoff=0 if by_stem else 0.5) if names else ""


def _unique(pairs: list[tuple[str, Any]], errors: list[str]) -> JsonObject:
    """An object of JSON; keys that it has twice are added to `errors`."""
    errors += [f"the key {k!r} is given twice" for k, count in Counter(name for name, _ in pairs).items() if count > 1]
    return dict(pairs)


def _count(content: Any) -> int:
    """How many values, keys included, there are in what JSON holds."""
    count, waiting = 0, [content]
    while waiting:
        value = waiting.pop()
        count += 1
        if isinstance(value, dict):
            count += len(value)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return count


def _read_yaml(file: Path, text: str) -> JsonObject:
    try:
        root = yaml.compose(text, SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{file}: {_syntax_error(error, text)}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid YAML or JSON ({' '.join(str(error).split())})") from None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{file}: expected keys and values, as in config.yaml")
    _raise(file, size_errors(root) or list(dict.fromkeys(node_errors(root))))
    try:
        return SafeLoader("").construct_document(root)
    except yaml.MarkedYAMLError as error:  # such as !!int x
        raise ConfigError(f"{file}: {_syntax_error(error, text)}") from None
    except ValueError as error:
        raise ConfigError(f"{file}: not valid YAML or JSON ({error})") from None


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return f"not valid YAML or JSON ({error.problem})"
    line = text.splitlines()[mark.line] if mark.line < len(text.splitlines()) else ""
    has_tab = "\t" in line[: len(line) - len(line.lstrip())]
    advice = "; indent with spaces, not tabs" if has_tab else ""
    return f"not valid YAML or JSON (line {mark.line + 1}: {error.problem}{advice})"
