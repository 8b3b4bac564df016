"""Meters and the sampler: the real pynvml over a stand-in driver, RAPL over stand-in files."""

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from builders import HANG_SECONDS, LORA, ROOT, powercap, trained

from lora_core.measuring import meters, nvml
from lora_core.measuring import power_trace as trace
from lora_core.measuring.conditions import memory
from lora_core.measuring.nvml import NvmlMeter
from lora_core.measuring.rapl import RaplMeter
from lora_core.measuring.sampler import Sampler
from lora_core.records import PowerRow, read_json, read_rows

INTERVAL = 0.5


def opened(meter, device="cpu"):
    """The meter of this name."""
    return meters.open_meter(meter, torch.device(device))


def test_rapl_adds_packages_and_survives_a_wrap_around(tmp_path):
    platform = powercap(tmp_path) / "intel-rapl:2"  # the whole machine, packages included
    platform.mkdir()
    for name, text in (("name", "psys"), ("max_energy_range_uj", "1000000"), ("energy_uj", "0")):
        (platform / name).write_text(text)
    meter = RaplMeter(tmp_path)
    (platform / "energy_uj").write_text("999999")
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("950000")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("99999")  # wrapped: 100,001 to the top and over, 99,999 on
    reading = meter.read()
    assert reading.counter_millijoules == pytest.approx((50_000 + 200_000) / 1e3)
    assert reading.power_watts > 0


