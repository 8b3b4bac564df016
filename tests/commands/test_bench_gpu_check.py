"""What `python -m bench.gpu --check` accepts and refuses."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench.gpu import check
from bench.gpu.check_workflow import Skipped, study
from bench.gpu.context import GpuContext, lengths
from lora_core.commands.studies import read_study
from lora_core.records import write_json
from lora_core.training import steps, training_step
from lora_core.training.loop import TrainingLoop


def test_losses_that_differ_are_refused():
    expected = np.linspace(0.7, 0.6, 40)
    assert check.largest_difference(expected + 1e-6, expected, "fp32") == pytest.approx(1e-6)
    with pytest.raises(ValueError, match=r"differ by up to 1\.0e-03, more than 1e-05"):
        check.largest_difference(expected + 1e-3, expected, "fp32")
    check.largest_difference(expected + 1e-3, expected, "bf16")
    with pytest.raises(ValueError, match="nan"):
        check.largest_difference(expected * math.nan, expected, "bf16")


def losses(mean=0.7, deviation=0.01, seed=0):
    return np.random.default_rng(seed).normal(mean, deviation, check.DROPOUT_STEPS)


def test_dropout_of_the_same_distribution_is_accepted():
    assert all(check.require_one_distribution(losses(seed=i), losses(seed=100 + i)) < 4 for i in range(50))


@pytest.mark.parametrize(
    ("graphs", "message"),
    [
        (np.full(check.DROPOUT_STEPS, 0.7), "only 1 different losses"),
        (np.tile(losses()[:24], 10), "only 24 different losses"),
        (losses(mean=0.705), "means differ by"),
        (losses(deviation=0.005), "standard deviations by"),
    ],
)
def test_dropout_that_repeats_or_differs_is_refused(graphs, message):
    with pytest.raises(ValueError, match=message):
        check.require_one_distribution(graphs, losses(seed=1))


def test_whatever_makes_the_host_wait_in_a_step_or_an_evaluation_raises(tmp_path, monkeypatch):
    """CUDA's debug mode is on in each of them alone: outside of them, losses are read and devices synchronized."""
    mode, seen = ["default"], []
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: mode[-1])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", mode.append)
    plain_evaluation, plain_loss = steps.forward, training_step.compute_loss
    monkeypatch.setattr(steps, "forward", lambda *a: seen.append(("evaluation", mode[-1])) or plain_evaluation(*a))
    monkeypatch.setattr(training_step, "compute_loss", lambda *a: seen.append(("step", mode[-1])) or plain_loss(*a))
    plain_read = TrainingLoop._read_losses
    monkeypatch.setattr(TrainingLoop, "_read_losses", lambda *a: seen.append(("losses", mode[-1])) or plain_read(*a))
    context = GpuContext(tmp_path, None, 1, quick=True, device="cpu")
    files = context.examples("rte", "few", lengths("rte")[:8] // 8 + 2)
    with check.no_host_waits() as calls:
        check.train_losses(context, context.gpu_spec("rte", "lora", "fp32"), files, "off")
    assert set(seen) == {("step", "error"), ("evaluation", "error"), ("losses", "default")}
    assert {"_train", "<lambda>"} <= set(calls)
    assert mode[-1] == "default"


def test_a_check_of_graphs_fails_where_they_were_not_used(tmp_path, monkeypatch):
    context = GpuContext(tmp_path, None, 1, quick=True, device="cuda")
    monkeypatch.setattr(GpuContext, "train", lambda *_: SimpleNamespace(execution="eager"))
    files = context.examples("rte", "few", lengths("rte")[:8])
    with pytest.raises(ValueError, match="steps were executed as 'eager', not 'graphs'"):
        check.train_losses(context, context.gpu_spec("rte", "lora", "fp32"), files, "auto")


def run_record(**energy):
    known = {"meter": "nvml", "simulated": False, "train_joules": 1000.0, "power_limit_watts": 700.0}
    known |= {"source": "counter", "reason": None}
    memory = SimpleNamespace(peak_mb=3000.0, peak_allocated_mb=2000.0)
    return SimpleNamespace(energy=SimpleNamespace(**known | energy), memory=memory, train_seconds=5.0)


def test_a_meter_that_reads_what_a_gpu_can_draw_is_right():
    assert check.describe_meter(run_record()) == "200 W of at most 700, by its counter; 3,000 MB in use"


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        ({"meter": "none"}, "the meter was none"),
        ({"simulated": True}, "simulated"),
        ({"train_joules": None, "reason": "the counter stands still"}, "the counter stands still"),
        ({"train_joules": 10.0}, "2 W on average"),
        ({"train_joules": 10000.0}, "2000 W on average"),
    ],
)
def test_a_meter_that_reads_nothing_or_nonsense_is_refused(energy, message):
    with pytest.raises(ValueError, match=message):
        check.describe_meter(run_record(**energy))


def test_a_check_that_raises_has_failed_and_one_that_cannot_run_was_skipped():
    def skip():
        raise Skipped("needs a GPU")

    assert check.check("a", lambda: "fine").result == "passed"
    assert check.check("a", skip) == check.Check("a", None, "needs a GPU")
    failed = check.check("a", lambda: 1 / 0)
    assert (failed.result, failed.details) == ("FAILED", "ZeroDivisionError: division by zero")


def test_the_tiny_study_of_the_check_is_a_valid_configuration(tmp_path):
    write_json(tmp_path / "tiny.yaml", study(str(tmp_path / "results"), "cuda"))
    read = read_study([str(tmp_path / "tiny.yaml")])
    assert (read.train.device, list(read.methods), list(read.tasks)) == ("cuda", ["fft", "lora"], ["rte"])
