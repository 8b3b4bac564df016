"""CUDA's allocator gets expandable segments in measured jobs, unless the user configured it."""

import subprocess
import sys

import pytest
import torch
from builders import ROOT

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
    """The real script runs up to the import of the training code, for which a module that reports stands in."""
    stand_in = """
import os, sys
class Reports:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("allocator:", os.environ.get("PYTORCH_ALLOC_CONF"), file=sys.stderr)
            raise SystemExit(1)
sys.meta_path.insert(0, Reports())
import runpy
from types import SimpleNamespace as Any
class Named(list):
    items = lambda self: []
run = {"device": "auto", "settings": {"kind": "full"}}
snakemake = Any(params=Any(run=run), wildcards=Any(method="fft", task="cola", seed=1), log=[LOG], output=Named())
runpy.run_path(SCRIPT, {"snakemake": snakemake})
"""
    log, script = tmp_path / "train.log", ROOT / "workflow" / "scripts" / "train.py"
    code = stand_in.replace("LOG", repr(str(log))).replace("SCRIPT", repr(str(script)))
    job = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert log.is_file(), job.stderr
    assert "allocator: expandable_segments:True" in log.read_text()
