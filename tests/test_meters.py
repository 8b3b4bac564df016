"""Meters and the sampler: nothing measured is None, and energy is power over the real time."""

import time

import pytest

from lora_core import meters
from lora_core.records import PowerRow


def row(seconds, watts, counter=None):
    return PowerRow(seconds, 0, "train", "gpu", watts, None, None, counter)


def test_the_trapezoid_integrates_over_real_timestamps():
    late = [row(0.0, 100.0), row(0.5, 100.0), row(1.4, 100.0), row(2.0, 100.0)]
    assert meters.trapezoid_joules(late) == pytest.approx(200.0)  # four samples of 0.5 s would give 150 or 200
    ramp = [row(t, 10 * t) for t in (0.0, 0.3, 1.1, 2.0)]
    assert meters.trapezoid_joules(ramp) == pytest.approx(20.0)


def test_the_counter_stands_above_the_trapezoid():
    rows = [row(0.0, 100.0, 1_000.0), row(1.0, 100.0, 91_000.0)]
    assert meters.energy_joules(rows) == 90.0
    assert meters.energy_joules([row(0.0, 100.0), row(1.0, 100.0, 5.0)]) == 100.0


def test_a_counter_that_ran_backwards_is_not_used():
    rows = [row(0.0, None, 9_000.0), row(0.5, None, 100.0), row(1.0, None, 9_500.0)]
    assert meters.energy_joules(rows) is None


def test_energy_with_a_missing_sample_is_absent():
    assert meters.energy_joules([row(0.0, 100.0), row(0.5, None), row(1.0, 100.0)]) is None


def powercap(tmp_path, packages=2, top=1_000_000):
    for package in range(packages):
        zone = tmp_path / f"intel-rapl:{package}"
        part = tmp_path / f"intel-rapl:{package}:0"
        for folder in (zone, part):
            folder.mkdir()
            (folder / "max_energy_range_uj").write_text(str(top))
            (folder / "energy_uj").write_text("900000")
    return tmp_path


def test_rapl_adds_packages_and_survives_a_wrap_around(tmp_path):
    meter = meters.RaplMeter(powercap(tmp_path))
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("950000")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("99999")  # wrapped: 100,001 to the top and over, 99,999 on
    reading = meter.read()
    assert reading.counter_millijoules == pytest.approx((50_000 + 200_000) / 1e3)
    assert reading.power_watts > 0


def test_a_meter_that_is_not_there_says_why(tmp_path):
    with pytest.raises(meters.MeterError, match="no intel-rapl package"):
        meters.RaplMeter(tmp_path)
    assert meters.open_meter("none", None).reason == "measure.meter is none"
    nvml = meters.open_meter("nvml", None)
    assert (nvml.name, nvml.reason) == ("none", "NVML: the run trained on a CPU")


def test_a_counter_file_that_vanishes_ends_the_energy_and_not_the_run(tmp_path):
    meter = meters.RaplMeter(powercap(tmp_path))
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert meter.read().counter_millijoules is None
    assert "RAPL" in meter.reason


def test_a_window_has_both_edges_and_samples_between():
    with meters.Sampler(meters.NoMeter("none"), "cpu", 0.05) as sampler:
        time.sleep(0.1)
        with sampler.window("train") as window:
            time.sleep(0.3)
        time.sleep(0.1)
        with sampler.window("eval"):
            pass
    train = [r for r in sampler.rows if r.phase == "train"]
    assert window[0].seconds == train[-1].seconds - train[0].seconds >= 0.3
    assert window[0].energy_joules is None
    assert len(train) >= 5
    assert all(r.memory_used_mb > 0 and r.power_watts is None for r in train)
    assert sum(r.phase == "eval" for r in sampler.rows) >= 2
