"""Timing of inference: every pass is recorded, rounds are interleaved, and merging is proved to be exact."""

import csv
import dataclasses

import numpy as np
import pytest
import torch
from builders import FULL, LORA, spec
from safetensors.numpy import load_file, save_file

from lora_core.evaluation import latency
from lora_core.evaluation.frames import read_latency, read_latency_runs, wildcards
from lora_core.evaluation.latency import LatencyPlan, TimedMethod, TimingInputs, TimingOutputs, time_inference
from lora_core.layout import Layout
from lora_core.methods.merging import merge_adapter
from lora_core.methods.registry import settings_from_params
from lora_core.models.model import head_parameters
from lora_core.records import read_json
from lora_core.sealed import SEAL
from lora_core.training.run import build_model

PEFT_LORA = {"kind": "peft", "config": {"peft_type": "LORA", "r": 4, "target_modules": ["query", "value"]}}

PLAN = LatencyPlan(
    passes=3, seconds=0.0, margin=0.03, batch_size=16, single_examples=5, seed=1, device="cpu", threads=1,
    reference="fft",
)  # fmt: skip


@pytest.fixture(scope="module")
def merged(bert, lora_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("merged") / "lora"
    merge_adapter(bert, lora_run / "weights", lora_run / "run.json", out)
    return out


@pytest.fixture
def timing(bert, cola, lora_run, full_run, tmp_path):
    """A function that times full fine-tuning and LoRA with a merged model, and returns the two files."""

    def time(merged, plan=PLAN):
        methods = [
            TimedMethod("fft", settings_from_params(FULL), full_run / "weights"),
            TimedMethod("lora", settings_from_params(LORA), lora_run / "weights", merged),
        ]
        inputs = TimingInputs(bert, cola / "card.json", cola / "validation.safetensors")
        outputs = TimingOutputs(tmp_path / "cola" / "seed1.csv", tmp_path / "records" / "cola" / "seed1.json")
        time_inference(methods, inputs, plan, outputs)
        return outputs

    return time


def test_every_raw_pass_is_recorded_and_rounds_are_interleaved(timing, merged):
    outputs = timing(merged)
    rows = list(csv.DictReader(outputs.passes.open()))
    variants = {("fft", "plain"), ("lora", "merged"), ("lora", "unmerged")}
    for mode, numbers, examples, size in (("pass", "123", "40", "16"), ("single", "12345", "1", "1")):
        of_mode = [r for r in rows if r["mode"] == mode]
        assert {r["round"] for r in of_mode} == set(numbers)
        for number in numbers:
            assert {(r["method"], r["variant"]) for r in of_mode if r["round"] == number} == variants
            assert {r["order"] for r in of_mode if r["round"] == number} == set("123")
        assert all(float(r["seconds"]) > 0 for r in of_mode)
        assert {(r["examples"], r["batch_size"]) for r in of_mode} == {(examples, size)}
    record = read_json(outputs.record)
    assert list(record) == [
        "format", "merge", "precision", "input_tokens", "suspended_seconds", "switching", "warm_up_passes",
        "provenance", "files",
        "made_from", SEAL,
    ]  # fmt: skip
    assert record["precision"] == read_latency_runs([outputs.passes], [outputs.record])[0].record.precision == "fp32"
    assert record["merge"]["lora"]["merged_minus_unmerged"] < 1e-6 < record["merge"]["lora"]["merged_minus_base"]
    proof = read_latency_runs([outputs.passes], [outputs.record])[0].record.merge["lora"]
    assert (proof.predictions, proof.changed_predictions, proof.scores) == (40, 0, False)
    assert record["made_from"]["plan"]["precision"] == record["provenance"]["precision"] == "fp32"
    assert record["input_tokens"]["lora"] == {"longest": 130, "truncated": 0}
    frame = read_latency([outputs.passes], [outputs.record])
    assert len(frame) == len(rows)
    assert set(frame["task"]) == {"cola"}
    assert set(frame["seed"]) == {1}


def test_without_a_reference_there_are_exactly_the_planned_rounds(timing, merged):
    outputs = timing(merged, dataclasses.replace(PLAN, reference=None, seconds=600.0, passes=2))
    assert {row["round"] for row in csv.DictReader(outputs.passes.open()) if row["mode"] == "pass"} == {"1", "2"}


@pytest.mark.parametrize(("name", "kind", "tolerance"), [("bf16", torch.bfloat16, 3e-2), ("fp16", torch.float16, 3e-3)])
def test_passes_are_timed_in_the_precision_of_the_study(timing, merged, monkeypatch, name, kind, tolerance):
    monkeypatch.setattr("lora_core.precision.check_available", lambda *_: None)  # a CPU is refused for fp16
    exact = read_json(timing(merged).record)["merge"]["lora"]
    entered = []
    autocast = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda *given, **kept: entered.append(given) or autocast(*given, **kept))
    outputs = timing(merged, dataclasses.replace(PLAN, precision=name))
    passes = list(csv.DictReader(outputs.passes.open()))
    assert len(entered) > len(passes)
    assert set(entered) == {("cpu", kind)}
    record = read_json(outputs.record)
    named = record["precision"], record["made_from"]["plan"]["precision"], record["provenance"]["precision"]
    assert named == (name, name, name)
    proof = record["merge"]["lora"]
    # The rounding of 8 or 11 bits, but the same models.
    assert exact["merged_minus_unmerged"] < proof["merged_minus_unmerged"] < tolerance * proof["largest_logit"]
    assert proof["largest_logit"] == pytest.approx(exact["largest_logit"], rel=0.03)


