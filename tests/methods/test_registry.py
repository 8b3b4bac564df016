"""The kinds of methods are found by their files, and their settings are plain values on disk."""

import dataclasses
import os
import subprocess
import sys
from importlib import import_module

import pytest
from builders import FULL, LORA, LORALIB, ROOT

from lora_core.methods.registry import kinds, names, settings_class, settings_from_params
from lora_core.methods.settings import MethodSettings, PlainLora

PEFT_LORA = {
    "kind": "peft",
    "config": {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["value", "query"]},
}
HOULSBY = {"kind": "houlsby", "bottleneck": 4, "targets": ["output.dense"]}


def test_every_file_of_a_method_is_a_kind_of_that_name():
    assert {"bitfit", "full", "houlsby", "lora", "loralib", "peft"} <= set(names())
    modules = {f.stem: f"lora_core.methods.{f.stem}" for f in (ROOT / "lora_core" / "methods").glob("[!_]*.py")}
    defined = {name: getattr(import_module(module), "Settings", None) for name, module in modules.items()}
    assert set(names()) == {name for name, cls in defined.items() if cls and cls.__module__ == modules[name]}
    for name, cls in kinds().items():
        assert issubclass(cls, MethodSettings)
        assert dataclasses.is_dataclass(cls)
        assert (cls.kind, cls.__module__) == (name, f"lora_core.methods.{name}")
        with pytest.raises(dataclasses.FrozenInstanceError):
            cls(**{"config": {"peft_type": "IA3"}} if name == "peft" else {}).kind = "other"


NO_TORCH = """
import sys
from lora_core.methods.registry import kinds
kinds()
print([name for name in ("torch", "transformers", "peft", "pydantic", "numpy") if name in sys.modules])
"""


def test_settings_are_read_without_torch_and_pydantic():
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.strip() == "[]", done.stderr


NEW_KIND = '''
"""Nothing but the head is trained."""
from dataclasses import dataclass
from lora_core.methods.settings import MethodSettings

@dataclass(frozen=True)
class Settings(MethodSettings):
    """The head alone."""
    strength: float = 1.0

def apply(model, settings, generator):
    """Freeze the model."""
    return model.requires_grad_(False)
'''
USE_NEW_KIND = """
from lora_core.methods.registry import settings_from_params
settings = settings_from_params({"kind": "head_only", "strength": 2.0})
print(settings.to_params(), settings.can_merge(), settings.cost_table, settings.can_start_another_task())
"""


def test_a_new_file_is_a_new_kind(tmp_path):
    import shutil

    package = shutil.copytree(ROOT / "lora_core", tmp_path / "lora_core", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "methods" / "head_only.py").write_text(NEW_KIND)
    done = subprocess.run(
        [sys.executable, "-c", USE_NEW_KIND],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout.strip() == "{'kind': 'head_only', 'strength': 2.0} False table6 True", done.stderr


@pytest.mark.parametrize("params", [FULL, LORA, LORALIB, PEFT_LORA, HOULSBY, {"kind": "bitfit"}])
def test_settings_are_the_same_after_a_round_trip_through_plain_values(params):
    settings = settings_from_params(params)
    assert settings.to_params() == params
    assert next(iter(settings.to_params())) == "kind"
    assert settings_from_params(settings.to_params()) == settings


def test_unknown_kinds_and_settings_are_refused():
    with pytest.raises(ValueError, match="there is no kind of method called 'lorra'; did you mean 'lora'"):
        settings_class("lorra")
    for infrastructure in ("registry", "../data/tasks", "__init__", "None"):
        with pytest.raises(ValueError, match="there is no kind of method called"):
            settings_class(infrastructure)
    with pytest.raises(ValueError, match="there is no kind of method called"):
        settings_from_params({"rank": 4})
    with pytest.raises(ValueError, match="these are not the settings of the method 'lora'"):
        settings_from_params(LORA | {"bottleneck": 4})
    with pytest.raises(ValueError, match="config: the key peft_type is missing"):
        settings_from_params({"kind": "peft", "config": {"r": 4}})


def test_the_same_lora_is_recognized_in_every_implementation():
    same = PlainLora(4, 8.0, ("query", "value"))
    for params in (LORA, LORALIB, PEFT_LORA):
        assert settings_from_params(params).plain_lora() == same
    different = (
        LORA | {"freeze_a": True},
        PEFT_LORA | {"config": PEFT_LORA["config"] | {"use_dora": True}},
        PEFT_LORA | {"config": PEFT_LORA["config"] | {"lora_dropout": 0.1}},
        PEFT_LORA | {"config": PEFT_LORA["config"] | {"target_modules": "all-linear"}},
        FULL,
    )
    for params in different:
        assert settings_from_params(params).plain_lora() is None


def test_settings_without_the_protocols_values_are_not_used_by_mistake():
    settings = settings_from_params({"kind": "lora"})
    assert settings.to_params() == {
        "kind": "lora", "rank": None, "alpha": None, "targets": ["query", "value"], "freeze_a": False
    }  # fmt: skip
    with pytest.raises(ValueError, match="lora: rank is None and alpha None; both need a value"):
        settings.scale_settings()


def test_only_full_fine_tuning_saves_the_whole_model_and_stands_in_table_5():
    libraries = {
        "bitfit": None, "full": "transformers", "houlsby": None, "lora": "peft", "loralib": "peft", "peft": "peft"
    }  # fmt: skip
    for name, library in libraries.items():
        cls = settings_class(name)
        assert cls.library == library
        assert cls.saves_full_weights is (name == "full")
        assert cls.cost_table == ("table5" if name == "full" else "table6")
