"""The environments in which other people's tools are tried."""

import pytest
from other_tools import run_python

pytestmark = pytest.mark.packaging


def test_an_environment_has_the_packages_named_and_lends_the_others_but_not_the_project(peers, tmp_path):
    python = peers("peft==0.14.0")
    code = """
import importlib.metadata, importlib.util, torch
print(importlib.metadata.version("peft"), torch.__name__, importlib.util.find_spec("lora_core"))
"""
    assert run_python(python, code, folder=tmp_path).split() == ["0.14.0", "torch", "None"]
