"""A folder of the package imports only from the folders above it."""

import ast
import re

import pytest

from lora_core.code_digest import ROOT, read_source

PACKAGE = ROOT / "lora_core"
# A folder imports from itself and from those that stand before it; the first are the top-level modules.
FOLDERS = re.findall(r"^### lora_core/(\w*)$", (ROOT / "docs" / "architecture.md").read_text(), re.M)
# All but the package's own __init__: it gives the library's public names, whichever folder they come from.
MODULES = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py"})


def folder_of(name):
    """The folder that a module lies in, by its dotted name."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else ""


def dotted(file):
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def imported(file):
    """The modules of the package that a file imports anywhere, for type checkers too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "lora_core")


def test_every_folder_of_the_package_has_its_place():
    assert FOLDERS[0] == ""
    assert {folder_of(dotted(file)) for file in MODULES} == set(FOLDERS)


@pytest.mark.parametrize("name", map(dotted, MODULES))
def test_no_import_leads_upwards(name):
    file = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    place = FOLDERS.index(folder_of(name))
    assert not [other for other in imported(file) if FOLDERS.index(folder_of(other)) > place]


@pytest.mark.parametrize("folder", FOLDERS[1:])
def test_importing_a_folder_does_nothing(folder):
    # Its __init__ and those of its subfolders hold a docstring at most.
    for file in (PACKAGE / folder).rglob("__init__.py"):
        assert read_source(file.read_bytes()) == read_source(b""), file
