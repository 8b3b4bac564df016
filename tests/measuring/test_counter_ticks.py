"""Short windows over a counter that advances in ticks: what they share, how precise they are, and when they are n/a."""

import itertools
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lora_core.measuring import counter_ticks, meters, nvml
from lora_core.measuring import power_trace as trace
from lora_core.measuring.limits import DeviceLimits
from lora_core.measuring.nvml import NvmlMeter
from lora_core.measuring.sampler import Sampler
from lora_core.records import PowerRow, read_rows

TICK = 0.1  # of an H200
H200 = Path(__file__).parent.parent / "fixtures" / "h200_eager"
LATE = 10.0  # an interval between samples that no window here lasts


def fake_meter(**options):
    return NvmlMeter(lambda: "GPU-fake-0", **options)


def row(seconds, counter=None, phase="train", watts=None):
    return PowerRow(seconds, 0, phase, "gpu", watts, None, None, counter)


# --- a trace of a real H200 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "joules", "ratio"),
    [("fft", 12005.035, 1.0285), ("lora", 17468.113, 1.0036), ("lora_ref", 17870.216, 1.0175)],
)
def test_a_real_trace_gives_the_energies_that_were_recorded(method, joules, ratio):
    rows = read_rows(H200 / f"{method}.csv", PowerRow)
    energy = trace.energy(rows, 0.5, DeviceLimits.of(700.0))
    assert energy.source == "counter"
    assert energy.train_joules == pytest.approx(joules, rel=1e-3)
    assert energy.counter_over_trapezoid == pytest.approx(ratio, abs=5e-5)
    assert energy.idle_watts == pytest.approx(81.07, rel=1e-3)
    assert energy.uncertainty_joules is energy.idle_context_watts is None  # older records measured neither


def test_the_uncertainty_of_a_real_trace_is_that_of_its_edges():
    rows = read_rows(H200 / "fft.csv", PowerRow)
    energy = trace.energy(rows, 0.5, DeviceLimits.of(700.0), TICK)
    edges = 2 + 2 * (4 / 12) ** 0.5  # two of the run, and four between its three epochs
    watts = energy.power_mean_watts  # its three evaluations of 0.13 s are too short for their power to be known
    assert energy.uncertainty_joules == pytest.approx(TICK * watts * edges + 2 * watts * TICK / 2)
    assert energy.uncertainty_joules < 0.025 * energy.train_joules


# --- the tick, and edges ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tick", [0.02, 0.1])
def test_the_tick_is_measured_while_the_device_is_idle(fake_nvml, tick):
    fake_nvml(tick=tick)
    with Sampler(fake_meter(), "gpu", LATE) as sampler:
        sampler.measure_idle(0.6)
    assert sampler.counter_tick_seconds == pytest.approx(tick, rel=0.2)
    assert {r.phase for r in sampler.rows} == {"idle"}


def test_a_counter_that_advances_quickly_is_watched_for_a_moment_only(fake_nvml, monkeypatch):
    meter = fake_meter()
    reads, plain = [], meter.read_edge
    monkeypatch.setattr(meter, "read_edge", lambda: (reads.append(0), plain())[1])
    with Sampler(meter, "gpu", LATE) as sampler:
        sampler.measure_idle(1.0)
    assert sampler.counter_tick_seconds < 0.02
    assert len(reads) < 60  # some 900 in a second


@pytest.mark.parametrize("script", [{"tick": 0.3}, {"no_counter": 1}, {"freeze_after": 0.0001}])
def test_a_counter_that_hardly_ever_advances_has_no_tick(fake_nvml, script):
    fake_nvml(**script)
    with Sampler(fake_meter(), "gpu", LATE) as sampler:
        sampler.measure_idle(0.4)
    assert sampler.counter_tick_seconds is None


