"""An adapter that lacks something, or holds what is no weight, is refused by name before it is merged or loaded."""

import json
import shutil

import pytest
import torch
from damages import ADAPTER, every, fields, pipe, refused, without
from safetensors.torch import load_file

from lora_core import load_adapter
from lora_core.methods.merging import merge_adapter
from lora_core.models import model as models
from lora_core.records import read_json

FIRST_VALUE, LAST_VALUE = (rf"lacks 'bert\.encoder\.layer\.{i}\.attention\.self\.value'" for i in (0, 1))
ADAPTERS = {
    "no tensors": (without("", ADAPTER), r"adapter_model\.safetensors holds no tensors"),
    "a layer less": (
        without("layer.1.", ADAPTER),
        r"lacks 'bert\.encoder\.layer\.1\..*adapter_config\.json names",
    ),
    "a target less": (without("value", ADAPTER), FIRST_VALUE),
    "a module less": (without("1.attention.self.value", ADAPTER), LAST_VALUE),
    "no head": (without("classifier", ADAPTER), "lacks 'classifier'"),
    "half a pair": (without("0.attention.self.query.lora_B", ADAPTER), "does not fit"),
    "nan": (every(lambda t: t * float("nan"), ADAPTER), "holds a value that is not finite"),
    "int8": (every(lambda t: t.to(torch.int8), ADAPTER), r"is quantized \(I8\)"),
    "float8": (every(lambda t: t.to(torch.float8_e5m2), ADAPTER), r"is quantized \(F8_E5M2\)"),
    "a named pipe": (pipe(ADAPTER), "is not a regular file"),
    "no weights": (lambda folder: (folder / ADAPTER).unlink(), "cannot be read"),
}


@pytest.mark.parametrize("problem", ADAPTERS)
def test_an_adapter_that_lacks_something_is_neither_merged_nor_loaded(problem, bert, lora_run, tmp_path):
    adapter = shutil.copytree(lora_run / "weights", tmp_path / "adapter")
    damage, message = ADAPTERS[problem]
    damage(adapter)
    refused(message, lambda: merge_adapter(bert, adapter, None, tmp_path / "out"), tmp_path / "out")
    model = models.load(bert, ["a", "b"])
    before = repr(model)
    refused(message, lambda: load_adapter(model, adapter), tmp_path / "out")
    assert repr(model) == before


@pytest.mark.parametrize("kind", ["BITFIT", "IA3"])
def test_an_adapter_of_another_kind_without_tensors_is_refused_too(kind, bert, lora_run, tmp_path):
    adapter = shutil.copytree(lora_run / "weights", tmp_path / "adapter")
    without("", ADAPTER)(adapter)
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": kind}))
    refused("holds no tensors", lambda: merge_adapter(bert, adapter, None, tmp_path / "out"), tmp_path / "out")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_an_adapter_in_another_precision_merges_to_float32(dtype, bert, lora_run, tmp_path):
    adapter = shutil.copytree(lora_run / "weights", tmp_path / "adapter")
    every(lambda tensor: tensor.to(dtype), ADAPTER)(adapter)
    merge_adapter(bert, adapter, None, tmp_path / "out")
    merge_adapter(bert, lora_run / "weights", None, tmp_path / "exact")
    merged, exact = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "exact"))
    for name, tensor in exact.items():
        assert merged[name].dtype == torch.float32
        torch.testing.assert_close(merged[name], tensor, rtol=0.01, atol=1e-4)


def test_an_adapter_on_some_layers_merges_if_its_configuration_says_so(bert, lora_run, tmp_path):
    adapter = shutil.copytree(lora_run / "weights", tmp_path / "adapter")
    without("layer.1.", ADAPTER)(adapter)
    fields("adapter_config.json", layers_to_transform=[0])(adapter)
    merge_adapter(bert, adapter, None, tmp_path / "out")
    assert all("layer.0." in name for name in read_json(tmp_path / "out" / "merge.json")["changed"])