def test_a_package_that_stands_still_while_another_advances_ends_the_energy(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("lora_core.measuring.rapl.time.monotonic", lambda: clock[0])
    meter = RaplMeter(powercap(tmp_path))
    for second in (1, 2, 3):
        clock[0] = float(second)
        (tmp_path / "intel-rapl:0" / "energy_uj").write_text(str(900_000 + second))
        reading = meter.read()
    assert (reading.power_watts, reading.counter_millijoules) == (None, None)
    assert meter.reason == "RAPL: the energy counter of intel-rapl:1 stands still while others advance"


@pytest.mark.parametrize("value", ["1000001", "-5"])
def test_a_counter_outside_of_its_range_is_no_energy(tmp_path, value):
    meter = RaplMeter(powercap(tmp_path))
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text(value)
    assert meter.read().counter_millijoules is None
    assert meter.reason == "RAPL: the energy counter of intel-rapl:1 is outside of its range"


def test_a_counter_without_a_range_is_refused(tmp_path):
    with pytest.raises(meters.MeterError, match=r"intel-rapl:0 has no range \(max_energy_range_uj\)"):
        RaplMeter(powercap(tmp_path, top=0))


def test_a_counter_of_a_cpu_that_was_reset_is_no_energy(tmp_path):
    meter = RaplMeter(powercap(tmp_path, packages=1, top=262_143_328_850))
    with Sampler(meter, "cpu", HANG_SECONDS) as sampler, sampler.window("train") as rows:
        (tmp_path / "intel-rapl:0" / "energy_uj").write_text("100")  # below the last: 262 kJ to the top and over
    assert rows[-1].power_watts is None
    assert trace.counter_joules(rows) is None


def test_a_meter_that_is_not_there_says_why(tmp_path):
    with pytest.raises(meters.MeterError, match="no intel-rapl package"):
        RaplMeter(tmp_path)
    assert opened("none").reason == "measure.meter is none"


def test_a_new_meter_needs_its_entry_alone(monkeypatch):
    class Constant(meters.NoMeter):
        name = "constant"

    kind = meters.MeterKind(lambda device: Constant("a test"), automatic_for=("cpu",))
    monkeypatch.setattr(meters, "METERS", {"constant": kind} | meters.METERS)
    assert opened("constant").name == opened("auto").name == "constant"


def test_auto_takes_the_meter_of_the_device_that_trains(monkeypatch):
    asked = []
    for name, kind in list(meters.METERS.items()):
        monkeypatch.setitem(meters.METERS, name, replace(kind, open=lambda device, name=name: asked.append(name)))
    for device in ("cpu", "cuda"):
        opened("auto", device)
    assert asked == ["rapl", "nvml"]
    assert "no meter for a device of type mps" in opened("auto", "mps").reason


def test_a_counter_file_that_vanishes_ends_the_energy_and_not_the_run(tmp_path):
    meter = RaplMeter(powercap(tmp_path))
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert meter.read().counter_millijoules is None
    assert "RAPL" in meter.reason


def test_a_counter_for_root_alone_is_said(tmp_path, monkeypatch):
    read = Path.read_text

    def refuse(path, *_, **__):
        if path.name == "energy_uj":
            raise PermissionError
        return read(path)

    powercap(tmp_path)
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(meters.MeterError, match="only root may read"):
        RaplMeter(tmp_path)


def test_a_window_has_both_edges_and_samples_between():
    with Sampler(meters.NoMeter("none"), "cpu", 0.05) as sampler:
        time.sleep(0.1)
        with sampler.window("train") as window:
            time.sleep(0.3)
        time.sleep(0.1)
        with sampler.window("eval"):
            pass
    train = [r for r in sampler.rows if r.phase == "train"]
    assert window == train
    assert trace.seconds(window) >= 0.3
    assert len(train) >= 5
    assert all(r.memory_used_mb > 0 and r.power_watts is None for r in train)
    assert sum(r.phase == "eval" for r in sampler.rows) >= 2


def test_without_a_meter_nobody_waits_for_an_idle_baseline():
    with Sampler(meters.NoMeter("none"), "cpu", 0.05) as sampler:
        begun = time.monotonic()
        sampler.measure_idle(HANG_SECONDS)
        assert time.monotonic() - begun < HANG_SECONDS
    assert memory(sampler.rows)["baseline_mb"] > 0


# --- NVML ------------------------------------------------------------------------------------------------------------


def fake_meter(uuid="GPU-fake-0"):
    return NvmlMeter(lambda: uuid)


def window(meter, seconds, interval=0.05):
    with Sampler(meter, "gpu", interval) as sampler, sampler.window("train") as rows:
        time.sleep(seconds)
    return rows


def test_a_reading_holds_what_the_driver_says(fake_nvml):
    fake_nvml(watts=250, memory_mb=3000)
    meter = fake_meter()
    reading = meter.read()
    assert reading.power_watts == 250
    assert reading.memory_used_mb == 3000
    assert (reading.temperature_celsius, reading.clock_mhz, reading.throttle_reasons) == (60, 1500, 4)
    assert meter.details == {"driver": "0.0-fake", "power_field": "instant", "power_limit_watts": 350.0}
    assert meter.reason is None
    meter.close()


def test_the_device_is_found_by_its_uuid_whatever_cuda_calls_it(fake_nvml, monkeypatch):
    fake_nvml(devices=2, watts=100)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")  # torch's cuda:0 is NVML's device 1
    for uuid, watts in (("GPU-fake-1", 200), ("GPU-fake-0", 100)):
        meter = fake_meter(uuid)
        assert meter.read().power_watts == watts
        meter.close()


def test_torch_is_asked_for_the_uuid_of_the_device_that_trains(monkeypatch):
    from lora_core import device

    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=f"{device.index}-of-visible")
    )
    assert device.uuid(torch.device("cuda", 1)) == "GPU-1-of-visible"
    assert device.uuid(torch.device("cpu")) is None


@pytest.mark.parametrize(
    ("uuid", "message"),
    [("MIG-1234", "MIG slice: NVML measures no energy"), ("GPU-other", "NVML: Not Found"), (None, "trained on a CPU")],
)
def test_a_device_that_cannot_be_measured_is_refused_in_words(fake_nvml, monkeypatch, uuid, message):
    monkeypatch.setattr(meters, "uuid", lambda device: uuid)
    meter = opened("nvml", "cuda")
    assert meter.name == "none"
    assert message in meter.reason
    assert meter.read().power_watts is None


def test_a_simulated_driver_is_read_without_a_gpu(fake_nvml):
    meter = opened("simulated_nvml")
    assert (meter.name, meter.simulated, meter.read().power_watts) == ("nvml", True, 200)
    meter.close()


