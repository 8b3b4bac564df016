"""A trace: energy is power over the real time, absent is None, and windows are what the samples say."""

import os
from pathlib import Path

import pytest

from lora_core.measuring import conditions
from lora_core.measuring import power_trace as trace
from lora_core.measuring.limits import DeviceLimits
from lora_core.records import PowerRow, read_rows, read_run_record, write_rows


def row(seconds, watts=None, counter=None, phase="train", **more):
    fields = {"utilization_percent": None, "memory_used_mb": None} | more
    return PowerRow(
        seconds, fields.pop("part", 0), phase, "gpu", power_watts=watts, counter_millijoules=counter, **fields
    )


def test_the_trapezoid_integrates_over_real_timestamps():
    late = [row(0.0, 100.0), row(0.5, 100.0), row(1.4, 100.0), row(2.0, 100.0)]
    assert trace.trapezoid_joules(late) == pytest.approx(200.0)  # four samples of 0.5 s would give 150 or 200
    ramp = [row(t, 10 * t) for t in (0.0, 0.3, 1.1, 2.0)]
    assert trace.trapezoid_joules(ramp) == pytest.approx(20.0)


def test_a_loop_that_takes_longer_than_its_nominal_step_loses_no_energy():
    """The paper's energies are 0.90-0.91 of its power x time, as samples x 0.5 s are in a loop of 0.55 s."""
    rows = [row(0.55 * i, 300.0) for i in range(201)]
    nominal = sum(300.0 * 0.5 for _ in rows[1:])
    assert nominal / (300.0 * trace.seconds(rows)) == pytest.approx(0.909, abs=0.001)
    assert trace.trapezoid_joules(rows) == pytest.approx(300.0 * trace.seconds(rows))


def test_late_and_missed_samples_are_counted():
    rows = [row(t) for t in (0.0, 0.5, 1.1, 2.6, 3.1)]
    sampling = trace.sampling([rows, [row(10.0), row(10.2)]], 0.5)
    assert (sampling.samples, sampling.late, sampling.missed) == (7, 2, 2)
    assert sampling.longest_gap_seconds == pytest.approx(1.5)


def test_the_counter_is_the_energy_where_there_is_one():
    rows = [row(0.0, 100.0, 1_000.0), row(3.0, 100.0, 91_000.0)]
    assert trace.energy_source(rows) == "counter"
    assert trace.energy_joules([rows], "counter") == 90.0
    plain = [row(0.0, 100.0), row(3.0, 100.0)]
    assert trace.energy_source(plain) == "trapezoid"
    assert trace.energy_joules([plain], "trapezoid") == 300.0
    assert trace.energy_source([row(0.0)]) is None
    assert trace.energy_joules([plain], None) is None


@pytest.mark.parametrize(
    "counters", [(9_000.0, 100.0, 9_500.0), (None, 1.0, 2.0), (1.0, 2.0, None)], ids=["reset", "first", "last"]
)
def test_a_counter_that_ran_backwards_or_was_lost_gives_no_energy(counters):
    rows = [row(2.0 * i, 100.0, counter) for i, counter in enumerate(counters)]
    assert trace.counter_joules(rows) is None
    energy = trace.energy(rows, 0.5)
    assert energy.train_joules is None
    assert energy.train_trapezoid_joules == 400.0
    assert ("backwards" in energy.reason) == (counters[0] == 9_000.0)


def test_a_counter_that_stands_still_is_no_energy_but_the_power_is():
    still = [row(0.5 * i, 100.0, 7_000.0) for i in range(7)]
    energy = trace.energy(still, 0.5)
    assert energy.train_counter_joules is None
    assert (energy.source, energy.train_joules, energy.reason) == ("trapezoid", 300.0, None)
    without_power = trace.energy([row(0.5 * i, None, 7_000.0) for i in range(7)], 0.5)
    assert without_power.train_joules is None
    assert without_power.reason == "the energy counter did not advance during 2 s of training or longer"


def test_a_counter_that_stops_halfway_is_no_energy():
    stops = [row(0.5 * i, None, 50_000.0 * min(i, 6)) for i in range(12)]
    assert trace.energy(stops, 0.5).train_joules is None
    assert trace.energy_joules([stops[:7]], "counter") == 300.0


