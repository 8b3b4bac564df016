"""One file per kind of method; `table.py` lists them for the configuration and the rules.

A kind's file has `apply(model, settings, generator)`, which makes a model ready to train, `save(model, settings,
folder, base_model)`, and, where it merges, `load(model, settings, folder)`, which fills a model that `apply` made.
"""

from importlib import import_module
from types import ModuleType


def module(kind: str) -> ModuleType:
    """The file of a kind.

    The one dynamic import of the project, so that a job depends on its own method's file and on no other: the rule
    adds that file to the code digest by the kind's name.
    """
    return import_module(f"lora_core.methods.{kind}")
