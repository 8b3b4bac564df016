"""The code that would train the runs of a study, as the rule of training has it as a parameter."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from lora_core.code_digest import CACHE, CodeDigests, StageCode
from lora_core.methods.registry import module_name
from lora_core.provenance import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from lora_core.config.study import Study


def code_of_training(study: Study, digests: CodeDigests) -> Callable[[str], StageCode] | None:
    """Return what gives the code that trains a method; None where the workflow is not at hand."""
    script = ROOT / "workflow" / "scripts" / "train.py"
    if not script.is_file():
        return None

    @cache
    def of_module(module: str) -> StageCode:
        return digests.stage(script, module)

    return lambda method: of_module(module_name(study.settings(method).kind))


def keep_parsed(digests: CodeDigests) -> None:
    """Keep what was parsed for the next time, where a study has run."""
    if CACHE.parent.is_dir():
        digests.save()
