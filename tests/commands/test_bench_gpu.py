"""What the benchmark on a GPU concludes from its figures; the smoke run is in test_bench.py."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.gpu import parts
from bench.gpu.arithmetic import epoch_flops, flops_by_length
from bench.gpu.cases import Case, Measurement, all_cases
from bench.gpu.context import GpuContext, lengths
from bench.gpu.handover import Handover
from bench.gpu.results import Results
from bench.gpu.trainer import SecondHalf
from lora_core.config.sections import Train

CPU = torch.device("cpu")
MEASURED = Measurement(10.0, 10.1, 2000.0, 1e5, 500.0, 600.0, 3.0, 100, "graphs")


def sst2(loop, method="lora", **changes):
    return Case("sst2", method, "bf16", loop, **changes)


def results(folder, cases, **changes):
    return Results(folder, CPU, threads=1, quick=True, cases=cases, **changes)


def rows(cases, **changes):
    return {(row.what, row.compared_with): row for row in results(None, cases, **changes).comparisons()}


def test_the_lengths_are_those_of_the_data_sets():
    """SST-2 has 67,349 training examples and RTE 2,490 (GLUE's own counts)."""
    assert {task: len(lengths(task)) for task in ("sst2", "rte")} == {"sst2": 67349, "rte": 2490}
    assert lengths("sst2").min() == 3  # one word piece between two special tokens
    assert lengths("rte").max() <= 512
    assert not np.array_equal(np.sort(lengths("rte")), lengths("rte"))


def test_the_goals_are_judged_by_the_loops_of_one_call():
    cases = {
        sst2("graphs"): MEASURED,
        sst2("trainer"): replace(MEASURED, epoch_seconds=120.0),
        sst2("compiled trainer"): replace(MEASURED, epoch_seconds=30.0),
        sst2("eager"): replace(MEASURED, epoch_seconds=50.0),
        sst2("graphs", "full"): replace(MEASURED, epoch_seconds=20.0),
    }
    found = rows(cases, handover=Handover(start_seconds=9.0, between_seconds=6.0))
    what = "LoRA epoch, SST-2, bf16"
    figures = {name: (row.value, row.result) for (label, name), row in found.items() if label == what}
    assert figures == {
        "HF Trainer + PEFT": (12.0, "met"),
        "the same, compiled, grouped by length": (3.0, "missed"),
        "without CUDA graphs": (5.0, ""),
        "full fine-tuning": (0.5, "met"),
    }
    assert found["seconds an epoch, sst2 lora bf16 graphs", ""].result == "met"
    assert found["memory held, sst2 lora bf16 graphs", "used"].result == "missed"
    assert found["seconds from the last step of a run to the first of the next", ""].result == "missed"


def test_what_was_not_measured_is_named_with_its_reason(tmp_path):
    case = sst2("graphs")
    unmeasured = replace(MEASURED, epoch_joules=None, used_mb=None, held_mb=None)
    written = results(tmp_path, {case: unmeasured}, skipped={"sst2 lora bf16 trainer": "no time"})
    written.write()
    page = (tmp_path / "gpu.md").read_text()
    assert "| sst2 lora bf16 graphs | 10 | n/a | 100,000 | n/a | n/a | n/a | 3 |" in page
    assert "| sst2 lora bf16 trainer | no time |" in page
    assert not any(row.what.startswith("memory held") for row in written.comparisons())
    assert json.loads((tmp_path / "gpu.json").read_text())["cases"][0]["epoch_joules"] is None


def test_the_share_of_the_peak_compares_operations_with_those_of_products_of_matrices():
    """10^15 operations in 10 s are half of a device's 2 x 10^14 a second."""
    shown = results(None, {}, peaks={"bf16": 2e14}, flops={("sst2", "lora"): 1e15})
    assert shown.share_of_peak(sst2("graphs"), MEASURED) == pytest.approx(0.5)
    assert shown.share_of_peak(replace(sst2("graphs"), precision="fp32"), MEASURED) is None


@pytest.mark.parametrize("method", ["lora", "full"])
def test_an_epochs_operations_are_those_that_torch_counts(method, tmp_path):
    context = GpuContext(tmp_path, None, 1, quick=True, device="cpu")
    settings = parts.METHODS[method]
    polynomial = flops_by_length(context.model(), settings)
    model = parts_model(context, settings)
    counted = 0
    for tokens in (12, 20):
        ids = torch.full((1, tokens), 5)
        with FlopCounterMode(display=False) as counter:
            model(input_ids=ids).logits.sum().backward()
        counted += counter.get_total_flops()
    assert epoch_flops(polynomial, np.array([12, 20])) == pytest.approx(counted, rel=1e-6)


def parts_model(context, settings):
    from bench.baselines import load_model
    from lora_core.methods import registry

    return registry.adapt(load_model(context.model(), ("a", "b")), settings, torch.Generator()).train()


def test_every_combination_is_measured_the_decisive_ones_first():
    cases = all_cases()
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)
    precisions = Train.model_fields["precision"].annotation.__args__
    for loop in ("graphs", "eager", "trainer", "compiled trainer"):
        for task in ("sst2", "rte"):
            for method in ("full", "lora"):
                assert {f"{task} {method} {precision} {loop}" for precision in precisions} <= set(names)
    assert names[:2] == ["sst2 lora bf16 graphs", "sst2 lora bf16 trainer"]


def test_a_part_that_fails_or_would_take_too_long_leaves_the_others(tmp_path, monkeypatch):
    def measure(context, results, case):
        if case.loop == "trainer":
            raise RuntimeError("CUDA error: out of memory\nand a hint")
        results.cases[case] = MEASURED

    monkeypatch.setattr(parts, "_measure_case", measure)
    monkeypatch.setattr(parts, "_measure_peaks", lambda *_: None)
    monkeypatch.setattr(parts, "smoke_cases", lambda: [sst2("trainer"), sst2("graphs"), sst2("eager", estimate=10**6)])
    context, written = parts.open_results(tmp_path, 1, smoke=True)
    parts.measure(context, written, ["bf16"], deadline=parts.time.monotonic() + 1000)
    assert list(written.cases) == [sst2("graphs")]
    assert written.skipped["sst2 lora bf16 trainer"] == "RuntimeError: CUDA error: out of memory and a hint"
    assert written.skipped["sst2 lora bf16 eager"].startswith("takes about 1000000 s, and ")
    assert json.loads((tmp_path / "gpu.json").read_text())["skipped"] == written.skipped


def test_only_the_second_half_of_a_training_is_measured(monkeypatch):
    times = iter([0.0, 30.0, 30.0, 40.0])
    monkeypatch.setattr("bench.gpu.trainer.time.perf_counter", lambda: next(times))
    opened = []

    class Window:
        def __enter__(self):
            opened.append("open")
            return ["samples"]

        def __exit__(self, *_):
            opened.append("closed")

    half = SecondHalf(SimpleNamespace(window=lambda _: Window()), CPU)
    callback = half.trainer_callback()
    callback.on_train_begin(None, None, None)
    for step in range(1, 6):
        callback.on_step_end(None, SimpleNamespace(global_step=step, max_steps=5), None)
    assert (half.first_seconds, half.seconds, half.steps, half.window) == (30.0, 10.0, 3, ["samples"])
    assert opened == ["open", "closed"]
