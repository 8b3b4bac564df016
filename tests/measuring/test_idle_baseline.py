"""The idle baseline: measured by the first run on a device, used by those of the next hour, never believed blindly."""

import dataclasses
import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from builders import (
    LORA,
    REFERENCES,
    energy_run,
    interrupted_before_epoch,
    powercap,
    run_content,
    run_inputs,
    run_outputs,
    spec,
    trained,
)

from lora_core.evaluation.cost_to_threshold import cost_rows, cost_to_reach
from lora_core.evaluation.run_record import RunRecord
from lora_core.measuring import idle_baseline, meters
from lora_core.measuring import power_trace as trace
from lora_core.measuring.exclusive import device_file
from lora_core.measuring.idle_power import IdlePower
from lora_core.measuring.nvml import NvmlMeter, SimulatedNvmlMeter
from lora_core.measuring.rapl import RaplMeter
from lora_core.measuring.sampler import Sampler
from lora_core.records import PowerRow, read_json, read_rows, write_json
from lora_core.sealed import seal
from lora_core.training.checkpoint import CheckpointSettings
from lora_core.training.run import train

IDLE_SECONDS = 0.3
METER = {"meter": "simulated_nvml", "idle_seconds": IDLE_SECONDS, "sample_seconds": 0.1}
POWER = {"idle_watts": 81.0, "idle_context_watts": 125.0, "idle_seconds": 2.0, "net_of": "idle_context"}
NAMES = ("idle_watts", "idle_context_watts", "idle_seconds", "counter_tick_seconds", "idle_measured")


def energy_of(bert, cola, out, **changes):
    """What run.json says about the energy of a run over the stand-in driver."""
    return read_json(trained(LORA, bert, cola, out, **METER | changes) / "run.json")["measurement"]["energy"]


def ago(**time):
    return (datetime.now(UTC) - timedelta(**time)).isoformat(timespec="seconds")


def baseline(power=None, **changes):
    """What the file of a baseline holds."""
    content = {"power": POWER | (power or {}), "counter_tick_seconds": 0.1, "measured": ago(minutes=1), "shared": False}
    return content | changes


def fake_meter(uuid="GPU-fake-0"):
    return NvmlMeter(lambda: uuid)


def file_of(meter):
    return device_file(meter.device_id, ".idle.json")


# --- runs ------------------------------------------------------------------------------------------------------------


def test_the_next_run_on_a_device_uses_the_baseline_of_the_first_and_says_so(fake_nvml, bert, cola, tmp_path):
    fake_nvml(watts=150)
    first = energy_of(bert, cola, tmp_path / "first")
    assert first["idle_watts"] == pytest.approx(150, rel=0.02) == first["idle_context_watts"]
    assert first["idle_seconds"] >= IDLE_SECONDS
    assert first["idle_shared"] is False
    assert datetime.now(UTC) - datetime.fromisoformat(first["idle_measured"]) < timedelta(minutes=5)
    fake_nvml(watts=200)
    second = energy_of(bert, cola, tmp_path / "second")
    assert second["idle_shared"] is True
    assert [second[name] for name in NAMES] == [first[name] for name in NAMES]
    record = read_json(tmp_path / "second" / "run.json")["measurement"]
    net = second["train_joules"] - first["idle_context_watts"] * record["train_seconds"]
    assert second["train_net_joules"] == pytest.approx(net)
    rows = read_rows(tmp_path / "second" / "power.csv", PowerRow)
    for phase in ("idle", "idle_context"):
        assert sum(map(trace.seconds, trace.windows(rows, phase))) < IDLE_SECONDS / 2
    assert record["memory"]["baseline_mb"] == 1000.0  # every run reads that itself


def test_after_an_hour_the_baseline_is_measured_anew(fake_nvml, bert, cola, tmp_path, monkeypatch):
    fake_nvml(watts=150)
    energy_of(bert, cola, tmp_path / "first")
    fake_nvml(watts=200)
    monkeypatch.setattr(idle_baseline, "VALID_SECONDS", 0.0)
    energy = energy_of(bert, cola, tmp_path / "second")
    assert energy["idle_shared"] is False
    assert energy["idle_watts"] == pytest.approx(200, rel=0.02)


