"""What tables and figures call the methods of a study."""

import pytest
from builders import changed

from lora_core.config.errors import ConfigError
from lora_core.config.study import load


def labels(*methods, **entries):
    entries = {f"method_settings__{name}": entry for name, entry in entries.items()}
    return list(load(changed(**entries, methods=list(methods))).labels.values())


def test_a_method_is_called_by_its_kind_or_by_its_label():
    houlsby, ia3 = {"kind": "houlsby"}, {"kind": "peft", "config": {"peft_type": "IA3"}}
    called = labels("fft", "lora", "lora_ref", "a", "b", a=houlsby, b=ia3)
    assert called == ["Full fine-tuning", "LoRA (own)", "LoRA (loralib)", "Houlsby adapters", "IA3"]
    assert labels("fft", "lora", lora={"kind": "lora", "label": "LoRA, r = 8"})[1] == "LoRA, r = 8"


def test_methods_of_one_kind_are_told_apart_by_their_entries():
    plus = {"kind": "lora", "hyperparameters": {"loraplus_lr_ratio": 4}}
    assert labels("lora", "plus", plus=plus) == ["LoRA (own), lora", "LoRA (own), plus"]
    assert labels("lora", "plus", plus={**plus, "label": "LoRA+"}) == ["LoRA (own)", "LoRA+"]


def test_the_values_of_a_sweep_are_part_of_the_label():
    ranks = {"sweep": {"rank": [1, 8]}}
    a, b = {"kind": "lora", "label": "mine", **ranks}, {"kind": "loralib", **ranks}
    assert labels("a", "b", a=a, b=b) == [
        "mine, rank 1", "mine, rank 8", "LoRA (loralib), rank 1", "LoRA (loralib), rank 8",
    ]  # fmt: skip


def test_two_methods_cannot_have_one_label():
    entries = {name: {"kind": "lora", "label": "LoRA"} for name in ("lora", "lora_ref")}
    with pytest.raises(ConfigError, match=r"method_settings\.lora_ref\.label: 'lora' is called 'LoRA' too"):
        labels("lora", "lora_ref", **entries)


@pytest.mark.parametrize("label", ["", "two\nlines", "x" * 51, 8])
def test_a_label_is_one_short_line(label):
    with pytest.raises(ConfigError, match=r"method_settings\.lora\.label"):
        labels("lora", lora={"kind": "lora", "label": label})
