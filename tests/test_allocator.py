"""CUDA's allocator gets expandable segments in measured jobs, unless the user configured it."""

import pytest
import torch
from builders import log_until_torch

from lora_core import allocator, provenance


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:1"])
def test_training_that_may_use_a_gpu_gets_expandable_segments(device):
    environment = {}
    allocator.configure(device, environment)
    assert environment == {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}


def test_training_on_a_cpu_leaves_the_environment_alone():
    environment = {}
    allocator.configure("cpu", environment)
    assert environment == {}


@pytest.mark.parametrize("name", allocator.VARIABLES)
@pytest.mark.parametrize("value", ["max_split_size_mb:64", ""])
def test_what_the_user_set_stays(name, value):
    environment = {name: value}
    allocator.configure("cuda", environment)
    assert environment == {name: value}


def test_the_settings_are_recorded_for_a_gpu_alone(monkeypatch):
    for name in allocator.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("lora_core.device.label", lambda _: "gpu-1")
    monkeypatch.setattr("lora_core.device.model_name", lambda _: "a GPU")
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert provenance.collect(cuda, 1).allocator is None
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:64")
    assert provenance.collect(cuda, 1).allocator == "max_split_size_mb:64"
    assert provenance.collect(cpu, 1).allocator is None


def test_the_training_job_configures_the_allocator_before_torch_is_imported(tmp_path):
    log = log_until_torch("train.py", tmp_path / "train.log", "PYTORCH_ALLOC_CONF", device="auto")
    assert "PYTORCH_ALLOC_CONF: expandable_segments:True" in log