def test_an_older_device_gives_average_power_and_the_trapezoid_alone(fake_nvml):
    fake_nvml(no_counter=1, no_instant=1)
    meter = fake_meter()
    rows = window(meter, 2.1)
    energy = trace.energy(rows, 0.05)
    assert meter.details["power_field"] == "average"
    assert (meter.reason, energy.source) == (None, "trapezoid")
    assert energy.train_joules == pytest.approx(200 * trace.seconds(rows))
    assert energy.train_counter_joules is energy.counter_over_trapezoid is None


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"lost_after": 0.3}, "GPU is lost"),
        ({"no_permission": 1}, "Insufficient Permissions"),
        ({"no_power": 1, "no_counter": 1}, "neither power nor an energy counter"),
        ({"reset_after": 0.3}, "ran backwards"),
    ],
)
def test_a_fault_of_the_driver_leaves_energy_absent_with_its_reason(fake_nvml, fault, reason):
    fake_nvml(**fault)
    meter = fake_meter()
    rows = window(meter, 2.1)
    energy = trace.energy(rows, 0.05)
    assert energy.train_joules is energy.train_net_joules is None
    assert reason in (meter.reason or energy.reason)
    assert trace.seconds(rows) >= 2.1


def test_memory_is_read_where_energy_may_not_be(fake_nvml):
    fake_nvml(no_permission=1)
    assert memory(window(fake_meter(), 0.2))["mean_mb"] == 1000


@pytest.mark.parametrize("after", [0.0, 0.5])
def test_another_process_on_the_device_is_noticed(fake_nvml, after):
    fake_nvml(other=4711, other_after=after)
    meter = fake_meter()
    meter.begin()
    assert meter.shared is (True if after == 0.0 else None)
    meter.settle()
    window(meter, 0.8)
    assert meter.shared is True


def processes(monkeypatch, meter, *pids):
    monkeypatch.setattr(meter, "_processes", lambda handle: set(pids))


def test_this_process_is_no_other_even_where_asking_torch_put_it_on_the_device(fake_nvml, monkeypatch):
    monkeypatch.setattr(nvml, "PROCESSES_SECONDS", 0.0)
    meter = fake_meter()
    processes(monkeypatch, meter, 77)  # in a container the number is not os.getpid()
    meter.begin()
    meter.settle()
    meter.read()
    assert meter.shared is False
    processes(monkeypatch, meter, 77, 78)
    meter.read()
    assert meter.shared is True


