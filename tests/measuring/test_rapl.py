"""The counters of CPU packages: each is added up once, and its power is that of the time between two readings."""

import re
import time
from dataclasses import replace

import pytest
from builders import draw_figure, metered_run, write_run
from matplotlib.figure import Figure

from lora_core.measuring import power_trace as trace
from lora_core.measuring import rapl
from lora_core.measuring.counter_ticks import mean_watts
from lora_core.measuring.limits import DeviceLimits
from lora_core.measuring.meters import MeterError
from lora_core.measuring.pulse import now
from lora_core.measuring.rapl import RaplMeter
from lora_core.measuring.sampler import Sampler
from lora_core.records import PowerRow, file_digests, read_json, write_rows
from lora_core.reporting.figures import power

TOP = 65_532_610_987  # of an AMD EPYC, 65.5 kJ
START = 1_000_000_000
DIES = ("package-0-die-0", "package-0-die-1")


def zones(root, *names, watts=None):
    """A powercap folder with these zones, numbered in their order."""
    for number, name in enumerate(names):
        zone = root / f"intel-rapl:{number}"
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"{name}\n")
        (zone / "max_energy_range_uj").write_text(f"{TOP}\n")
        if watts:
            (zone / "constraint_0_max_power_uw").write_text(f"{watts * 10**6}\n")
    return root


def advance(root, *joules, start=START):
    """Let the counters of the zones show so many joules since `start`."""
    for number, each in enumerate(joules):
        (root / f"intel-rapl:{number}" / "energy_uj").write_text(f"{round(start + each * 1e6) % (TOP + 1)}\n")


def joules_of(root, *readings, start=START):
    """What the meter says after each of these readings, and the meter."""
    advance(root, *(0 for _ in readings[0]), start=start)
    meter, found = RaplMeter(root), []
    for joules in readings:
        advance(root, *joules, start=start)
        counted = meter.read().counter_millijoules
        found.append(counted and counted / 1e3)
    return found, meter


# --- Which counters are added up ------------------------------------------------------------------------------------


def test_dies_that_show_the_counter_of_their_package_are_added_up_once(tmp_path):
    found, meter = joules_of(zones(tmp_path, *DIES, watts=180), (68, 68), (136.2, 136.9))
    assert found == pytest.approx([68, 136.2])
    assert meter.energy_counter == "intel-rapl:0 package-0-die-0"
    assert meter.details["same_counter"] == "intel-rapl:1 package-0-die-1"
    assert meter.details["power_limit_watts"] == 180
    assert meter.limits == DeviceLimits.of(180)


def test_four_dies_on_each_of_two_sockets_are_two_counters(tmp_path):
    names = [f"package-{socket}-die-{die}" for socket in range(2) for die in range(4)]
    found, meter = joules_of(zones(tmp_path, *names), (68,) * 4 + (50,) * 4)
    assert found == pytest.approx([118])
    assert meter.energy_counter == "intel-rapl:0 package-0-die-0 + intel-rapl:4 package-1-die-0"


def test_two_sockets_are_two_although_their_counts_are_equal(tmp_path):
    found, meter = joules_of(zones(tmp_path, "package-0", "package-1"), (68, 68), (100, 100))
    assert found == pytest.approx([136, 200])
    assert meter.details["same_counter"] is None


def test_dies_whose_counts_differ_are_two_counters(tmp_path):
    root = zones(tmp_path, *DIES, watts=200)
    advance(root, 0, 5)
    meter = RaplMeter(root)
    advance(root, 68, 35)
    assert meter.read().counter_millijoules == pytest.approx(98e3)
    assert meter.limits == DeviceLimits.of(400)


def test_dies_whose_counts_were_equal_by_chance_are_two_from_the_first_reading_that_shows_it(tmp_path):
    found, meter = joules_of(zones(tmp_path, *DIES, watts=200), (0, 0), (68, 30), (70, 32))
    assert found == pytest.approx([0, 98, 102])
    assert meter.details["same_counter"] is None
    assert meter.details["power_limit_watts"] == 400


def test_a_counter_that_was_left_out_for_too_long_ends_the_energy(tmp_path):
    found, meter = joules_of(zones(tmp_path, *DIES), (50, 50), (80, 60))
    assert found == [50, None]
    assert meter.reason == (
        "RAPL: intel-rapl:1 package-0-die-1 was taken for the counter of another zone, but now it shows another count"
    )


def test_equal_counts_are_equal_on_both_sides_of_a_wrap(tmp_path):
    start = TOP - 10_000_000
    found, meter = joules_of(zones(tmp_path, *DIES), (9.9, 10.1), (60, 60), start=start)
    assert found == pytest.approx([9.9, 60])
    assert meter.details["same_counter"]