def test_windows_that_follow_each_other_share_the_reading_at_their_common_edge(fake_nvml):
    with Sampler(fake_meter(), "gpu", LATE) as sampler:
        for phase in ("train", "eval", "train"):
            with sampler.window(phase):
                time.sleep(0.05)
    for end, start in itertools.pairwise(sampler.rows[1:-1]):
        if end.phase != start.phase:
            assert {**vars(end), "phase": None} == {**vars(start), "phase": None}
    train, evaluation = trace.windows(sampler.rows, "train"), trace.windows(sampler.rows, "eval")
    whole = (sampler.rows[-1].counter_millijoules - sampler.rows[0].counter_millijoules) / 1e3
    assert sum(map(trace.counter_joules, train)) == pytest.approx(whole - trace.counter_joules(evaluation[0]), abs=1e-9)


def test_what_lies_between_two_windows_belongs_to_neither(fake_nvml):
    with Sampler(fake_meter(), "gpu", LATE) as sampler:
        with sampler.window("eval"):
            pass
        time.sleep(0.1)  # a state is saved
        with sampler.window("train") as train:
            time.sleep(0.05)
    assert trace.seconds(train) < 0.1


def test_a_failed_reading_at_an_edge_is_not_shared(fake_nvml):
    fake_nvml(error=12345, error_until=0.2)
    with Sampler(fake_meter(), "gpu", LATE) as sampler:
        with sampler.window("eval"):
            pass
        sampler.meter.reason = None
        fake_nvml(error=0)
        with sampler.window("train") as train:
            pass
    assert train[0].counter_millijoules is not None


def test_an_edge_reads_power_energy_and_memory_and_the_processes_are_listed_every_few_seconds(fake_nvml, monkeypatch):
    import pynvml

    asked = []
    for name in ("TotalEnergyConsumption", "Temperature", "UtilizationRates", "ComputeRunningProcesses", "ClockInfo"):
        plain = getattr(pynvml, f"nvmlDeviceGet{name}")
        monkeypatch.setattr(
            pynvml, f"nvmlDeviceGet{name}", lambda *a, name=name, plain=plain: (asked.append(name), plain(*a))[1]
        )
    meter = fake_meter()
    asked.clear()
    edge = meter.read_edge()
    assert asked == ["TotalEnergyConsumption"]
    assert None not in (edge.power_watts, edge.memory_used_mb, edge.counter_millijoules)
    for _ in range(3):
        meter.read()
    assert asked.count("Temperature") == 3
    assert asked.count("ComputeRunningProcesses") == 0
    monkeypatch.setattr(nvml, "PROCESSES_SECONDS", 0.0)
    meter.read()
    assert asked.count("ComputeRunningProcesses") == 1


# --- how precise -----------------------------------------------------------------------------------------------------


def test_energy_is_as_precise_as_it_says_however_many_epochs_a_run_has():
    """Runs at 300 W whose epochs last about 0.6 s, each followed by an evaluation at 200 W."""
    rng = np.random.default_rng(0)
    for epochs in (5, 40):
        wrong = []
        for _ in range(200):
            lengths = np.column_stack([rng.uniform(0.5, 0.7, epochs), rng.uniform(0.05, 0.15, epochs)]).ravel()
            times = np.concatenate([[0.0], np.cumsum(lengths)]) + rng.uniform(0, TICK)
            true = np.concatenate([[0.0], np.cumsum(lengths * np.tile([300.0, 200.0], epochs))])
            ticks = np.interp(np.floor(times / TICK) * TICK, times, true, left=-300.0 * (times[0] % TICK))
            pairs = zip(times, ticks, strict=True)
            edges = [row(float(t), float(1e3 * joules) + 1e6) for t, joules in pairs]
            train = [[edges[2 * e], edges[2 * e + 1]] for e in range(epochs)]
            measured = trace.energy_joules(train, "counter", tick=TICK)
            error = abs(measured - 300.0 * sum(lengths[::2]))
            wrong.append(error > trace.uncertainty_joules(train, measured, TICK, 200.0))
        assert np.mean(wrong) <= 0.05
        two_ticks_of_each_epoch = 2 * TICK * 300 * epochs
        assert trace.uncertainty_joules(train, measured, TICK, 200.0) < two_ticks_of_each_epoch / 2


