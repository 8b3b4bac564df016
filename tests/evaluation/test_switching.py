"""Switching from one task's adapter to another's in memory: what is timed leaves the model that was meant."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from builders import (
    DEFAULT,
    FFT,
    FULL,
    LABELS,
    LORA,
    MERGED,
    UNMERGED,
    draw_table,
    latency_inputs,
    latency_record,
    latency_rows,
    texts,
    tokenized,
    trained,
)  # fmt: skip
from safetensors.numpy import load_file, save_file

from lora_core.evaluation import switching
from lora_core.evaluation.latency import TimedMethod
from lora_core.evaluation.latency_record import LatencyRecord
from lora_core.evaluation.switching import Merge, time_switches
from lora_core.methods import registry
from lora_core.methods.merging import merge_adapter
from lora_core.methods.registry import settings_from_params
from lora_core.models import model as models
from lora_core.models.pretrained import prepare_model
from lora_core.records import LatencyRow, read_json, write_json, write_rows

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def merged(bert, lora_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("merged") / "lora"
    merge_adapter(bert, lora_run / "weights", lora_run / "run.json", out)
    return out


@pytest.fixture(scope="module")
def methods(full_run, lora_run, merged):
    return [
        TimedMethod("fft", settings_from_params(FULL), full_run / "weights"),
        TimedMethod("lora", settings_from_params(LORA), lora_run / "weights", merged),
    ]


@pytest.fixture
def loaded(bert, methods):
    """The models of a timing job."""
    return load_both(bert, methods[1])


def load_both(base, lora):
    return {
        ("lora", "merged"): models.load(lora.merged, LABELS).eval(),
        ("lora", "unmerged"): registry.load(models.load(base, LABELS), lora.settings, lora.weights).eval(),
    }


def parameters(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_an_adapter_that_is_folded_in_takes_the_place_of_the_one_before(bert, lora_run, merged, tmp_path):
    """Another task's adapter is merged in memory; then the first one's folder gives the first one's merged model."""
    model = models.load(merged, LABELS)
    other = tmp_path / "other"
    other.mkdir()
    for file in (lora_run / "weights").iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    tensors = load_file(other / "adapter_model.safetensors")
    save_file({n: t + 0.5 for n, t in tensors.items()}, other / "adapter_model.safetensors", {"format": "pt"})
    expected = parameters(model)
    Merge(other, bert, model)()
    changed = [name for name, p in model.named_parameters() if not torch.equal(p, expected[name])]
    assert {name.partition(".")[0] for name in changed} == {"bert", "classifier"}
    assert len(changed) == len(tensors) - 4  # a matrix for A and B of two targets in two layers, and the head
    Merge(lora_run / "weights", bert, model)()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p, expected[name], atol=1e-6, rtol=0)


def test_what_is_timed_leaves_the_models_as_they_were(bert, methods, loaded):
    before = {key: parameters(model) for key, model in loaded.items()}
    with torch.inference_mode():
        times = time_switches(methods, bert, LABELS, loaded, CPU)
    for key, model in loaded.items():
        for name, p in model.named_parameters():
            torch.testing.assert_close(p, before[key][name], atol=1e-6, rtol=0)
    assert times.attach_seconds.keys() == times.merge_seconds.keys() == {"lora"}  # full fine-tuning has none
    rounds = {len(times.full_model_seconds), *map(len, times.attach_seconds.values())}
    assert len(rounds) == 1 <= max(rounds) <= 6
    slowest = max(np.median(s) for s in [times.attach_seconds["lora"], times.merge_seconds["lora"]])
    assert 0 < slowest < np.median(times.full_model_seconds) / 2  # a tenth with a model that is not tiny (below)


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_attaching_another_adapter_takes_at_most_a_tenth_of_loading_a_full_model(one_thread, tmp_path, monkeypatch):
    """MiniLM, the smallest model that studies use; a larger one takes longer to load, and an adapter hardly.

    Processor time, which other programs do not lengthen. Attaching takes 0.07 of loading (medians of 8 times 5 rounds
    between 0.069 and 0.077), merging 0.12.
    """
    base = tmp_path / "minilm"
    prepare_model(DEFAULT["model"], base)
    data = tokenized(base, tmp_path / "data", "cola", train=8, validation=8)
    once = {"hyperparameters": {"epochs": 1}}
    full, adapter = (trained(settings, base, data, tmp_path / settings["kind"], **once) for settings in (FULL, LORA))
    merged = tmp_path / "merged" / "lora"
    merge_adapter(base, adapter / "weights", adapter / "run.json", merged)
    lora = TimedMethod("lora", settings_from_params(LORA), adapter / "weights", merged)
    methods = [TimedMethod("fft", settings_from_params(FULL), full / "weights"), lora]
    in_memory = load_both(base, lora)
    clock = SimpleNamespace(perf_counter=time.process_time, monotonic=time.monotonic)
    monkeypatch.setattr(switching, "time", clock)
    with torch.inference_mode():
        _, *times = (time_switches(methods, base, LABELS, in_memory, CPU) for _ in range(9))  # the first warms up
    load = np.median([seconds for each in times for seconds in each.full_model_seconds])
    attach = np.median([seconds for each in times for seconds in each.attach_seconds["lora"]])
    merge = np.median([seconds for each in times for seconds in each.merge_seconds["lora"]])
    assert attach < load / 10
    assert merge < load / 4  # twice of what it takes


def test_without_an_adapter_nothing_is_timed(bert, methods):
    assert time_switches(methods[:1], bert, LABELS, {}, CPU) is None


def details(folder, **switching):
    """Table 3's details of a task whose record has these switches."""
    file = folder / "latency" / "cola" / "seed1.csv"
    file.parent.mkdir(parents=True)
    times = {FFT: [0.5] * 3, MERGED: [0.5] * 3, UNMERGED: [0.6] * 3}
    write_rows(file, [*latency_rows(times), *latency_rows(times, "single", 1)], LatencyRow)
    record = file.with_suffix(".json")
    latency_record(record)
    write_json(record, read_json(record) | switching)
    return draw_table("table3-details", latency_inputs(file), latency_margin=0.03)


def test_the_details_of_table_3_have_the_switches_relative_to_loading_a_full_model(tmp_path):
    seconds = {"full_model_seconds": [0.2, 0.9, 0.1], "attach_seconds": {"lora": [0.004, 0.002, 0.003]}}
    table = details(tmp_path, switching=seconds | {"merge_seconds": {"lora": [0.01, 0.01, 0.3]}})
    shown = texts(table)
    assert shown["Load a full model from disk (ms)", "CoLA"] == "200"
    assert shown["LoRA (own), merged: switch to another task (ms)", "CoLA"] == "10.0"
    assert shown["LoRA (own), attached: switch to another task, of loading a full model (%)", "CoLA"] == "1.50"
    assert not [row for row, _ in shown if row.startswith("Full") and "switch" in row]
    assert any("from_pretrained" in note for note in table.notes)


@pytest.mark.parametrize("switching", [{}, {"switching": None}])
def test_older_records_have_no_switches(switching, tmp_path):
    table = details(tmp_path, **switching)
    assert not [row for row, _ in texts(table) if "switch" in row or "Load" in row]
    assert not any("from_pretrained" in note for note in table.notes)
    assert LatencyRecord.read(tmp_path / "latency" / "cola" / "seed1.json").switching is None