def test_energy_between_two_reads_makes_no_second_counter(tmp_path, monkeypatch):
    root, reads = zones(tmp_path, *DIES), [0]

    def read(counter):  # the process waits for a processor at each read, and the package draws 20 J in the meantime
        reads[0] += 1
        return START + 20_000_000 * reads[0]

    advance(root, 0, 0)
    monkeypatch.setattr(rapl.Counter, "read", read)
    meter = RaplMeter(root)
    assert meter.read().counter_millijoules > 0
    assert meter.details["same_counter"] == "intel-rapl:1 package-0-die-1"


def test_parts_of_a_package_and_the_platform_are_not_added(tmp_path):
    root = zones(tmp_path, "package-0", "psys")
    for folder, name in (("intel-rapl:0:0", "core"), ("intel-rapl:0:1", "dram"), ("intel-rapl-mmio:0", "package-0")):
        (root / folder).mkdir()
        (root / folder / "name").write_text(name)  # without a counter that may be read
    found, meter = joules_of(root, (68, 500))
    assert found == [68]
    assert meter.energy_counter == "intel-rapl:0 package-0"


def test_a_package_that_cannot_be_read_is_not_left_out_of_the_sum(tmp_path):
    root = zones(tmp_path, "package-0", "package-1")
    advance(root, 0)
    with pytest.raises(MeterError, match="intel-rapl:1/energy_uj"):
        RaplMeter(root)


def test_a_package_that_comes_later_ends_the_energy(tmp_path):
    root = zones(tmp_path, "package-0")
    advance(root, 0)
    meter = RaplMeter(root)
    zones(tmp_path / "later", "psys", "package-1")
    (tmp_path / "later" / "intel-rapl:1").rename(root / "intel-rapl:1")
    advance(root, 68, 68)
    assert meter.read().counter_millijoules is None
    assert meter.reason == "RAPL: packages came or went"


@pytest.mark.parametrize(("watts", "seconds", "is_known"), [(None, 30, True), (None, 60, False), (200, 60, True)])
def test_a_suspension_in_which_a_counter_may_have_wrapped_twice_has_no_energy(
    tmp_path, monkeypatch, watts, seconds, is_known
):
    clock = [0.0]
    monkeypatch.setattr(rapl.time, "monotonic", lambda: clock[0])
    root = zones(tmp_path, "package-0", watts=watts)
    advance(root, 0)
    meter, rows = RaplMeter(root), []
    for after, joules in ((1, 100), (1, 200), (seconds, 300), (1, 400)):
        clock[0] += after
        advance(root, joules)
        rows.append(PowerRow(clock[0], 0, "train", "cpu", None, None, None, meter.read().counter_millijoules))
    assert trace.counter_joules(rows) == (300 if is_known else None)
    assert trace.counter_joules(rows[2:]) == 100
    energy = trace.energy(rows, 0.5)
    assert (energy.train_joules is None) != is_known
    assert is_known or "may have wrapped unseen" in energy.reason


# --- Power is that of the time between two readings -----------------------------------------------------------------

EDGE = 0.05  # seconds between two windows: too long for one edge


class Package:
    """A package whose counter advances by the power that is set."""

    def __init__(self, watts):
        self.watts, self._joules, self._at = watts, 0.0, now()

    def draw(self, watts):
        self.joules()
        self.watts = watts

    def joules(self):
        at = now()
        self._joules += self.watts * (at - self._at)
        self._at = at
        return self._joules


@pytest.fixture
def windows_of_100_watts(tmp_path, monkeypatch):
    """Samples of four windows of training at 100 W; the package draws 20 W in between, and in one evaluation 60 W."""
    monkeypatch.setattr(trace, "MIN_SECONDS", 0.2)
    root, package = zones(tmp_path / "powercap", "package-0"), Package(20.0)
    advance(root, 0)
    monkeypatch.setattr(rapl.Counter, "read", lambda counter: START + round(1e6 * package.joules()))
    with Sampler(RaplMeter(root), "cpu", 0.05) as sampler:
        for _ in range(4):
            package.draw(100.0)
            with sampler.window("train"):
                time.sleep(0.3)
            package.draw(60.0)
            with sampler.window("eval"):  # the two share an edge
                time.sleep(0.15)
            package.draw(20.0)
            time.sleep(EDGE)
    return sampler.rows


