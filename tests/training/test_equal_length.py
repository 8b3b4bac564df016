"""A run of a model whose logits change with padding: every batch has inputs of one length, and every record says so."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from builders import (
    DRAWN,
    LORA,
    SHAPE,
    interrupted_before_epoch,
    prepared,
    run_content,
    run_inputs,
    run_outputs,
    spec,
    tokenized,
    trained,
    unmeasured_rows,
    without_measured,
)
from hypothesis import given
from hypothesis import strategies as st

from lora_core.data import batches
from lora_core.evaluation import latency
from lora_core.evaluation.references import References
from lora_core.evaluation.run_record import RunRecord
from lora_core.evaluation.scores import RunPredictions, compare_scores
from lora_core.methods.registry import settings_from_params
from lora_core.records import read_json
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.model_card import model_card
from lora_core.reporting.tables import scores as table2
from lora_core.training import device_batches
from lora_core.training.checkpoint import CheckpointSettings
from lora_core.training.epoch_order import epoch_order
from lora_core.training.run import train

FNET = SHAPE | {"model_type": "fnet", "tpu_short_seq_length": 32}
LORA_IN_FNET = LORA | {"targets": ["intermediate.dense"]}  # it has no query
METHODS = {"fft": {"kind": "full"}, "lora": LORA_IN_FNET}


@pytest.fixture(scope="module")
def fnet(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("models") / "fnet", FNET)


@pytest.fixture(scope="module")
def data(fnet, tmp_path_factory):
    return tokenized(fnet, tmp_path_factory.mktemp("data") / "cola", "cola")


@pytest.fixture(scope="module")
def runs(fnet, data, tmp_path_factory):
    """A finished run of each method, by its name; lengths are rounded up as on a GPU."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(device_batches.MULTIPLE, "cpu", 8)
        return {
            name: trained(settings, fnet, data, folder / name, method=name, batching=batching)
            for (name, settings), batching in zip(METHODS.items(), ("random", "length_grouped"), strict=True)
        }


lengths = st.lists(st.integers(1, 40), min_size=1, max_size=300)


@given(lengths=lengths, size=st.integers(1, 20), seed=st.integers(0, 2**63))
def test_batches_of_equal_length_hold_every_example_once_and_no_padding(lengths, size, seed):
    lengths = np.array(lengths)
    for order in (batches.order(lengths, size, "equal_length", seed), batches.evaluation_order(lengths, size, True)):
        assert sorted(np.concatenate(order)) == list(range(len(lengths)))
        assert all(len(batch) <= size and len(set(lengths[batch])) == 1 for batch in order)
        counts = np.unique(lengths, return_counts=True)[1]
        assert len(order) == sum(-(-counts // size))  # as few batches as there can be, the same in every epoch


def test_an_epoch_of_equal_lengths_is_shuffled_anew_and_a_function_of_run_and_epoch():
    lengths = np.random.default_rng(0).integers(5, 9, 200)
    orders = [epoch_order(spec(LORA), lengths, epoch, equal_length=True).rows for epoch in (1, 2, 1)]
    first, second, again = ([batch.tolist() for batch in order] for order in orders)
    assert first == again
    assert sorted(map(sorted, first)) != sorted(map(sorted, second))
    of_batch = [lengths[batch[0]] for batch in first]
    assert of_batch != sorted(of_batch)  # short texts do not always come first


@pytest.mark.parametrize("method", METHODS)
def test_no_batch_of_a_run_is_padded_not_even_to_a_multiple_of_eight(method, runs, data):
    history = list(csv.DictReader((runs[method] / "history.csv").open()))
    split = batches.load(data / "train.safetensors")
    counts = np.unique(split.lengths, return_counts=True)[1]
    for row in history:
        assert row["tokens_computed"] == row["tokens_real"] == str(split.lengths.sum())
        assert int(row["steps"]) == sum(-(-counts // 8)) > len(split) / 8
    measurement = read_json(runs[method] / "run.json")["measurement"]
    assert measurement["equal_length_batches"] is True
    assert measurement["steps"] == sum(int(row["steps"]) for row in history)


def test_a_run_of_a_model_that_may_be_padded_says_so(lora_run):
    assert read_json(lora_run / "run.json")["measurement"]["equal_length_batches"] is False
    assert RunRecord.from_json(run_content()).equal_length_batches is False  # of a version that did not look


def test_an_interrupted_run_ends_as_if_nothing_had_happened(runs, fnet, data, tmp_path, monkeypatch):
    monkeypatch.setitem(device_batches.MULTIPLE, "cpu", 8)
    outputs, plan = run_outputs(tmp_path / "run"), spec(LORA_IN_FNET, base_model="fnet", method="lora")
    arguments = (plan, run_inputs(fnet, data), outputs, 1, CheckpointSettings(tmp_path / "checkpoint", 0, "code"))
    with interrupted_before_epoch(2):
        train(*arguments)
    train(*arguments)
    assert read_json(outputs.record)["measurement"]["parts"] == 2
    assert unmeasured_rows(outputs.history) == unmeasured_rows(runs["lora"] / "history.csv")
    for name in ("predictions.safetensors", "weights/adapter_model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (runs["lora"] / name).read_bytes()
    assert without_measured(read_json(outputs.record)["run"]) == without_measured(
        read_json(runs["lora"] / "run.json")["run"]
    )


def test_card_and_table_2_say_that_nothing_was_padded(runs, tmp_path):
    record = RunRecord.read(runs["lora"] / "run.json")
    assert "| batches | inputs of one length each" in model_card(record, "LoRA", "peft", True)
    assert "inputs of one length" not in model_card(replace(record, equal_length_batches=False), "LoRA", "peft", True)
    for equal_length in (True, False):
        labels, logits = np.arange(40) % 2, np.random.default_rng(0).normal(size=(2, 40, 2))
        one = RunPredictions(replace(record, equal_length_batches=equal_length), logits, labels)
        files = tmp_path / "cola.csv", tmp_path / "cola_differences.csv"
        compare_scores([one], References(), *files)
        inputs = {"scores": [files[0]], "differences": [files[1]]}
        for draw in (table2.draw, table2.draw_details):
            notes = draw(inputs, DrawSettings(**DRAWN)).notes
            assert (table2.EQUAL_LENGTH_NOTE in notes) == equal_length


def test_inference_is_timed_without_padding(runs, fnet, data, monkeypatch):
    import torch

    monkeypatch.setitem(device_batches.MULTIPLE, "cpu", 8)
    methods = [
        latency.TimedMethod(name, settings_from_params(settings), runs[name] / "weights")
        for name, settings in METHODS.items()
    ]
    card = latency.read_data_card(data / "card.json")
    plan = latency.LatencyPlan(3, 0.0, 0.03, 16, 5, 1, "cpu", 1, None)
    loaded = latency._load_models(methods, fnet, card, "cpu")
    variants = latency._place(loaded, batches.load(data / "validation.safetensors"), plan, torch.device("cpu"))
    for variant in variants.values():
        one_by_one = variant.examples.inputs_in([np.array([row]) for row in range(5)])
        assert all(inputs["attention_mask"].all() for inputs in [*variant.batches, *one_by_one])
        assert sum(len(inputs["input_ids"]) for inputs in variant.batches) == 40
