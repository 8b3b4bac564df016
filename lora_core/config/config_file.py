"""Read a configuration file: YAML or JSON in which every value means the same to every reader.

Snakemake reads the same files by itself, and silently: of a key that is given twice it takes the last one, and by the
rules of YAML 1.1 it reads `010` as 8, `1:30` as 90 and `yes` as true. Such a file is refused here.
"""

import errno
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from lora_core.config.errors import ConfigError
from lora_core.config.protocol import SafeLoader
from lora_core.nearest import nearest
from lora_core.records import JsonObject

MAX_BYTES = 3_000_000
MAX_TEXT = 4_000  # characters of one value
MAX_DEPTH = 50
MAX_VALUES = 100_000  # each alias counts as everything that it stands for
TOO_MANY = f"{{}} values are too many for a configuration (at most {MAX_VALUES})"

_TAG = "tag:yaml.org,2002:"
_TYPES = ("bool", "float", "int", "map", "merge", "null", "seq", "str", "timestamp", "value")
_TAGS = {f"{_TAG}{name}" for name in _TYPES}
# How a plain value is written that YAML 1.1 and 1.2 read alike, by its type in YAML 1.1.
_UNAMBIGUOUS = {
    f"{_TAG}bool": re.compile("true|false", re.IGNORECASE),
    f"{_TAG}int": re.compile("[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+"),
    f"{_TAG}float": re.compile("[^_:]*"),
    f"{_TAG}str": re.compile("(?![-+]?0[0-9_]+$|0o[0-7]+$)(?s:.*)"),
    f"{_TAG}timestamp": re.compile("(?!)"),
    f"{_TAG}value": re.compile("(?!)"),
}
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
    _raise(file, _size_errors(root) or list(dict.fromkeys(_node_errors(root))))
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


def _size_errors(root: yaml.Node) -> list[str]:
    """The error of a file whose values are too many or too deep, which aliases can make of a few lines."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise ConfigError(f"values are nested more than {MAX_DEPTH} deep, or contain themselves")
        if id(node) not in sizes:
            sizes[id(node)] = 1 + sum(size(child, depth + 1) for child in _children(node))
        return sizes[id(node)]

    try:
        count = size(root, 0)
    except ConfigError as error:
        return [str(error)]
    if len(sizes) > MAX_VALUES:
        return [TOO_MANY.format(len(sizes))]
    return [f"aliases make {count} values of these lines (at most {MAX_VALUES})"] if count > MAX_VALUES else []


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _node_errors(root: yaml.Node) -> Iterator[str]:
    """Yield the errors of every value, in the order of the lines."""
    waiting, seen = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        line = f"line {node.start_mark.line + 1}"
        if node.tag not in _TAGS:
            yield f"{line}: the tag {node.tag.replace(_TAG, '!!')!r} is not supported; only plain values are"
        elif isinstance(node, yaml.MappingNode):
            yield from _key_errors(node)
        elif isinstance(node, yaml.ScalarNode):
            yield from (f"{line}: {error}" for error in _scalar_errors(node))
        for child in reversed(_children(node)):
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)


def _key_errors(node: yaml.MappingNode) -> Iterator[str]:
    first_lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            yield f"line {line}: a list or a mapping cannot be a key"
        elif key.value == "__use_yte__":
            yield f"line {line}: '__use_yte__' runs code from the configuration, which is not supported; remove it"
        elif (key.tag, key.value) in first_lines:
            first = first_lines[key.tag, key.value]
            yield f"line {line}: the key {key.value!r} is given twice (first in line {first}); remove one"
        first_lines.setdefault((key.tag, str(key.value)), line)


def _scalar_errors(node: yaml.ScalarNode) -> Iterator[str]:
    text = node.value
    if len(text) > MAX_TEXT:
        yield f"a value of {len(text)} characters is too long (at most {MAX_TEXT})"
    elif not node.style and (rule := _UNAMBIGUOUS.get(node.tag)) and not rule.fullmatch(text):
        plain, quoted = _plain(node), json.dumps(text, ensure_ascii=False)
        choice = f"write {plain} or {quoted}" if plain else f"write {quoted}"
        yield f"the unquoted value `{text}` is ambiguous, because programs read it differently; {choice}"


def _plain(node: yaml.ScalarNode) -> str | None:
    """How the value that Snakemake reads is written without doubt; None for a date, which is written as a text."""
    if node.tag == f"{_TAG}str":
        return str(int(node.value, 8) if node.value.startswith("0o") else int(node.value))
    try:
        value = SafeLoader("").construct_document(node)
    except (ValueError, yaml.YAMLError):  # such as a date in the month 13
        return None
    return json.dumps(value) if isinstance(value, bool | int | float) else None
