"""Batches on the device: what a model gets is what padding on the host gives, and the host waits for no value."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import FULL, LABELS, LORA, LORALIB, TARGETS, spec, tokenized, trained, unmeasured_rows
from torch.utils._python_dispatch import TorchDispatchMode

from lora_core.data import batches
from lora_core.models import masks
from lora_core.training import device_batches
from lora_core.training.device_batches import DeviceExamples, padded_lengths
from lora_core.training.run import build_model
from lora_core.training.steps import compute_logits, forward, predict_logits
from lora_core.training.training_step import StaticStep

CPU, CUDA = torch.device("cpu"), torch.device("cuda")  # of CUDA only the name counts
PEFT_LORA = {"kind": "peft", "config": {"peft_type": "LORA", "r": 4, "target_modules": ["query", "value"]}}
HOULSBY = {"kind": "houlsby", "bottleneck": 4, "targets": ["output.dense"]}
PREFIX = {"kind": "peft", "config": {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4}}


@pytest.fixture(scope="module")
def pairs(bert, tmp_path_factory):
    """A task of sentence pairs, whose tokens have types."""
    return tokenized(bert, tmp_path_factory.mktemp("data") / "rte", "rte")


def built(settings, folder, **changes):
    return build_model(spec(settings, **changes), folder, LABELS, TARGETS)


@pytest.mark.parametrize("has_types", [True, False])
def test_inputs_gathered_on_the_device_are_those_padded_on_the_host(has_types, pairs, bert):
    split = batches.load(pairs / "train.safetensors")
    types = np.random.default_rng(0).integers(0, 2, len(split.tokens)).astype(np.int8)
    split = replace(split, types=types if has_types else None)
    examples = DeviceExamples(split, built(LORA, bert))
    order = batches.order(split.lengths, 7, "random", 1)
    for host, device in zip(batches.batches(split, order, 0), examples.batches(order), strict=True):
        inputs = examples.inputs(device.rows, device.tokens)
        expected = {"input_ids": host.ids, "attention_mask": host.mask}
        if has_types:
            expected["token_type_ids"] = host.types
        assert set(inputs) == set(expected)
        assert all(torch.equal(inputs[name], torch.from_numpy(array)) for name, array in expected.items())
        assert np.array_equal(examples.labels[device.rows].numpy(), host.labels)
        assert (device.tokens_real, device.tokens_computed) == (host.tokens_real, host.tokens_computed)
        assert device.shape == host.ids.shape


def test_lengths_are_rounded_up_but_not_beyond_the_limit():
    lengths = np.array([1, 8, 9, 120, 121, 125])
    assert padded_lengths(lengths, 8, 125).tolist() == [8, 8, 16, 120, 125, 125]
    assert padded_lengths(lengths, 8, None).tolist() == [8, 8, 16, 120, 128, 128]
    assert padded_lengths(lengths, 1, 125).tolist() == lengths.tolist()
    assert padded_lengths(np.array([130]), 8, 125).tolist() == [130]  # never below what there is


def test_padding_to_a_multiple_of_eight_counts_as_computed_and_moves_no_logit(pairs, bert, monkeypatch):
    split, model = batches.load(pairs / "validation.safetensors"), built(LORA, bert).eval()
    plain = predict_logits(model, DeviceExamples(split, model), "fp32", 16)
    monkeypatch.setitem(device_batches.MULTIPLE, "cpu", 8)
    padded = DeviceExamples(split, model)
    order = batches.evaluation_order(split.lengths, 16)
    assert {batch.tokens % 8 for batch in padded.batches(order)} == {0}
    assert all(batch.tokens - 8 < split.lengths[rows].max() <= batch.tokens
               for batch, rows in zip(padded.batches(order), order, strict=True))  # fmt: skip
    np.testing.assert_allclose(predict_logits(model, padded, "fp32", 16), plain, atol=1e-6)


def test_a_run_with_rounded_lengths_records_the_tokens_that_it_computes(pairs, bert, tmp_path, monkeypatch):
    plain = trained(LORA, bert, pairs, tmp_path / "plain", task="rte")
    monkeypatch.setitem(device_batches.MULTIPLE, "cpu", 8)
    rounded = trained(LORA, bert, pairs, tmp_path / "rounded", task="rte")
    for before, after in zip(*(unmeasured_rows(out / "history.csv") for out in (plain, rounded)), strict=True):
        assert before["tokens_real"] == after["tokens_real"]
        assert int(after["tokens_computed"]) % 64 == 0  # 8 rows of a multiple of 8
        assert int(after["tokens_computed"]) > int(before["tokens_computed"])
        assert float(after["train_loss"]) == pytest.approx(float(before["train_loss"]), abs=0.05)


def test_predictions_are_in_the_order_of_the_split(pairs, bert):
    split, model = batches.load(pairs / "validation.safetensors"), built(LORA, bert).eval()
    logits = predict_logits(model, DeviceExamples(split, model), "fp32", 16)
    for row in (0, 11, len(split) - 1):
        (batch,) = batches.batches(split, [np.array([row])], 0)
        with torch.no_grad():
            alone = compute_logits(model, batch, CPU)
        np.testing.assert_allclose(logits[row], alone[0].numpy(), atol=1e-5)


class NeverWaits(TorchDispatchMode):
    """Refuses every operation whose result is a value on the host, or has a size that only values decide."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        assert name not in self.WAITING, f"{name}: a GPU's host would wait here"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("settings", [FULL, LORA, LORALIB, PEFT_LORA, HOULSBY], ids=lambda s: s["kind"])
