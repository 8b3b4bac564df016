"""A digest of what code does: a stage's script and every module of this package that it imports.

Rules carry the digest as a parameter, so that a change in code reruns the stages that use it and no others. It is taken
from the syntax tree: comments, formatting, docstrings, type-checking imports and the messages of `raise` statements do
not count. Parsing the whole package takes half a second, so results are kept in a cache file by the sha256 of a source.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "lora_core"
ROOT = Path(__file__).resolve().parent.parent
VERSION = f"python {sys.version_info.major}.{sys.version_info.minor}"
# Read by the module of the same name, such as the template and the style of the report's page.
RESOURCE_SUFFIXES = (".html", ".css", ".js")
CACHE = Path(".snakemake", "lora_core_digests.json")


@dataclass(frozen=True)
class Source:
    """What counts of one Python file: a digest of its code, and the modules of the package that it imports."""

    code: str
    imports: tuple[str, ...]


class CodeDigests:
    """Digests of stages, computed from the package below `root`; parsed files are kept in the file `cache`, if given."""

    def __init__(self, root: Path = ROOT, cache: Path | None = None) -> None:
        self._root = root
        self._cache = cache
        self._cached = _read_cache(cache)
        self._used: dict[str, Source] = {}
        self._files: dict[Path, Source] = {}

    def digest(self, script: Path, *modules: str) -> str:
        """The digest of a script, of `modules`, and of everything that they import from the package."""
        digest = hashlib.sha256(self._source(script).code.encode())
        for file in sorted(self.closure(script, *modules)):
            content = self._source(file).code.encode() if file.suffix == ".py" else file.read_bytes()
            digest.update(b"\0".join((file.relative_to(self._root).as_posix().encode(), content, b"")))
        return digest.hexdigest()[:16]

    def closure(self, script: Path, *modules: str) -> set[Path]:
        """The files of the package that a script and `modules` use, directly or not, without the script itself."""
        files: set[Path] = set()
        waiting = [*self._source(script).imports, *_with_parents(modules)]
        while waiting:
            file = self.module_file(waiting.pop())
            if file is not None and file not in files:
                files |= {file, *(p for s in RESOURCE_SUFFIXES if (p := file.with_suffix(s)).is_file())}
                waiting += self._source(file).imports
        return files

    def module_file(self, module: str) -> Path | None:
        """The file of a module or of a package's `__init__`; None where there is none."""
        path = self._root.joinpath(*module.split("."))
        return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)

    def save(self) -> None:
        """Write the cache where a file was parsed that was not in it; a folder that cannot be written has none."""
        if self._cache is None or self._used.keys() <= self._cached.keys():
            return
        sources = {key: {"code": s.code, "imports": s.imports} for key, s in self._used.items()}
        temp_path = self._cache.with_name(f".{self._cache.name}.{os.getpid()}.part")
        with suppress(OSError):
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            temp_path.write_text(json.dumps({"version": VERSION, "sources": sources}), encoding="utf-8")
            temp_path.replace(self._cache)

    def _source(self, file: Path) -> Source:
        if file not in self._files:
            content = file.read_bytes()
            key = hashlib.sha256(content).hexdigest()
            self._files[file] = self._used[key] = self._cached.get(key) or read_source(content)
        return self._files[file]


def code_digest(script: Path, *modules: str) -> str:
    """Return the digest of a script or module file, with the cache that snakemake has written in the working directory."""
    return CodeDigests(cache=CACHE).digest(script, *modules)


def _read_cache(file: Path | None) -> dict[str, Source]:
    """The parsed sources by sha256; none where the file is missing, damaged or of another Python."""
    try:
        content = json.loads(file.read_text(encoding="utf-8")) if file else {}
        if content.get("version") != VERSION:
            return {}
        return {key: Source(str(s["code"]), tuple(map(str, s["imports"]))) for key, s in content["sources"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def read_source(content: bytes) -> Source:
    """Parse a Python file. Raise SyntaxError if it is not one."""
    tree = ast.parse(content)
    code = "".join(_describe(tree))
    return Source(hashlib.sha256(code.encode()).hexdigest(), tuple(sorted(_with_parents(_imports(tree)))))


def _describe(value: object, in_raise: bool = False) -> Iterator[str]:
    """A syntax tree as text, without what changes nothing when the code runs."""
    if isinstance(value, list):
        yield "["
        for item in value:
            yield from _describe(item, in_raise)
        yield "]"
    elif not isinstance(value, ast.AST):
        yield f"{value!r},"
    elif in_raise and isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield "text,"
    elif in_raise and isinstance(value, ast.JoinedStr):
        yield "text,"
        for part in value.values:
            if isinstance(part, ast.FormattedValue):
                yield from _describe(part.value, in_raise)
    else:
        in_raise = in_raise or isinstance(value, ast.Raise)
        yield f"{type(value).__name__}("
        for field in value._fields:
            child = getattr(value, field, None)
            if isinstance(child, list):
                child = [item for item in child if not _is_text_statement(item)]
            if _runs(value, field) and child not in (None, []):  # other Pythons have other empty fields
                yield f"{field}="
                yield from _describe(child, in_raise)
        yield ")"


def _is_text_statement(node: object) -> bool:
    """Whether a node is a docstring: a statement that is nothing but a string."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _runs(node: ast.AST, field: str) -> bool:
    """Whether a field of a node counts: the body of `if TYPE_CHECKING:` never runs, and `u` before a string is nothing."""
    if isinstance(node, ast.If) and field == "body":
        return not ast.unparse(node.test).endswith("TYPE_CHECKING")
    return not (isinstance(node, ast.Constant) and field == "kind")


def _imports(node: ast.AST) -> Iterator[str]:
    """The package's modules that a tree imports, at any depth; of `from a import b`, both `a` and `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if _is_ours(alias.name))
    elif isinstance(node, ast.ImportFrom) and node.module and _is_ours(node.module):
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for field, value in ast.iter_fields(node):
        if _runs(node, field):
            for child in value if isinstance(value, list) else (value,):
                if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                    yield from _imports(child)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == PACKAGE


def _with_parents(modules: Iterator[str] | tuple[str, ...]) -> set[str]:
    """Modules and the packages above them: importing a module runs their `__init__`."""
    names = set()
    for module in modules:
        parts = module.split(".")
        names |= {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
    return names