def test_a_resumed_run_keeps_the_baseline_that_it_had(fake_nvml, bert, cola, tmp_path):
    fake_nvml(watts=150)
    run, inputs, outputs = spec(LORA, **METER), run_inputs(bert, cola), run_outputs(tmp_path / "run")
    checkpoints = CheckpointSettings(tmp_path / "checkpoint", 0, "code")
    with interrupted_before_epoch(2):
        train(run, inputs, outputs, checkpoints=checkpoints)
    path = device_file(SimulatedNvmlMeter().device_id, ".idle.json")
    had = read_json(path)
    fake_nvml(watts=200)
    path.unlink()
    train(run, inputs, outputs, checkpoints=checkpoints)
    energy = read_json(outputs.record)["measurement"]["energy"]
    assert (energy["idle_shared"], energy["idle_measured"]) == (False, had["measured"])
    assert [energy[name] for name in POWER] == list(had["power"].values())
    assert energy["counter_tick_seconds"] == had["counter_tick_seconds"]
    assert not path.exists()


def test_a_run_without_a_meter_or_without_idle_seconds_has_no_baseline(fake_nvml, bert, cola, tmp_path):
    for name, changes in {"no meter": {"meter": "none"}, "no seconds": {"idle_seconds": 0.0}}.items():
        energy = energy_of(bert, cola, tmp_path / name, **changes)
        assert (energy["idle_watts"], energy["idle_measured"], energy["idle_shared"]) == (None, None, None)
    assert not file_of(SimulatedNvmlMeter()).exists()
    write_json(file_of(SimulatedNvmlMeter()), seal(baseline()))
    assert energy_of(bert, cola, tmp_path / "given", idle_seconds=0.0)["idle_watts"] is None


# --- whose it is -----------------------------------------------------------------------------------------------------


def test_each_device_has_its_own_and_a_simulated_one_is_no_device(fake_nvml, monkeypatch, tmp_path):
    fake_nvml(devices=2)
    write_json(file_of(fake_meter()), seal(baseline()))
    assert idle_baseline.known(fake_meter(), 2.0, None).power == IdlePower(**POWER)
    for other in (fake_meter("GPU-fake-1"), SimulatedNvmlMeter(), RaplMeter(powercap(tmp_path))):
        assert idle_baseline.known(other, 2.0, None) is None
    hosts = []
    for name in ("one", "two"):
        monkeypatch.setattr("platform.node", lambda name=name: name)
        hosts.append(RaplMeter(tmp_path).device_id)
    assert hosts[0] != hosts[1]


def test_a_baseline_of_fewer_seconds_than_a_study_asks_for_is_not_enough(fake_nvml):
    meter = fake_meter()
    write_json(file_of(meter), seal(baseline()))
    assert idle_baseline.known(meter, 2.0, None).shared is True
    assert idle_baseline.known(meter, 5.0, None) is None


def test_a_baseline_of_a_cpu_has_no_context_and_is_shared_too(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "powercap").mkdir()
    zones = [
        file
        for file in powercap(tmp_path / "powercap", top=2**40).rglob("energy_uj")
        if file.parent.name.count(":") == 1
    ]
    meter, done = RaplMeter(tmp_path / "powercap"), threading.Event()

    def draw():
        """50 W in each of two packages."""
        started = time.monotonic()
        while not done.wait(0.005):
            for zone in zones:
                part = zone.with_name("new")
                part.write_text(str(900_000 + int(50e6 * (time.monotonic() - started))))
                part.replace(zone)

    thread = threading.Thread(target=draw)
    thread.start()
    with Sampler(meter, "cpu", 0.1) as sampler:
        sampler.measure_idle(0.5)
        own = idle_baseline.measured(sampler, 0)
    done.set()
    thread.join()
    assert own.power.idle_watts == pytest.approx(100, rel=0.15)
    assert (own.power.idle_context_watts, own.power.net_of) == (None, "idle")
    assert idle_baseline.known(RaplMeter(tmp_path / "powercap"), 0.5, None) == dataclasses.replace(own, shared=True)


def test_what_was_measured_next_to_another_process_or_while_suspended_is_not_shared(fake_nvml, monkeypatch):
    meter = fake_meter()
    with Sampler(meter, "gpu", 0.1) as sampler:
        for phase in ("idle", "idle_context"):
            sampler.measure_idle(IDLE_SECONDS, phase)
        meter.shared = True
        assert idle_baseline.measured(sampler, 0).power.idle_watts == pytest.approx(200, rel=0.02)
        meter.shared = None
        with monkeypatch.context() as patch:
            patch.setattr(sampler.pulse, "suspended_seconds", lambda: 3.0)
            assert idle_baseline.measured(sampler, 0) is not None
        assert not file_of(meter).exists()
        idle_baseline.measured(sampler, 0)
    assert file_of(meter).exists()


# --- files that are not to be believed -------------------------------------------------------------------------------