def test_a_device_that_reports_zero_watts_has_no_energy_and_no_power():
    zero = [row(0.5 * i, 0.0) for i in range(7)]
    energy = trace.energy(zero, 0.5)
    assert (energy.train_joules, energy.train_trapezoid_joules, energy.power_mean_watts) == (None, None, None)
    assert energy.reason == "the device reported 0 W during 2 s of training or longer"
    neither = trace.energy([row(0.5 * i, 0.0, 7_000.0) for i in range(7)], 0.5)  # as RAPL's counter that stands still
    assert (neither.train_joules, neither.power_mean_watts) == (None, None)
    assert "did not advance" in neither.reason


@pytest.mark.parametrize("limits", [DeviceLimits(), DeviceLimits.of(350.0)], ids=["any device", "350 W"])
def test_a_counter_that_jumps_is_no_energy(limits):
    jumps = [row(0.5 * i, 100.0, 50_000.0 * i + (1e12 if i > 3 else 0)) for i in range(7)]
    energy = trace.energy(jumps, 0.5, limits)
    assert (energy.train_joules, energy.train_trapezoid_joules) == (None, 300.0)
    assert f"jumped by more than the device can draw ({limits.power_watts:,.0f} W)" in energy.reason


def test_what_a_counter_may_advance_by_follows_from_the_power_limit():
    fast = [row(0.5 * i, None, 400_000.0 * i) for i in range(17)]  # 800 W, each step within what a coarse one may hold
    assert trace.energy_joules([fast], "counter", DeviceLimits.of(700.0)) == 6400.0
    assert trace.energy_joules([fast], "counter", DeviceLimits.of(250.0)) is None
    assert trace.idle_power([row(*r, phase="idle") for r in ((0, 0.0, 0.0), (3, 0.0, 1e9))]).net_watts is None


@pytest.mark.parametrize("watts", [4294967.295, -1.0, float("nan"), float("inf")])
def test_a_power_that_no_device_draws_is_a_missing_sample(watts):
    energy = trace.energy([row(0.5 * i, watts if i == 3 else 100.0) for i in range(7)], 0.5)
    assert (energy.train_joules, energy.power_mean_watts) == (None, None)


def test_a_long_gap_between_samples_is_time_in_which_the_run_was_suspended():
    rows = [row(t) for t in (0.0, 0.5, 1.0, 26.0, 26.5)]
    assert trace.sampling([rows], 0.5).suspended_seconds == 24.5
    assert trace.sampling([rows], 30.0).suspended_seconds == 0.0
    late = [row(t) for t in (0.0, 2.9, 3.4)]  # as long as a driver may take to answer
    assert trace.sampling([late], 0.5).suspended_seconds == 0.0
    between_windows = [rows[:3], rows[3:]]
    assert trace.sampling(between_windows, 0.5).suspended_seconds == 0.0


def test_a_trace_of_a_real_device_is_within_its_limits():
    """The folder that GPU_RECORDS names holds runs of a real GPU; none of their samples may be refused."""
    files = sorted(Path(os.environ.get("GPU_RECORDS", "/nowhere")).glob("**/power.csv"))
    if not files:
        pytest.skip("needs records of a real GPU: set GPU_RECORDS to a folder with some")
    for file in files:
        energy = read_run_record(file.with_name("run.json"))["measurement"]["energy"]
        limits, rows = DeviceLimits.of(energy["power_limit_watts"]), read_rows(file, PowerRow)
        assert not [row for row in rows if limits.impossible(row)]
        again = trace.energy(rows, 0.5, limits)
        assert again.train_joules == pytest.approx(energy["train_joules"])
        assert again.reason is energy["reason"] is None
        assert again.sampling.suspended_seconds == 0.0


