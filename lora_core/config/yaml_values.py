"""The values of YAML that mean the same to every reader: what is wrong with the others, by their nodes."""

import json
import re
from collections.abc import Iterator

import yaml

from lora_core.config.errors import ConfigError
from lora_core.config.protocol import SafeLoader

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
_NUMBERS = (f"{_TAG}int", f"{_TAG}float", f"{_TAG}str")  # 08 is a text to YAML, and a number to Snakemake
_FIRST_LINE = r"line 1: | \(first in line 1\)"  # of an argument, which has no other


def size_errors(root: yaml.Node) -> list[str]:
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


def node_errors(root: yaml.Node) -> Iterator[str]:
    """Yield the errors of every value, in the order of the lines."""
    for node in _nodes(root):
        line = f"line {node.start_mark.line + 1}"
        if node.tag not in _TAGS:
            yield f"{line}: the tag {node.tag.replace(_TAG, '!!')!r} is not supported; only plain values are"
        elif isinstance(node, yaml.MappingNode):
            yield from _key_errors(node)
        elif isinstance(node, yaml.ScalarNode):
            yield from (f"{line}: {error}" for error in _scalar_errors(node))


def _nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield every node once, in the order of the lines."""
    waiting, seen = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        yield node
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


def argument_errors(value: str) -> Iterator[str]:
    """Yield the errors of a value: keys that it has twice, and numbers that programs read differently."""
    try:
        root = yaml.compose(value, SafeLoader)
    except (yaml.YAMLError, RecursionError):  # a text, to Snakemake
        return
    if root is None:
        return
    if too_large := size_errors(root):
        yield from too_large
        return
    for node in _nodes(root):
        if isinstance(node, yaml.MappingNode):
            yield from (re.sub(_FIRST_LINE, "", error) for error in _key_errors(node))
        elif isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS:  # yes is a text there
            yield from _scalar_errors(node)
