"""Precision: the head computes in float32 in each, and records name it."""

import numpy as np
import pytest
import torch
from builders import FULL, LORA, spec

from lora_core import precision, provenance
from lora_core.data.batches import Batch
from lora_core.models.model import head_parameters
from lora_core.training.run import build_model
from lora_core.training.steps import compute_logits, compute_loss

PEFT_LORA = {"kind": "peft", "config": {"peft_type": "LORA", "r": 4, "target_modules": ["query", "value"]}}
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def settings_of_torch():
    """Torch's settings are those of this process: afterwards TF32 is off."""
    yield
    precision.allow_tf32(False)


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("settings", [FULL, LORA, PEFT_LORA], ids=["full", "lora", "peft"])
def test_the_head_computes_in_float32_under_tf32(family, settings, request):
    """Which products are in TF32 shows in torch's setting at the time of each: a CPU computes all in float32."""
    labels = ["a", "b"]
    model = build_model(spec(settings, precision="tf32"), request.getfixturevalue(family), labels, np.zeros(1)).eval()
    precision.allow_tf32(True)
    inner = getattr(model, "get_base_model", lambda: model)()
    of_head = {name.rpartition(".")[0] for name, _ in head_parameters(model)}
    seen = {}

    def noting(name, forward):
        def call(*arguments):
            seen[name] = torch.get_float32_matmul_precision()
            return forward(*arguments)

        return call

    for name, module in inner.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.forward = noting(name, module.forward)
    ids = np.random.default_rng(0).integers(5, 300, (4, 12))
    batch = Batch(ids, np.ones_like(ids), None, np.zeros(4, np.int64), np.arange(4), ids.size)
    logits = compute_logits(model, batch, CPU, "tf32")
    compute_loss(logits, torch.zeros(4, dtype=torch.int64)).backward()
    assert {name for name, setting in seen.items() if setting == "highest"} == of_head
    assert {setting for name, setting in seen.items() if name not in of_head} == {"high"}
    assert torch.get_float32_matmul_precision() == "high"


def test_tf32_is_on_again_after_a_head_that_failed(bert, monkeypatch):
    model = build_model(spec(FULL, precision="tf32"), bert, ["a", "b"], np.zeros(1)).eval()
    monkeypatch.setattr(model.classifier, "forward", lambda _: 1 / 0)
    precision.allow_tf32(True)
    ids = np.full((2, 4), 7)
    with pytest.raises(ZeroDivisionError):
        compute_logits(model, Batch(ids, np.ones_like(ids), None, np.zeros(2), np.arange(2), 8), CPU, "tf32")
    assert torch.get_float32_matmul_precision() == "high"


@pytest.mark.parametrize(("number", "version"), [(92000, "9.20.0"), (90101, "9.1.1"), (8907, "8.9.7"), (None, None)])
def test_provenance_names_the_libraries_of_a_gpu_and_the_precision(number, version, monkeypatch):
    monkeypatch.setattr("lora_core.device.label", lambda _: "gpu-1")
    monkeypatch.setattr("lora_core.device.model_name", lambda _: "a GPU")
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.backends.cudnn.version", lambda: number)
    on_gpu, on_cpu = (provenance.collect(device, 1, "tf32") for device in (CUDA, CPU))
    assert (on_gpu.cuda, on_gpu.cudnn, on_gpu.precision) == ("13.0", version, "tf32")
    assert (on_cpu.cuda, on_cpu.cudnn, on_cpu.precision) == (None, None, "tf32")