def test_constant_power_is_the_power_of_every_sample_of_its_window(windows_of_100_watts):
    train = trace.windows(windows_of_100_watts, "train")
    assert [window[0].power_watts for window in train] == [None] * 4
    known = [row.power_watts for window in train for row in window[1:]]
    assert min(known) > 90  # not the 20 W before the window, and not 0 W
    assert max(known) < 110
    evaluated = [row.power_watts for window in trace.windows(windows_of_100_watts, "eval") for row in window[1:]]
    assert min(evaluated) > 50
    assert max(evaluated) < 70


def test_samples_of_a_counter_sum_to_its_difference_and_their_mean_is_the_power(windows_of_100_watts):
    energy = trace.energy(windows_of_100_watts, 0.05)
    assert energy.source == "counter"
    assert energy.train_joules == pytest.approx(100 * 4 * 0.3, rel=0.1)
    assert energy.train_trapezoid_joules == pytest.approx(energy.train_joules, rel=0.01)
    assert energy.counter_over_trapezoid == pytest.approx(1, abs=0.01)
    assert energy.power_mean_watts == pytest.approx(100, rel=0.03)


def row(seconds, joules, watts=None):
    return PowerRow(seconds, 0, "train", "cpu", watts, None, None, None if joules is None else 1e3 * joules)


def with_power(*readings):
    """The samples of a window as the sampler makes them of a counter's readings (seconds, joules)."""
    rows = []
    for seconds, joules in readings:
        now = row(seconds, joules)
        rows.append(row(seconds, joules, mean_watts(rows, now)))
    return rows


def test_a_changing_power_sums_to_the_difference_of_the_counter_exactly():
    rows = with_power((0, 0), (0.5, 50), (1.0, 250), (1.7, 260), (2.2, 500))
    assert [sample.power_watts for sample in rows] == pytest.approx([None, 100, 400, 10 / 0.7, 480], nan_ok=True)
    assert trace.trapezoid_joules(rows) == pytest.approx(500)


@pytest.mark.parametrize("readings", [[(0.5, 50), (0.501, 50)], [(0.001, 0), (0.5, 50)], [(0.001, 0.2), (0.5, 50)]])
def test_a_sample_within_a_tick_of_another_is_not_0_watts(readings):
    rows = with_power((0, 0), *readings)
    assert [sample.power_watts for sample in rows[1:] if sample.power_watts is not None]
    assert all(sample.power_watts in (None, pytest.approx(100, rel=0.01)) for sample in rows)
    assert trace.trapezoid_joules(rows) == pytest.approx(50, rel=0.01)


def test_a_window_within_a_tick_has_no_power():
    assert [sample.power_watts for sample in with_power((0, 0), (0.004, 0), (0.008, 2))] == [None] * 3


@pytest.mark.parametrize("number", range(4))
def test_a_counter_that_was_not_read_once_costs_the_power_next_to_it(number):
    readings = [(0, 0), (0.5, 50), (1.0, 100), (1.5, 150)]
    readings[number] = (readings[number][0], None)
    rows = with_power(*readings)
    assert rows[number].power_watts is None
    assert {sample.power_watts for sample in rows} <= {None, 100}
    expected = {0: None, 3: None}.get(number, 150)
    assert trace.trapezoid_joules(rows) == expected


def test_a_counter_that_stands_still_is_dead_in_short_windows_too():
    rows = [replace(sample, part=k) for k in range(20) for sample in with_power((k, 7), (k + 0.4, 7))]
    energy = trace.energy(rows, 0.5)
    assert (energy.source, energy.train_joules) == ("counter", None)
    assert "did not advance" in energy.reason


def test_a_sample_that_a_gpu_did_not_give_at_an_edge_is_still_missing():
    rows = [row(0, 0), row(0.5, 50, 130.0), row(1.0, 100, 70.0)]  # power of its own, not that of the counter
    assert trace.trapezoid_joules(rows) is None


def test_the_figure_shows_the_power_of_the_windows_and_no_fall_at_their_edges(windows_of_100_watts, tmp_path):
    folder = metered_run(tmp_path)
    write_rows(folder / "power.csv", windows_of_100_watts, PowerRow)
    record = read_json(folder / "run.json")
    write_run(folder / "run.json", record | {"files": file_digests(folder, "power.csv")})
    inputs = {"traced_runs": [folder / "run.json"], "traced_power": [folder / "power.csv"]}
    svg = draw_figure("power", inputs, tmp_path)
    mean = re.search(r"Mean power while training: LoRA \(own\) (\d+) W", svg.read_text())
    assert 97 <= int(mean[1]) <= 103
    line = power._draw_samples(Figure().subplots(), windows_of_100_watts, "black")
    assert 50 < min(line.get_ydata()) < max(line.get_ydata()) < 110
    assert len(line.get_ydata()) == len(windows_of_100_watts)