def test_no_training_step_and_no_evaluation_makes_the_host_wait(settings, family, precision, pairs, request):
    plan = spec(settings, precision=precision)
    model = built(settings, request.getfixturevalue(family)).train()
    masks.choose_form(model, CUDA)
    split = DeviceExamples(batches.load(pairs / "train.safetensors"), model)
    step = StaticStep(plan, model, split, 100)
    for batch in split.batches([np.arange(8), np.arange(8, 16)]):
        with NeverWaits():
            step(batch)
    (batch,) = split.batches([np.arange(8)])
    with torch.inference_mode(), NeverWaits():
        forward(model.eval(), split.inputs(batch.rows, batch.tokens), precision)


def test_with_a_flat_mask_the_host_would_wait(pairs, bert):
    model = built(PREFIX, bert)
    masks.choose_form(model, CUDA)
    split = DeviceExamples(batches.load(pairs / "train.safetensors"), model)
    (batch,) = split.batches([np.arange(8)])
    assert masks.form(model) == "flat"  # a prefix lengthens the mask
    with pytest.raises(AssertionError, match="a GPU's host would wait here"), NeverWaits():
        forward(model, split.inputs(batch.rows, batch.tokens), "fp32")


NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@NEEDS_CUDA
@pytest.mark.parametrize("settings", [FULL, LORA], ids=["full", "lora"])
def test_on_a_gpu_graphs_train_as_eager_steps_and_nothing_waits(settings, pairs, bert, tmp_path, monkeypatch):
    from safetensors.numpy import load_file

    from lora_core.records import read_json

    plain = StaticStep.__call__

    def guarded(self, batch):
        torch.cuda.set_sync_debug_mode("error")
        try:
            return plain(self, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(StaticStep, "__call__", guarded)
    outs = {}
    for graphs in ("off", "auto"):
        changes = {"device": "cuda", "cuda_graphs": graphs, "hyperparameters": {"dropout": 0.0, "epochs": 3}}
        outs[graphs] = trained(settings, bert, pairs, tmp_path / graphs, task="rte", **changes)
    execution = {name: read_json(out / "run.json")["measurement"]["execution"] for name, out in outs.items()}
    assert execution == {"off": "eager", "auto": "graphs"}
    losses = [load_file(out / "predictions.safetensors")["step_losses"] for out in outs.values()]
    np.testing.assert_allclose(*losses, atol=1e-5)
