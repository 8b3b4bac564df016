"""A folder of the package imports only from the folders above it."""

import pytest

from lora_core.code_digest import ROOT, read_source

PACKAGE = ROOT / "lora_core"
TOP = "top-level"
# The order of docs/architecture.md: a folder imports from itself and from those that stand before it.
FOLDERS = [
    TOP, "data", "models", "methods", "measuring", "training", "evaluation", "config", "reporting", "commands",
]  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))


def folder_of(module):
    """The folder that a module's file or dotted name lies in."""
    parts = module.relative_to(ROOT).parts if hasattr(module, "parts") else module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else TOP


def test_every_folder_of_the_package_has_its_place():
    assert {folder_of(file) for file in MODULES} == set(FOLDERS)


@pytest.mark.parametrize("file", [str(file.relative_to(ROOT)) for file in MODULES])
def test_no_import_leads_upwards(file):
    place = FOLDERS.index(folder_of(ROOT / file))
    imports = read_source((ROOT / file).read_bytes()).imports
    assert not [name for name in imports if FOLDERS.index(folder_of(name)) > place]


@pytest.mark.parametrize("folder", FOLDERS[1:])
def test_importing_a_folder_does_nothing(folder):
    # Its __init__ and those of its subfolders hold a docstring at most.
    for file in (PACKAGE / folder).rglob("__init__.py"):
        assert read_source(file.read_bytes()) == read_source(b""), file
