"""The code that a job really runs, which an edit may make another than the code that the job was planned with."""

from __future__ import annotations

import sys
from pathlib import Path

from lora_core.code_digest import CACHE, CodeDigests
from lora_core.provenance import ROOT


class RunningCode:
    """The code of this process: a script, `modules`, and everything that they import from the package.

    `digest` is that of the files at the time when this object was made, and `files` are those of each file: make it
    before they are imported.
    """

    def __init__(self, script: Path, *modules: str, root: Path = ROOT) -> None:
        self._script = script
        self._modules = modules
        self._root = root
        self._imported: set[str] = set()
        digests = self._read()
        self.digest = digests.digest(script, *modules)
        self.files = digests.files(script, *modules)
        self._lines = digests.lines(script, *modules)

    def check(self) -> None:
        """Check the files of the modules that were imported since the last check: later edits change nothing here.

        Raise ValueError that names a file that was edited in between: which of its versions runs is unknown.
        """
        now = self._read().lines(self._script, *self._modules)
        for file in sorted(now.keys() | self._lines.keys()):
            name = _module_name(file.relative_to(self._root))
            if name in sys.modules and name not in self._imported and now.get(file) != self._lines.get(file):
                raise ValueError(
                    f"{file.relative_to(self._root)} was edited while this job started or ran, so which code made its "
                    "result is unknown; run the same command again"
                )
        self._imported = set(sys.modules)

    def _read(self) -> CodeDigests:
        return CodeDigests(self._root, CACHE)


def _module_name(file: Path) -> str:
    """The name of the module in a file; a package for its `__init__.py`."""
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
