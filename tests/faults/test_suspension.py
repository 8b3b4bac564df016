"""A process that was stopped, or whose machine was asleep, says so, whatever it measured and however rarely."""

import time

import pandas as pd
import pytest
from builders import (
    FULL,
    LORA,
    METHOD_LABELS,
    REFERENCES,
    draw_figure,
    draw_table,
    latency_inputs,
    run_inputs,
    run_outputs,
    spec,
    texts,
)
from faults import output_of_stopped

from lora_core.evaluation import timed_rounds
from lora_core.evaluation.cost_to_threshold import write_costs
from lora_core.evaluation.frames import read_latency_runs
from lora_core.evaluation.latency import LatencyPlan, TimedMethod, TimingInputs, TimingOutputs, time_inference
from lora_core.evaluation.run_history import read_history
from lora_core.evaluation.run_record import RunRecord
from lora_core.measuring import pulse
from lora_core.methods.registry import settings_from_params
from lora_core.records import read_json
from lora_core.training import loop, training_step
from lora_core.training.run import train

RARELY = 30.0  # seconds between two samples
STOPPED = """
import time
from lora_core.measuring.meters import NoMeter
from lora_core.measuring.sampler import Sampler
from lora_core.measuring.sampling import sampling
with Sampler(NoMeter("none"), "cpu", 30.0) as running, running.window("train") as rows:
    time.sleep(0.3)
    print("training", flush=True)
    time.sleep(1.0)
print(running.pulse.suspended_seconds(), sampling([rows], 30.0).suspended_seconds)
"""


@pytest.fixture
def sleep(monkeypatch):
    """A function that puts the machine to sleep for some seconds, in which only the clock goes on."""
    asleep, clock = [0.0], pulse.now
    monkeypatch.setattr(pulse, "now", lambda: clock() + asleep[0])

    def add(seconds):
        asleep[0] += seconds

    return add


def at_call(number, function, before):
    """The same function, which calls `before` at first at its call with this number."""
    calls = []

    def wrapped(*arguments, **keywords):
        calls.append(1)
        if len(calls) == number:
            before()
        return function(*arguments, **keywords)

    return wrapped


@pytest.mark.faults
@pytest.mark.parametrize("stop", [True, False])
def test_a_stop_between_two_samples_that_are_far_apart_is_noticed(stop):
    by_clock, by_gaps = map(float, output_of_stopped(STOPPED, stop=stop).split())
    assert by_gaps == 0.0
    assert by_clock >= 2.9 if stop else by_clock == 0.0


def test_a_leap_of_the_clock_counts_once_and_a_pause_does_not(sleep):
    with pulse.Pulse() as beating:
        sleep(25.0)
        assert beating.suspended_seconds() == pytest.approx(25, abs=0.6)
        assert beating.suspended_seconds() == pytest.approx(25, abs=0.6)
        sleep(2.0)  # of a driver that does not answer, or of busy processors
        assert beating.suspended_seconds() == pytest.approx(25, abs=0.6)
        time.sleep(pulse.BEAT_SECONDS + 0.2)
        sleep(60.0)
        time.sleep(pulse.BEAT_SECONDS + 0.2)
        assert beating.suspended_seconds() == pytest.approx(85, abs=1.2)


@pytest.mark.faults
def test_a_run_that_was_suspended_in_training_or_evaluation_says_in_which(bert, cola, tmp_path, monkeypatch, sleep):
    monkeypatch.setattr(training_step, "optimizer_step", at_call(3, training_step.optimizer_step, lambda: sleep(25.0)))
    monkeypatch.setattr(loop, "predict_logits", at_call(2, loop.predict_logits, lambda: sleep(40.0)))
    outputs = run_outputs(tmp_path / "run")
    train(spec(LORA, sample_seconds=RARELY, hyperparameters={"epochs": 2}), run_inputs(bert, cola), outputs)
    history = pd.read_csv(outputs.history)
    assert list(history["train_suspended_seconds"]) == pytest.approx([25, 0], abs=0.6)
    assert list(history["eval_suspended_seconds"]) == pytest.approx([0, 40], abs=0.6)
    assert RunRecord.read(outputs.record).energy.suspended_seconds == pytest.approx(25, abs=0.6)
    assert read_json(outputs.record)["measurement"]["eval_suspended_seconds"] == pytest.approx(40, abs=0.6)
    run = read_history(outputs.record, outputs.history, outputs.power)
    costs = tmp_path / "energy" / "cola.csv"
    costs.parent.mkdir()
    write_costs([run], REFERENCES, costs, costs.with_name("cola_curve.csv"))
    notes = " ".join(draw_table("table6", {"costs": [costs]}, methods=(run.record.method,)).notes)
    name = f"{METHOD_LABELS[run.record.method]} CoLA seed 1"
    assert f"* Suspended while training: {name} (25 s). Their time, power and energy are not" in notes
    assert f"Suspended while evaluating, which no time or energy here includes: {name} (40 s)." in notes


@pytest.fixture
def timing(bert, cola, full_run, lora_run, tmp_path):
    """A function that times two methods, and its outputs."""
    methods = [
        TimedMethod("fft", settings_from_params(FULL), full_run / "weights"),
        TimedMethod("lora", settings_from_params(LORA), lora_run / "weights"),
    ]
    plan = LatencyPlan(8, 0.0, 0.03, 16, 1, 1, "cpu", 1, None)
    outputs = TimingOutputs(tmp_path / "cola" / "seed1.csv", tmp_path / "cola" / "seed1.json")
    inputs = TimingInputs(bert, cola / "card.json", cola / "validation.safetensors")
    return lambda: time_inference(methods, inputs, plan, outputs), outputs


@pytest.mark.faults
@pytest.mark.parametrize("asleep", [25.0, None])
def test_timing_that_was_suspended_is_marked_in_its_table_and_figure(timing, tmp_path, monkeypatch, sleep, asleep):
    time_methods, outputs = timing
    monkeypatch.setattr(timed_rounds, "MAX_WARMUP", 3)  # the ninth pass is a timed one
    if asleep:
        seconds = at_call(9, timed_rounds._seconds, lambda: sleep(asleep))
        monkeypatch.setattr(timed_rounds, "_seconds", seconds)
    time_methods()
    assert read_json(outputs.record)["suspended_seconds"] == pytest.approx(asleep or 0.0, abs=0.6)
    (run,) = read_latency_runs([outputs.passes], [outputs.record])
    assert run.suspended == ("CoLA seed 1 (25 s)" if asleep else None)
    inputs = latency_inputs(outputs.passes)
    table = draw_table("table3", inputs, latency_margin=0.03)
    assert texts(table)["Full fine-tuning", "CoLA"].endswith(" *") == bool(asleep)
    assert ("* Suspended while timed: CoLA seed 1 (25 s)." in " ".join(table.notes)) == bool(asleep)
    figure = draw_figure("latency", inputs, tmp_path).read_text()
    assert ("Suspended while timed: CoLA seed 1" in figure) == bool(asleep)