@pytest.mark.parametrize(("name", "kind"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
@pytest.mark.parametrize("settings", [FULL, LORA, PEFT_LORA], ids=["full", "lora", "peft"])
def test_under_autocast_all_matrices_but_the_heads_are_cast_before_they_are_timed(settings, name, kind, bert):
    model = build_model(spec(settings), bert, ["a", "b"], np.zeros(1))
    head = {name for name, _ in head_parameters(model)}
    before = {name: p.dtype for name, p in model.named_parameters()}
    latency._make_ready(model, "fp32", torch.device("cpu"))
    assert {name: p.dtype for name, p in model.named_parameters()} == before
    latency._make_ready(model, name, torch.device("cpu"))
    assert {p.dtype for _, p in head_parameters(model)} == {torch.float32}
    inner = getattr(model, "get_base_model", lambda: model)()
    linear = {name for name, m in inner.named_modules() if isinstance(m, torch.nn.Linear) and "classifier" not in name}
    assert {inner.get_submodule(name).weight.dtype for name in linear} == {kind}
    assert head


@pytest.mark.parametrize("factor", [2.0, float("nan")])
def test_a_merge_that_changes_logits_is_refused(factor, timing, bert, lora_run, tmp_path):
    merge_adapter(bert, lora_run / "weights", lora_run / "run.json", tmp_path / "merged")
    weights = load_file(tmp_path / "merged" / "model.safetensors")
    weights["bert.encoder.layer.0.attention.self.value.weight"] *= factor
    save_file(weights, tmp_path / "merged" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="merging 'lora' changed a logit"):
        timing(tmp_path / "merged")
    assert not (tmp_path / "cola" / "seed1.csv").exists()


def test_a_file_and_its_record_belong_together():
    with pytest.raises(ValueError, match=r"rte/seed1\.json is not the record of .*cola/seed1\.csv"):
        read_latency_runs(["results/latency/cola/seed1.csv"], ["results/latency/rte/seed1.json"])


def test_a_task_is_read_from_a_file_by_the_pattern_of_its_path():
    assert wildcards(Layout.differences, "anywhere/my_task_differences.csv") == {"task": "my_task"}
    assert wildcards(Layout.latency, "latency/cola/seed12.csv") == {"task": "cola", "seed": "12"}
    with pytest.raises(ValueError, match=r"cola\.csv is not named like scores/\{task\}_differences\.csv"):
        wildcards(Layout.differences, "scores/cola.csv")
