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

from lora_core.provenance import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PACKAGE = "lora_core"
VERSION = f"python {sys.version_info.major}.{sys.version_info.minor}"
# Files that modules in the same folder read, such as the template and the style of the report's page.
RESOURCE_SUFFIXES = (".html", ".css", ".js")
CACHE = Path(".snakemake", "lora_core_digests.json")


@dataclass(frozen=True)
class Source:
    """What counts of one Python file: a digest of its code, and the modules of the package that it imports."""

    code: str
    imports: tuple[str, ...]


@dataclass(frozen=True)
class StageCode:
    """The code of a stage: its digest, and the digests that it is made of by the path of each file in the project."""

    digest: str
    files: Mapping[str, str]


class CodeDigests:
    """Digests of stages, computed from the package below `root`; the file `cache` keeps parsed files."""

    def __init__(self, root: Path = ROOT, cache: Path | None = None) -> None:
        self._root = root
        self._cache = cache
        self._cached = _read_cache(cache)
        self._used: dict[str, Source] = {}
        self._sources: dict[Path, Source] = {}
        self._modules: dict[str, tuple[Path, ...]] = {}
        self._lines: dict[Path, bytes] = {}

    def digest(self, script: Path, *modules: str) -> str:
        """The digest of a script, of `modules`, and of everything that they import from the package."""
        digest = hashlib.sha256(self._source(script).code.encode())
        for line in sorted(map(self._line, self.closure(script, *modules))):
            digest.update(line)
        return digest.hexdigest()[:16]

    def stage(self, script: Path, *modules: str) -> StageCode:
        """The digest of a stage with those of its files."""
        return StageCode(self.digest(script, *modules), self.files(script, *modules))

    def files(self, script: Path, *modules: str) -> dict[str, str]:
        """The digests that `digest` is made of, by the path of each file below the project's folder."""
        lines = (self._line(file).decode().split() for file in self.closure(script, *modules))
        of_package = {" ".join(name): code[:16] for *name, code in lines}
        name = script.relative_to(self._root).as_posix() if script.is_relative_to(self._root) else script.name
        return {name: self._source(script).code[:16]} | dict(sorted(of_package.items()))

    def lines(self, script: Path, *modules: str) -> dict[Path, bytes]:
        """The digest of each file of `closure`."""
        return {file: self._line(file) for file in self.closure(script, *modules)}

    def closure(self, script: Path, *modules: str) -> set[Path]:
        """The files of the package that a script and `modules` use, directly or not, without the script itself."""
        names: set[str] = set()
        waiting = {*self._source(script).imports, *_with_parents(modules)}
        while waiting:
            names |= waiting
            sources = [self._source(file) for name in waiting for file in self._files(name)[:1]]
            waiting = {name for source in sources for name in source.imports} - names
        return {file for name in names for file in self._files(name)}

    def _files(self, module: str) -> tuple[Path, ...]:
        """The file of a module, or a package's `__init__` and the resources of its folder; none if it is neither."""
        if module not in self._modules:
            path = self._root.joinpath(*module.split("."))
            if path.with_suffix(".py").is_file():
                self._modules[module] = (path.with_suffix(".py"),)
            elif (path / "__init__.py").is_file():
                resources = (file for file in sorted(path.iterdir()) if file.suffix in RESOURCE_SUFFIXES)
                self._modules[module] = (path / "__init__.py", *resources)
            else:
                self._modules[module] = ()
        return self._modules[module]

    def _line(self, file: Path) -> bytes:
        """The digest of a file of the package, after its name."""
        if file not in self._lines:
            code = self._source(file).code if file.suffix == ".py" else hashlib.sha256(file.read_bytes()).hexdigest()
            self._lines[file] = f"{file.relative_to(self._root).as_posix()} {code}\n".encode()
        return self._lines[file]

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
        if file not in self._sources:
            content = file.read_bytes()
            key = hashlib.sha256(content).hexdigest()
            self._sources[file] = self._used[key] = self._cached.get(key) or read_source(content)
        return self._sources[file]


def code_digest(script: Path, *modules: str) -> str:
    """Return the digest of a script or module, with the cache that snakemake writes in the working directory."""
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
        yield f"{type(value).__name__}("
        for field, child in _fields(value):
            yield f"{field}="
            yield from _describe(child, in_raise or isinstance(value, ast.Raise))
        yield ")"


def _fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    """The fields of a node that count, without empty ones, which differ between versions of Python."""
    for field, child in ast.iter_fields(node):
        if isinstance(child, list):
            child = [item for item in child if not _is_text_statement(item)]
        if _runs(node, field) and child not in (None, []):
            yield field, child


def _is_text_statement(node: object) -> bool:
    """Whether a node is a docstring: a statement that is nothing but a string."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _runs(node: ast.AST, field: str) -> bool:
    """Whether a field counts: the body of `if TYPE_CHECKING:` never runs, and `u` before a string means nothing."""
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