@pytest.fixture
def child():
    """A process that this one started."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate(b"\n", timeout=HANG_SECONDS)


@pytest.mark.parametrize("starts", ["before the run", "while the model is loaded", "while it trains"])
def test_a_process_that_this_one_started_is_no_other(fake_nvml, monkeypatch, child, starts):
    monkeypatch.setattr(nvml, "PROCESSES_SECONDS", 0.0)
    with_child = (os.getpid(), child)
    fake_nvml(other=child if starts == "before the run" else 0)
    meter = fake_meter()
    processes(monkeypatch, meter, *with_child[: 1 + (starts == "before the run")])
    meter.begin()
    processes(monkeypatch, meter, *with_child[: 1 + (starts != "while it trains")])
    meter.settle()
    processes(monkeypatch, meter, *with_child)
    for _ in range(2):
        meter.read()
    assert meter.shared is False
    processes(monkeypatch, meter, *with_child, 4_000_000_007)  # no process of this machine
    meter.read()
    assert meter.shared is True


def test_the_process_that_started_this_one_shares_the_device(fake_nvml, monkeypatch):
    parent = os.getppid()
    fake_nvml(other=parent)
    meter = fake_meter()
    processes(monkeypatch, meter, parent)
    meter.begin()
    assert meter.shared is True
    processes(monkeypatch, meter, parent, os.getpid())
    meter.settle()
    assert meter.shared is True


def test_two_numbers_that_a_container_does_not_know_are_two_processes(fake_nvml, monkeypatch):
    meter = fake_meter()
    processes(monkeypatch, meter)
    meter.begin()
    processes(monkeypatch, meter, 4_000_000_007, 4_000_000_009)
    meter.settle()
    assert meter.shared is True


def test_the_run_that_was_waited_for_is_no_other(fake_nvml, monkeypatch):
    fake_nvml(other=4711)
    meter = fake_meter()
    fake_nvml(other=0)  # it ended before this one began
    meter.begin()
    processes(monkeypatch, meter, 77)
    meter.settle()
    assert meter.shared is False


def test_a_process_that_does_not_see_itself_cannot_tell(fake_nvml):
    meter = fake_meter()
    meter.begin()
    meter.settle()
    meter.read()
    assert meter.shared is None


def test_an_error_of_a_side_reading_costs_no_energy(fake_nvml, monkeypatch):
    import pynvml

    def fail(*_):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetTemperature", fail)
    meter = fake_meter()
    for _ in range(2):
        reading = meter.read()
    assert reading.temperature_celsius is None
    assert reading.power_watts == 200
    assert meter.reason is None


def test_a_gpu_without_its_meter_shows_no_host_memory():
    meter = opened("none", "cuda")
    assert (meter.memory_kind, meter.read().memory_used_mb) == ("device", None)


# What is played: the settings, and a bound on |trapezoid - integral| over a window sampled every `gap` seconds.
# Smooth curves: L * gap^2 / 12 * max |f''|. A jump lies somewhere between two samples: swing * gap each.
WINDOW = 10.0
CURVES = {
    "constant": ({"curve": "constant"}, lambda gap: 0.0),
    "ramp": ({"curve": "ramp", "swing": 10}, lambda gap: 0.0),
    "slow sine": (
        {"curve": "sine", "period": 10},
        lambda gap: WINDOW * gap**2 / 12 * 100 * (2 * math.pi / 10) ** 2,
    ),
    "square": ({"curve": "square", "period": 7}, lambda gap: 3 * 100 * gap),
    "late samples": ({"curve": "ramp", "swing": 10, "slow": 0.55}, lambda gap: 0.0),
}
# A reading takes some milliseconds, in which power changes and the counter runs on: a thousandth of the energy.
JITTER = 0.001


@pytest.fixture(scope="module")
def played(fake_driver):
    """Each curve sampled for ten seconds by a process of its own, the driver found through the loader's path."""
    program = (
        "import json, sys, time\n"
        "from lora_core.measuring.nvml import NvmlMeter\n"
        "from lora_core.measuring.sampler import Sampler\n"
        f"with Sampler(NvmlMeter(lambda: 'GPU-fake-0'), 'gpu', {INTERVAL}) as sampler:\n"
        f"    with sampler.window('train') as rows: time.sleep({WINDOW})\n"
        "print(json.dumps([vars(row) for row in rows]))\n"
    )
    running = {}
    for name, (settings, _) in CURVES.items():
        script = {f"FAKE_NVML_{key.upper()}": str(value) for key, value in settings.items()}
        environment = os.environ | script | {"LD_LIBRARY_PATH": str(fake_driver), "PYTHONPATH": str(ROOT)}
        running[name] = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE)
    return {name: [PowerRow(**row) for row in json.loads(p.communicate()[0])] for name, p in running.items()}


@pytest.mark.parametrize("name", CURVES)
def test_power_samples_integrate_to_the_counter_within_the_bound_of_theory(played, name):
    rows = played[name]
    counted, summed = trace.counter_joules(rows), trace.trapezoid_joules(rows)
    sampling = trace.sampling([rows], INTERVAL)
    bound = CURVES[name][1](sampling.longest_gap_seconds) + JITTER * counted
    assert abs(summed - counted) <= bound
    if name not in ("square", "late samples"):
        assert bound <= 0.01 * counted
    assert (sampling.missed > 0 or sampling.late > 0) == (name == "late samples")


