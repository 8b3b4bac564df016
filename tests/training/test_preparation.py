"""The preparation before the first epoch: measured by itself, and without a trace in what is trained."""

import csv
import itertools
import math

import numpy as np
import pytest
from builders import FULL, LORA, spec, trained

from lora_core.measuring import power_trace as trace
from lora_core.records import MEASURED, PowerRow, read_json, read_rows
from lora_core.training import preparation
from lora_core.training.epoch_order import epoch_order
from lora_core.training.loop import TrainingLoop

PEFT_LORA = {"kind": "peft", "config": {"peft_type": "LORA", "r": 4, "target_modules": ["query", "value"]}}
CHANGES = {"hyperparameters": {"epochs": 2, "dropout": 0.1}}


def files(out):
    names = [*sorted(out.glob("weights/*.safetensors")), out / "predictions.safetensors"]
    return {path.name: path.read_bytes() for path in names}


@pytest.mark.parametrize("settings", [FULL, LORA, PEFT_LORA], ids=["full", "lora", "peft"])
def test_a_run_with_preparation_ends_as_one_without(bert, cola, tmp_path, monkeypatch, settings):
    monkeypatch.setattr(preparation, "BATCHES_ELSEWHERE", 4)
    prepared = files(trained(settings, bert, cola, tmp_path / "with", **CHANGES))
    monkeypatch.setattr(TrainingLoop, "_prepare", lambda self, epoch: None)
    plain = files(trained(settings, bert, cola, tmp_path / "without", **CHANGES))
    assert len(plain) >= 2
    assert prepared == plain


def test_the_preparation_has_time_and_energy_of_its_own_before_the_first_epoch(lora_run):
    measured = read_json(lora_run / "run.json")["measurement"]
    rows = read_rows(lora_run / "power.csv", PowerRow)
    (window,) = trace.windows(rows, "preparation")
    assert measured["preparation"] == {"seconds": trace.seconds(window), "energy_joules": None}
    assert trace.seconds(window) > 0
    assert window[-1].seconds <= trace.windows(rows, "train")[0][0].seconds
    with (lora_run / "history.csv").open(newline="") as stream:
        epochs = [float(line["train_seconds"]) for line in csv.DictReader(stream)]
    assert measured["train_seconds"] == sum(epochs)
    assert "preparation" in MEASURED


def test_consecutive_windows_of_a_run_share_their_edges(lora_run):
    rows = read_rows(lora_run / "power.csv", PowerRow)
    changes = [(a, b) for a, b in itertools.pairwise(rows) if {a.phase, b.phase} == {"train", "eval"}]
    assert len(changes) == 3  # of two epochs
    shared = sum(a.seconds == b.seconds for a, b in changes)
    assert shared >= 1  # all of them, unless the machine was busy between two windows


def test_preparation_trains_on_shapes_from_the_largest_to_the_smallest():
    lengths = np.random.default_rng(0).integers(5, 60, 200)
    order = epoch_order(spec(LORA), lengths, 1)
    sizes = [len(rows) * int(lengths[rows].max()) for rows in order.spread(4)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
    every = [math.prod(shape) for shape in order.shapes]
    assert (sizes[0], sizes[-1]) == (max(every), min(every))
    assert len(order.spread(10**6)) == len(set(order.shapes))