@pytest.mark.parametrize(("seconds", "measured"), [(0.99, False), (1.01, True), (1.99, True)])
def test_a_window_is_too_short_if_its_edges_may_be_wrong_by_a_fifth_of_it(seconds, measured):
    window = [[row(0.0, 0.0), row(seconds, 300e3 * seconds)]]
    assert (trace.energy_joules(window, "counter", tick=TICK) is not None) == measured
    assert trace.energy_joules(window, "counter") is None  # the tick is not known: two seconds
    assert trace.energy_joules(window, "trapezoid", tick=TICK) is None


def test_a_run_that_is_too_short_says_for_which_counter():
    energy = trace.energy([row(0.0, 0.0), row(0.4, 120e3)], 0.5, tick=TICK)
    assert energy.train_joules is energy.uncertainty_joules is energy.power_mean_watts is None
    assert energy.reason == "training took 0.4 s, too short for an energy counter that advances every 0.1 s"


def test_a_counter_that_stands_still_in_a_short_run_is_no_energy():
    energy = trace.energy([row(0.0, 7.0), row(1.5, 7.0)], 0.5, tick=TICK)
    assert energy.train_joules is None
    assert "did not advance" in energy.reason


def test_the_median_of_intervals_is_the_tick_and_few_of_them_are_none():
    assert counter_ticks.tick_seconds([0.0, 0.1, 0.2, 0.5, 0.6]) == pytest.approx(0.1)
    assert counter_ticks.tick_seconds([0.0, 0.1, 0.2]) is None


def test_energy_less_idle_subtracts_the_idle_power_with_a_context():
    rows = [
        *(row(t, 1e3 * 80 * t, "idle") for t in (0.0, 4.0)),
        *(row(t, 1e6 + 1e3 * 125 * t, "idle_context") for t in (5.0, 9.0)),
        *(row(t, 2e6 + 1e3 * 300 * t) for t in (10.0, 20.0)),
    ]
    energy = trace.energy(rows, 0.5, tick=TICK)
    assert (energy.idle_watts, energy.idle_context_watts, energy.net_of) == (80.0, 125.0, "idle_context")
    assert energy.train_net_joules == pytest.approx(3000 - 1250)
    older = trace.energy([r for r in rows if r.phase != "idle_context"], 0.5)
    assert (older.train_net_joules, older.net_of) == (pytest.approx(3000 - 800), "idle")


# --- this process, and others ----------------------------------------------------------------------------------------


def processes(monkeypatch, *pids):
    monkeypatch.setattr(NvmlMeter, "_processes", lambda self, handle: set(pids))


def run(meter):
    meter.begin()
    meter.settle()
    meter.close()
    return meter.shared


def test_a_second_run_in_one_process_does_not_take_itself_for_another(fake_nvml, monkeypatch):
    processes(monkeypatch, 77)  # in a container the number is not os.getpid()
    assert run(fake_meter(was_here=True)) is False
    processes(monkeypatch, 77, 4711)
    assert run(fake_meter(was_here=True)) is True


def test_this_process_is_known_by_its_number_among_others(fake_nvml, monkeypatch):
    import os

    processes(monkeypatch, os.getpid())
    assert run(fake_meter()) is False
    processes(monkeypatch, os.getpid(), 4711)
    meter = fake_meter(was_here=True)
    assert run(meter) is True
    assert meter._others == {4711}


def test_another_process_that_was_there_is_not_taken_for_this_one(fake_nvml, monkeypatch):
    """CUDA was used before, but on another device: this process comes to this one later."""
    processes(monkeypatch, 4711)
    meter = fake_meter(was_here=True)
    meter.begin()
    processes(monkeypatch, 4711, 77)
    meter.settle()
    assert meter.shared is True


def test_a_process_that_came_at_the_end_is_noticed_when_the_meter_is_closed(fake_nvml, monkeypatch):
    meter = fake_meter()
    meter.begin()
    processes(monkeypatch, 77)
    meter.settle()
    processes(monkeypatch, 77, 4711)
    meter.close()
    assert meter.shared is True


def test_the_meter_of_a_gpu_is_told_whether_cuda_was_used_before(fake_nvml, monkeypatch):
    monkeypatch.setattr(meters, "uuid", lambda device: "GPU-fake-0")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    processes(monkeypatch, 77)
    assert run(meters.open_meter("nvml", torch.device("cuda", 0))) is False