def test_summing_samples_by_their_nominal_step_would_lose_what_the_paper_lost(played):
    rows = played["late samples"]
    nominal = sum(row.power_watts * INTERVAL for row in rows[1:])
    assert nominal / trace.counter_joules(rows) < 0.95
    assert trace.trapezoid_joules(rows) / trace.counter_joules(rows) == pytest.approx(1, abs=JITTER)


def test_zeus_agrees_over_the_same_driver(fake_driver):
    pytest.importorskip("zeus", reason="the package zeus is not installed (an extra of its own)")
    program = (
        "import json, time, zeus.monitor as z\n"
        "from lora_core.measuring import power_trace as trace\n"
        "from lora_core.measuring.nvml import NvmlMeter\n"
        "from lora_core.measuring.sampler import Sampler\n"
        "monitor = z.ZeusMonitor(gpu_indices=[0])\n"
        "with Sampler(NvmlMeter(lambda: 'GPU-fake-0'), 'gpu', 0.5) as sampler:\n"
        "    monitor.begin_window('w', sync_execution=False)\n"
        "    with sampler.window('train') as rows: time.sleep(6)\n"
        "    theirs = monitor.end_window('w', sync_execution=False).total_energy\n"
        "print(json.dumps([theirs, trace.counter_joules(rows), trace.trapezoid_joules(rows)]))\n"
    )
    script = {"FAKE_NVML_CURVE": "sine", "LD_LIBRARY_PATH": str(fake_driver), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs, counted, summed = json.loads(done.stdout.splitlines()[-1])
    assert counted == pytest.approx(theirs, rel=0.01)
    assert summed == pytest.approx(theirs, rel=0.01)


# --- a run over it ---------------------------------------------------------------------------------------------------


def over_fake(bert, cola, out, **changes):
    settings = {"meter": "simulated_nvml", "idle_seconds": 2.1, "sample_seconds": 0.1}
    epochs = {"hyperparameters": {"epochs": 120}}  # some seconds, on a quick machine too
    return trained(LORA, bert, cola, out, **(settings | epochs | changes))


def test_a_run_records_energy_by_both_methods_and_net_of_idle(fake_nvml, bert, cola, tmp_path):
    fake_nvml(watts=150)
    out = over_fake(bert, cola, tmp_path / "run")
    record = read_json(out / "run.json")
    energy = record["measurement"]["energy"]
    assert (energy["meter"], energy["source"], energy["reason"]) == ("nvml", "counter", None)
    assert energy["train_joules"] == energy["train_counter_joules"]
    assert energy["train_joules"] == pytest.approx(150 * record["measurement"]["train_seconds"], rel=0.01)
    assert energy["counter_over_trapezoid"] == pytest.approx(1, abs=0.01)
    assert energy["idle_watts"] == pytest.approx(150, rel=0.01)
    net = energy["train_joules"] - energy["idle_watts"] * record["measurement"]["train_seconds"]
    assert abs(net) < 0.02 * energy["train_joules"]
    if net > 0:
        assert energy["train_net_joules"] == pytest.approx(net, abs=1e-3 * energy["train_joules"])
    else:  # no training takes less than nothing
        assert (energy["train_net_joules"], bool(energy["net_reason"])) == (None, True)
    assert energy["boundary"] == "the GPU alone, without the host"
    assert energy["simulated"] is True
    assert record["measurement"]["memory"]["kind"] == "device"
    assert record["measurement"]["conditions"]["throttle_reasons"] == 4
    assert (record["provenance"]["driver"], record["provenance"]["shared"]) == ("0.0-fake", None)
    phases = {row.phase for row in read_rows(out / "power.csv", PowerRow)}
    assert phases == {"idle", "idle_context", "preparation", "train", "eval"}


def test_a_run_goes_on_when_the_device_is_lost(fake_nvml, bert, cola, tmp_path):
    fake_nvml(lost_after=2.4)
    record = read_json(over_fake(bert, cola, tmp_path / "run") / "run.json")
    energy = record["measurement"]["energy"]
    assert energy["train_joules"] is None
    assert "GPU is lost" in energy["reason"]
    assert record["measurement"]["score"]["best"] is not None