IMPOSSIBLE = {
    "a negative power": baseline({"idle_watts": -1.0}),
    "no power": baseline({"idle_watts": 0.0}),
    "a power above the limit": baseline({"idle_context_watts": 351.0}),
    "NaN": baseline({"idle_watts": float("nan")}),
    "infinity": baseline({"idle_seconds": float("inf")}),
    "a text": baseline({"idle_watts": "81"}),
    "true": baseline({"idle_watts": True}),
    "no idle power": baseline({"idle_watts": None}),
    "no power with a context": baseline({"idle_context_watts": None}),
    "the power of another phase": baseline({"net_of": "idle"}),
    "a field of later versions": baseline({"idle_kelvin": 1.0}),
    "a list": baseline() | {"power": [81.0, 125.0]},
    "a negative tick": baseline(counter_tick_seconds=-0.1),
    "a tick of minutes": baseline(counter_tick_seconds=60.0),
    "from the future": baseline(measured=ago(hours=-1)),
    "of no time": baseline(measured="yesterday"),
    "of a time without a zone": baseline(measured="2026-01-01T00:00:00"),
    "of a number": baseline(measured=1.7e9),
    "without a time": {name: value for name, value in baseline().items() if name != "measured"},
}


@pytest.mark.parametrize("harm", [*IMPOSSIBLE, "edited", "no JSON", "empty", "a JSON list", "a folder", "a pipe"])
def test_a_damaged_or_impossible_baseline_is_measured_anew(fake_nvml, capsys, harm):
    meter = fake_meter()
    path = file_of(meter)
    texts = {"no JSON": "{", "empty": "", "a JSON list": "[1]"}
    if harm == "a folder":
        path.mkdir()
    elif harm == "a pipe":
        os.mkfifo(path)
    elif harm == "edited":
        write_json(path, seal(baseline()) | baseline({"idle_watts": 10.0}))
    else:
        path.write_text(texts[harm] if harm in texts else json.dumps(IMPOSSIBLE[harm]))
    assert idle_baseline.known(meter, 2.0, None) is None
    message = f"{path} is no idle baseline of this device; it is measured anew\n"
    assert capsys.readouterr().err == message
    with Sampler(meter, "gpu", 0.1) as sampler:
        for phase in ("idle", "idle_context"):
            sampler.measure_idle(IDLE_SECONDS, phase)
        own = idle_baseline.measured(sampler, 0)
    assert own.power.idle_watts == pytest.approx(200, rel=0.02)
    if harm == "a folder":
        assert "the idle baseline is not kept for other runs: " in capsys.readouterr().err
    else:
        assert idle_baseline.known(fake_meter(), IDLE_SECONDS, None) == dataclasses.replace(own, shared=True)


def test_a_power_that_the_device_cannot_draw_is_not_kept(fake_nvml):
    fake_nvml(watts=400)  # above the limit of 350 W, below 1.5 times that
    meter = fake_meter()
    with Sampler(meter, "gpu", 0.1) as sampler:
        for phase in ("idle", "idle_context"):
            sampler.measure_idle(IDLE_SECONDS, phase)
        assert idle_baseline.measured(sampler, 0) is None
    assert not file_of(meter).exists()


# --- records ---------------------------------------------------------------------------------------------------------


def test_an_older_record_has_the_idle_power_of_its_own_samples():
    energy = RunRecord.from_json(run_content()).energy
    assert (energy.idle_measured, energy.idle_shared) == (None, None)
    assert energy.idle.net_watts == energy.idle.idle_watts == pytest.approx(125.947, rel=1e-4)
    run = energy_run("lora", 1, [0.4, 0.6])
    assert run.idle_watts == 2.0  # as its samples say, not 125.9 W
    assert cost_to_reach(run, 0.5).train_net_energy_joules == pytest.approx(200 - 2.0 * 20)
    assert {row.idle_net_of for row in cost_rows([run], REFERENCES)} == {"idle"}


def test_the_cost_of_a_run_with_the_baseline_of_another_leaves_that_power_out():
    run = energy_run("lora", 1, [0.4, 0.6])
    idle = {
        "idle_measured": ago(minutes=1),
        "idle_shared": True,
        "idle_watts": 1.0,
        "idle_context_watts": 3.0,
        "net_of": "idle_context",
    }
    record = RunRecord.from_json(run_content("lora", measurement={"energy": idle}))
    shared = dataclasses.replace(run, record=record, power=[row for row in run.power if row.phase != "idle"])
    assert cost_to_reach(shared, 0.5).train_net_energy_joules == pytest.approx(200 - 3.0 * 20)
    assert {row.idle_net_of for row in cost_rows([shared], REFERENCES)} == {"idle_context"}
    assert meters.NoMeter("a test").device_id is None