def test_a_coarse_counter_and_a_short_pause_are_measurements():
    coarse = [row(0.5 * i, 100.0, 150_000.0 * (i // 3)) for i in range(13)]  # advances every 1.5 s
    assert trace.energy(coarse, 0.5).train_joules == 600.0
    pause = [row(0.5 * i, 0.0 if i in (3, 4) else 100.0) for i in range(13)]
    assert trace.energy(pause, 0.5).train_joules == pytest.approx(500.0)
    short_windows = [row(0.5 * i, None, 1_000.0 * (i // 2), part=i // 2) for i in range(40)]  # advances between them
    assert not trace.counter_stands_still(trace.windows(short_windows, "train"))


def test_energy_with_a_missing_sample_is_absent():
    assert trace.trapezoid_joules([row(0.0, 100.0), row(0.5), row(1.0, 100.0)]) is None
    assert trace.trapezoid_joules([row(0.0, 100.0)]) is None


def test_windows_too_short_by_themselves_are_pooled_or_absent():
    short = [[row(t, 100.0), row(t + 0.8, 100.0)] for t in (0.0, 5.0, 9.0)]
    assert trace.energy_joules(short[:2], "trapezoid") is None
    assert trace.energy_joules(short, "trapezoid") == pytest.approx(240.0)


def test_windows_are_consecutive_samples_of_one_part_and_phase():
    phases = ["idle", "idle", "train", "train", "eval", "eval", "train", "train"]
    rows = [row(float(i), phase=phase) for i, phase in enumerate(phases)]
    rows += [row(0.0, part=1), row(1.0, part=1)]
    assert [[r.seconds for r in w] for w in trace.windows(rows, "train")] == [[2.0, 3.0], [6.0, 7.0], [0.0, 1.0]]
    assert len(trace.windows(rows, "eval")) == 1


def test_net_energy_leaves_out_what_the_device_takes_anyway():
    rows = [row(0.0, 50.0, phase="idle"), row(4.0, 50.0, phase="idle"), row(5.0, 200.0), row(8.0, 200.0)]
    energy = trace.energy(rows, 0.5)
    assert energy.idle_watts == 50.0
    assert energy.train_joules == 600.0
    assert energy.train_net_joules == 450.0
    without = trace.energy(rows[2:], 0.5)
    assert without.train_net_joules is without.idle_watts is None


def test_no_energy_less_idle_where_a_device_drew_no_more_while_it_trained_than_at_rest():
    idle = [row(0.0, 200.0, phase="idle"), row(4.0, 200.0, phase="idle")]
    for watts in (50.0, 200.0):
        energy = trace.energy([*idle, row(5.0, watts), row(8.0, watts)], 0.5)
        assert (energy.train_joules, energy.train_net_joules) == (3 * watts, None)
        assert energy.net_reason == "the device drew no more while it trained than when it was idle"
    assert trace.energy([row(5.0, 50.0), row(8.0, 50.0)], 0.5).net_reason is None  # idle power was not measured


def traced(watts, counted_watts, seconds=20.0, phase="train", start=0.0, edge_watts=None):
    """A window of samples every 0.5 s, and of a counter that advances by another power."""
    count = round(seconds / 0.5) + 1
    edges = {0: edge_watts, count - 1: edge_watts} if edge_watts is not None else {}
    return [
        row(start + 0.5 * i, edges.get(i, watts), 1e9 + 500.0 * counted_watts * i, phase=phase) for i in range(count)
    ]


@pytest.mark.parametrize("factor", [1 / 1000, 0.45, 2.2, 1000])
def test_a_counter_and_samples_that_contradict_each_other_are_no_measurement(factor):
    rows = traced(2.0, 2.0, phase="idle") + traced(0.3, 0.3 * factor, start=30)
    energy = trace.energy(rows, 0.5, tick=0.1)
    assert energy.train_joules is energy.train_net_joules is energy.power_mean_watts is energy.source is None
    assert energy.counter_over_trapezoid == pytest.approx(factor)
    assert "the energy counter and the power samples of the same training contradict each other" in energy.reason
    assert trace.phase_watts(rows, "idle", tick=0.1) is None  # by the same counter


@pytest.mark.parametrize("factor", [0.55, 1.0, 1.9])
def test_a_counter_is_believed_that_differs_from_the_samples_as_much_as_sampling_explains(factor):
    energy = trace.energy(traced(300.0, 300.0 * factor), 0.5, tick=0.1)
    assert energy.train_joules == pytest.approx(6000.0 * factor)


def test_windows_in_which_edges_and_ticks_decide_contradict_nothing():
    # Windows without a sample but at their edges, where the device has finished its work.
    short = [r for i in range(10) for r in (*traced(300.0, 300.0, 0.5, start=9.0 * i, edge_watts=20.0),
                                            *traced(50.0, 50.0, 1.0, "eval", 9.0 * i + 2))]  # fmt: skip
    energy = trace.energy(short, 0.5, tick=0.1)
    assert (energy.reason, energy.train_joules) == (None, pytest.approx(1500.0))
    assert energy.counter_over_trapezoid == pytest.approx(15.0)
    late = traced(300.0, 100.0, 10.0)  # a counter of unknown tick may lack 2 s at both edges
    assert trace.energy(late, 0.5).train_joules == pytest.approx(1000.0)
    assert trace.energy(late, 0.5, tick=0.1).train_joules is None


@pytest.mark.parametrize(("watts", "seconds", "is_possible"), [(780, 40, False), (780, 20, True), (720, 40, True)])
@pytest.mark.parametrize("with_counter", [True, False])
def test_a_device_does_not_draw_more_than_its_limit_for_long(watts, seconds, is_possible, with_counter):
    # With up to 10% and 2 s more: an H200 with a limit of 700 W reported at most 698 W.
    rows = traced(float(watts) * 1.06, float(watts) * 1.06, seconds)
    if not with_counter:
        rows = [row(r.seconds, r.power_watts) for r in rows]
    energy = trace.energy(rows, 0.5, DeviceLimits.of(700.0), tick=0.1)
    assert (energy.train_joules is not None) == is_possible
    if not is_possible:
        assert energy.reason == "the device reported 827 W on average, but cannot draw more than 770 W for long"


def test_memory_of_which_nothing_but_zero_was_read_was_not_read():
    for idle in (0.0, 100.0):
        rows = [row(0.0, phase="idle", memory_used_mb=idle), *(row(float(i), memory_used_mb=0.0) for i in (1, 2))]
        assert conditions.memory(rows) == {"mean_mb": None, "peak_mb": None, "baseline_mb": None}
    idle = [row(0.0, phase="idle", memory_used_mb=0.0), row(1.0, memory_used_mb=300.0)]  # of a device without processes
    assert conditions.memory(idle)["baseline_mb"] == 0.0


def test_memory_is_the_mean_and_the_peak_while_training_and_the_baseline_before():
    used = [("idle", 100.0), ("train", 300.0), ("train", 500.0), ("train", None), ("eval", 900.0)]
    rows = [row(float(i), phase=phase, memory_used_mb=mb) for i, (phase, mb) in enumerate(used)]
    assert conditions.memory(rows) == {"mean_mb": 400.0, "peak_mb": 500.0, "baseline_mb": 100.0}
    assert conditions.memory([row(0.0)]) == {"mean_mb": None, "peak_mb": None, "baseline_mb": None}


def test_conditions_gather_heat_clock_and_every_reason_for_holding_back():
    rows = [
        row(0.0, temperature_celsius=50.0, clock_mhz=1400.0, throttle_reasons=4),
        row(1.0, temperature_celsius=70.0, clock_mhz=1600.0, throttle_reasons=32),
        row(2.0, phase="eval", temperature_celsius=90.0, throttle_reasons=64),
    ]
    measured = conditions.conditions(rows)
    assert measured["temperature_first_celsius"] == 50.0
    assert measured["temperature_max_celsius"] == 70.0
    assert measured["clock_mean_mhz"] == 1500.0
    assert measured["throttle_reasons"] == 36
    assert conditions.conditions([row(0.0)])["throttle_reasons"] is None


def test_a_trace_comes_back_from_its_file_as_it_was(tmp_path):
    rows = [row(0.1, 100.25, 5.0, throttle_reasons=4), row(0.6)]
    write_rows(tmp_path / "power.csv", rows, PowerRow)
    assert read_rows(tmp_path / "power.csv", PowerRow) == rows


@pytest.mark.parametrize("text", ["seconds,part\n1.0,0\n", ""])
def test_a_damaged_trace_is_named(tmp_path, text):
    file = tmp_path / "power.csv"
    write_rows(file, [row(0.1)], PowerRow)
    file.write_text(text or file.read_text().replace("0.1", "x"))
    with pytest.raises(ValueError, match=r"power\.csv is damaged .*delete it and run again"):
        read_rows(file, PowerRow)
