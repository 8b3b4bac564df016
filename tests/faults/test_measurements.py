"""What cannot be true is not shown as measured: absurd answers of a driver, one that hangs, and a suspended run."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from builders import (
    HANG_SECONDS,
    REFERENCES,
    ROOT,
    Made,
    draw_figure,
    draw_table,
    energy_run,
    record,
    texts,
)
from faults import STEPS, output_of_stopped

from lora_core.evaluation.answer import read_answer
from lora_core.evaluation.claim_evidence import ClaimRecords, read_evidence
from lora_core.evaluation.cost_to_threshold import cost_rows, write_costs
from lora_core.evaluation.frames import read_costs
from lora_core.measuring import meters, sampler
from lora_core.measuring import power_trace as trace
from lora_core.measuring.conditions import memory
from lora_core.measuring.limits import DeviceLimits
from lora_core.measuring.nvml import NvmlMeter
from lora_core.measuring.rapl import RaplMeter
from lora_core.measuring.sampler import Sampler
from lora_core.measuring.sampling import sampling
from lora_core.training.outputs import _energy

SHORT = 0.2  # seconds that a window needs here, so that the tests are fast
IDLE = 0.05  # the interval between samples


@pytest.fixture
def short_windows(monkeypatch):
    monkeypatch.setattr(trace, "MIN_SECONDS", SHORT)


def measured(meter, seconds=0.6):
    """What run.json says about the energy of a run that trains for some seconds, and its samples."""
    with Sampler(meter, "gpu", IDLE) as running, running.window("train") as rows:
        time.sleep(seconds)
    return json.loads(json.dumps(_energy(running, IDLE), allow_nan=False)), rows


LIMIT = "525 W"  # 1.5 times the enforced limit of the stand-in
UNSIGNED = 2**32 - 1  # 0xFFFFFFFF
BEYOND = f"reported 4,294,967 W, but cannot draw more than {LIMIT}"
ABSURD = {
    "the counter jumps by 1e9 kJ": ({"jump_after": 0.3}, f"jumped by more than the device can draw ({LIMIT})"),
    "the counter jumps by 3 kJ": ({"jump_after": 0.3, "jump_joules": 3000}, f"can draw ({LIMIT})"),
    "the counter runs too fast": ({"watts": 20_000}, f"can draw ({LIMIT})"),
    "the counter runs backwards": ({"reset_after": 0.3}, "ran backwards"),
    "0xFFFFFFFF mW": ({"power_mw": UNSIGNED, "no_counter": 1}, BEYOND),
    "0xFFFFFFFF mW, once": (
        {"power_mw": UNSIGNED, "power_mw_after": 0.3, "no_counter": 1},
        BEYOND,
    ),
    "0xFFFFFFFF mW as power and as limit": (
        {"power_mw": UNSIGNED, "limit_mw": UNSIGNED, "no_counter": 1},
        "reported 4,294,967 W, but cannot draw more than 10,000 W",
    ),
    "0 W and a counter that stands still": ({"power_mw": 0.1, "freeze_after": 0.01}, "did not advance"),
    "0xFFFFFFFF mW and a counter that stands still": (
        {"power_mw": UNSIGNED, "freeze_after": 0.01},
        "did not advance",
    ),
    "an error that nobody knows": ({"error": 12345, "error_after": 0.2}, "NVML: Unknown Error"),
    "an error without a text": ({"error": 12346, "error_after": 0.2, "bad_name": 1}, "NVML: unknown error 12346"),
}  # fmt: skip


@pytest.mark.parametrize("answer", ABSURD)
def test_an_absurd_answer_leaves_energy_absent_with_its_reason(fake_nvml, short_windows, answer):
    script, reason = ABSURD[answer]
    fake_nvml(**script)
    energy, rows = measured(NvmlMeter(lambda: "GPU-fake-0"))
    assert energy["train_joules"] is energy["train_net_joules"] is None
    assert reason in energy["reason"]
    assert all(row.power_watts is None or row.power_watts <= 525 for row in rows)
    assert (energy["power_mean_watts"] or 200) == pytest.approx(200)


@pytest.mark.parametrize(
    "script",
    [
        {"error": 12345, "error_after": 0.2, "error_until": 0.4},
        {"power_mw": UNSIGNED, "power_mw_after": 0.3},
        {"hang": "power", "hang_after": 0.2, "hang_seconds": 0.2},
        {"bad_name": 1},
        {"limit_mw": UNSIGNED},
        {"limit_mw": 0},
        {"processes": UNSIGNED},
    ],
    ids=["error", "power", "hang", "name", "limit", "no limit", "processes"],
)
def test_what_fails_for_a_moment_or_on_the_side_costs_no_energy(fake_nvml, short_windows, monkeypatch, script):
    monkeypatch.setattr("lora_core.measuring.nvml.ANSWER_SECONDS", 0.1)
    fake_nvml(**script)
    meter = NvmlMeter(lambda: "GPU-fake-0")
    meter.begin()
    energy, rows = measured(meter, 0.8)
    assert energy["reason"] is None
    assert energy["train_joules"] == pytest.approx(200 * trace.seconds(rows), rel=0.1)
    assert energy["power_mean_watts"] == energy["train_joules"] / trace.seconds(rows)
    limit = None if "limit_mw" in script else 350.0
    assert (energy["driver"], energy["power_limit_watts"]) == (None if "bad_name" in script else "0.0-fake", limit)


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ({"memory_mb": 13_000}, "memory_used_mb"),  # of 12 GB
        ({"memory_mb": 1e13}, "memory_used_mb"),
        ({"celsius": UNSIGNED}, "temperature_celsius"),
        ({"power_mw": 600_000}, "power_watts"),
    ],
)
def test_a_value_that_the_device_cannot_have_is_absent_and_all_others_are_kept(fake_nvml, script, name):
    fake_nvml(**script)
    energy, rows = measured(NvmlMeter(lambda: "GPU-fake-0"), 0.3)
    rows = rows[1:-1]  # at its edges a window reads power, energy and memory alone
    names = {"power_watts", "memory_used_mb", "temperature_celsius", "counter_millijoules", "clock_mhz"}
    assert {n for n in names if all(getattr(row, n) is not None for row in rows)} == names - {name}
    assert {n for n in names if all(getattr(row, n) is None for row in rows)} == {name}
    assert set(energy["rejected"]) == {name}
    if name == "memory_used_mb":
        assert memory(rows)["mean_mb"] is memory(rows)["peak_mb"] is None


def test_a_simulated_device_whose_name_is_no_text_has_no_meter_and_says_why(fake_nvml):
    fake_nvml(bad_name=1)
    meter = meters.open_meter("simulated_nvml", torch.device("cpu"))
    assert (meter.name, meter.reason) == ("none", "NVML: the driver gave an answer that makes no sense")
    assert meter.read().power_watts is None


# --- the counters of a CPU ---


def powercap(folder, limits, energy=900_000):
    """The files of packages of a CPU, each with the limits of its power in W by the name of the file."""
    for number, files in enumerate(limits):
        zone = folder / f"intel-rapl:{number}"
        zone.mkdir()
        for name, value in {"name": f"package-{number}", "max_energy_range_uj": 10**12, "energy_uj": energy}.items():
            (zone / name).write_text(f"{value}\n")
        for name, watts in files.items():
            (zone / name).write_text(f"{watts if isinstance(watts, str) else watts * 10**6}\n")
    return folder


TDP, SET, TURBO = "constraint_0_max_power_uw", "constraint_0_power_limit_uw", "constraint_1_power_limit_uw"
JUMP = "RAPL: the energy counter of intel-rapl:{} jumped by more than it can draw ({} W)"


@pytest.mark.parametrize(
    ("limits", "watts", "reason"),
    [
        ([{TDP: 100}], [90], None),
        ([{TDP: 100}], [149], None),  # for some seconds
        ([{TDP: 100}], [400], JUMP.format(0, 150)),
        ([{TDP: 100}, {TDP: 300}], [90, 280], None),
        ([{TDP: 100}, {TDP: 300}], [400, 90], JUMP.format(0, 150)),  # less than both together may draw
        ([{TDP: 100}, {}], [400, 90], JUMP.format(0, 150)),
        ([{TDP: 100}, {}], [90, 9000], None),
        ([{}], [9000], None),
        ([{}], [30_000], JUMP.format(0, "10,000")),
        ([{TDP: 0}], [9000], None),
        ([{TDP: "none"}], [9000], None),
        ([{TDP: 15, SET: 28, TURBO: 64}], [60], None),  # of a laptop
        ([{TDP: 15, SET: 28, TURBO: 64}], [300], JUMP.format(0, 96)),
        ([{TDP: 100, TURBO: 0}], [400], JUMP.format(0, 150)),
        ([{SET: 100}], [9000], None),
    ],
)  # fmt: skip
def test_a_package_that_draws_more_than_it_can_ends_the_energy(tmp_path, monkeypatch, limits, watts, reason):
    clock = [0.0]
    monkeypatch.setattr("lora_core.measuring.rapl.time.monotonic", lambda: clock[0])
    meter = RaplMeter(powercap(tmp_path, limits))
    for second in (2, 4, 6):
        clock[0] = float(second)
        for number, each in enumerate(watts):
            (tmp_path / f"intel-rapl:{number}" / "energy_uj").write_text(str(900_000 + second * each * 10**6))
        reading = meter.limits.without_impossible(meter.read())
    assert meter.reason == reason
    assert reading.power_watts == (sum(watts) if reason is None else None)
    assert (reading.counter_millijoules is None) == (reason is not None)


def test_the_limit_of_a_cpu_is_in_its_record_so_that_its_samples_are_judged_by_it_again(tmp_path):
    meter = RaplMeter(powercap(tmp_path, [{TDP: 100}, {TDP: 300}]))
    assert meter.details["power_limit_watts"] == 400
    assert meter.limits == DeviceLimits.of(400)


# --- a driver that does not answer -----------------------------------------------------------------------------------

AT_FIRST, LATER = ("init", "uuid", "memory", "shutdown"), ("counter", "memory", "processes")
HANGS = [*((call, 0.0) for call in AT_FIRST), *((call, 0.3) for call in LATER)]
HANGING = """
import json, time
from lora_core.measuring import nvml, sampler
from lora_core.measuring.meters import MeterError, NoMeter
nvml.OPEN_SECONDS = nvml.ANSWER_SECONDS = 1.0
nvml.PROCESSES_SECONDS = 0.0  # the list of processes is asked for in every sample
try:
    meter = nvml.NvmlMeter(lambda: "GPU-fake-0")
except MeterError as error:
    meter = NoMeter(str(error))
meter.begin()
meter.settle()
with sampler.Sampler(meter, "gpu", 0.05) as running:
    with running.window("train") as rows:
        start = time.monotonic()
        time.sleep(0.6)
        slept = time.monotonic() - start
    edge = rows[-1].power_watts
print(json.dumps([meter.reason, slept, rows[-1].seconds - rows[0].seconds, edge]))
"""


@pytest.fixture(scope="module")
def hanging(fake_driver):
    """What a process prints whose driver does not return from a call, and the seconds until it has ended."""
    running = {}
    for call, after in HANGS:
        script = {"FAKE_NVML_HANG": call, "FAKE_NVML_HANG_AFTER": str(after), "LD_LIBRARY_PATH": str(fake_driver)}
        environment = os.environ | script | {"PYTHONPATH": str(ROOT)}
        running[call, after] = subprocess.Popen(
            [sys.executable, "-c", HANGING], env=environment, stdout=subprocess.PIPE, text=True
        )
    return {key: (process.communicate(timeout=HANG_SECONDS)[0], process.returncode) for key, process in running.items()}


@pytest.mark.faults
@pytest.mark.parametrize(("call", "after"), HANGS)
def test_a_driver_that_does_not_answer_costs_the_reading_and_no_time_of_the_run(hanging, call, after):
    output, status = hanging[call, after]
    assert status == 0
    reason, slept, seconds, edge = json.loads(output)
    if call != "shutdown":
        assert reason == "NVML: the driver did not answer within 1 s"
        assert edge is None
    assert seconds == pytest.approx(slept, abs=0.5)


# --- a suspended run -------------------------------------------------------------------------------------------------

STOPPED = """
import sys, time
from lora_core.measuring.meters import NoMeter
from lora_core.measuring.sampler import Sampler
from lora_core.measuring.sampling import sampling
with Sampler(NoMeter("none"), "cpu", 0.5) as running, running.window("train") as rows:
    time.sleep(0.3)
    print("training", flush=True)
    time.sleep(1.0)
print(sampling([rows], 0.5).suspended_seconds)
"""


@pytest.mark.faults
@pytest.mark.parametrize("stop", [True, False])
def test_a_process_that_was_stopped_for_some_seconds_was_suspended(stop):
    suspended = float(output_of_stopped(STOPPED, stop=stop))
    assert suspended >= 3.0 if stop else suspended == 0.0


def test_the_time_in_which_the_machine_was_asleep_shows_as_a_gap(monkeypatch):
    asleep, clock = [0.0], sampler.now
    monkeypatch.setattr(sampler, "now", lambda: clock() + asleep[0])
    with Sampler(meters.NoMeter("none"), "cpu", 0.05) as running, running.window("train") as rows:
        time.sleep(0.1)
        asleep[0] = 60.0  # what CLOCK_BOOTTIME counts, and time.monotonic does not
        time.sleep(0.1)
    assert sampling([rows], 0.05).suspended_seconds == pytest.approx(60, abs=1)


@pytest.mark.faults
def test_a_run_that_was_suspended_while_it_trained_is_marked_in_the_tables(project, finish):
    process = project.begin(f"step {STEPS + 2}", seconds=1)
    job = project.reached()
    os.kill(job, signal.SIGSTOP)
    time.sleep(4)
    os.kill(job, signal.SIGCONT)
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0, output
    finish("results/energy/cola.csv", "results/tables/table5.md", "results/tables/table6.md")
    tables = "".join((project.results / f"tables/table{n}.md").read_text() for n in (5, 6))
    assert re.search(r"Suspended while training: (Full fine-tuning|LoRA \(own\)) CoLA seed 1 \([34] s\)", tables)
    costs = pd.read_csv(project.results / "energy/cola.csv")
    assert sorted(costs["suspended_seconds"] > 3) == [False, True]


# --- what becomes of it ----------------------------------------------------------------------------------------------


def altered(run, **changes):
    """A run with other values in one sample in the middle of its second training window."""
    first = run.windows[1][len(run.windows[1]) // 2]
    for row in run.power[run.power.index(first) :]:
        for name, change in changes.items():
            if row is first or name in ("counter_millijoules", "seconds"):
                object.__setattr__(row, name, change(getattr(row, name)))
    return run


def with_counter(run):
    for row in run.power:
        object.__setattr__(row, "counter_millijoules", 1e4 * row.seconds)
    return run


IN_RECORDS = {
    "power": {"power_watts": lambda watts: 4294967.295},
    "no number": {"power_watts": lambda watts: float("nan")},
    "counter": {"counter_millijoules": lambda millijoules: millijoules + 1e12},
}


@pytest.mark.parametrize("kind", IN_RECORDS)
def test_what_older_records_hold_of_it_is_no_cost(kind):
    run = energy_run("lora", 1, [0.6, 0.9, 0.9])
    altered(with_counter(run) if kind == "counter" else run, **IN_RECORDS[kind])
    rows = cost_rows([energy_run("fft", 1, [0.9] * 3), run], REFERENCES)
    assert [row.energy_to_threshold_joules for row in rows] == [100.0, None]
    assert [row.train_energy_joules for row in rows] == [300.0, None]
    assert [row.seconds_to_threshold for row in rows] == [10.0, 20.0]


def test_a_counter_that_contradicts_the_samples_leaves_no_cost_up_to_the_threshold_either():
    run = energy_run("lora", 1, [0.6, 0.9, 0.9])
    for sample in run.power:
        object.__setattr__(sample, "counter_millijoules", 10.0 * sample.seconds)  # of 10 W, a thousandth
    rows = cost_rows([energy_run("fft", 1, [0.9] * 3), run], REFERENCES)
    assert [row.energy_to_threshold_joules for row in rows] == [100.0, None]
    assert [row.train_energy_joules for row in rows] == [300.0, None]


def costs_of(folder, *runs):
    (folder / "energy").mkdir()
    write_costs(runs, REFERENCES, folder / "energy/cola.csv", folder / "energy/cola_curve.csv")
    return folder / "energy/cola.csv"


def test_a_run_that_drew_less_than_idle_power_has_no_energy_less_idle_and_is_named(tmp_path):
    lora = energy_run("lora", 1, [0.6, 0.9, 0.9], joules=10.0)  # 1 W, of 2 W at rest
    costs = costs_of(tmp_path, energy_run("fft", 1, [0.9] * 3), lora)
    assert pd.read_csv(costs)["net_energy_to_threshold_joules"].isna().tolist() == [False, True]
    table = draw_table("table6-details", {"costs": [costs]}, methods=("lora",))
    assert texts(table).get(("LoRA (own): energy minus idle (kJ)", "CoLA"), "n/a") == "n/a"
    because = "because the device drew no more while it trained than when it was idle: LoRA (own) CoLA seed 1."
    assert f"No energy minus idle (n/a), {because}" in table.notes
    assert (
        texts(draw_table("table6", {"costs": [costs]}, methods=("lora",)))["LoRA (own): energy (kJ)", "CoLA"] != "n/a"
    )
    # Records of older versions have the negative one.
    frame = pd.read_csv(costs).assign(net_energy_to_threshold_joules=-10.0)
    frame.drop(columns="content_sha256", errors="ignore").to_csv(costs, index=False)
    assert read_costs([costs])["net_energy"].isna().all()


def test_memory_of_zero_in_an_older_record_is_not_shown(tmp_path):
    files = [record(tmp_path, method, 1, 0.0, peak_mb=0.0, baseline_mb=0.0) for method in ("fft", "lora")]
    shown = texts(draw_table("table4", {"runs": files}))
    assert set(shown.values()) == {"n/a"}


@pytest.fixture
def suspended(tmp_path):
    """The costs of a study whose run of LoRA was suspended for 25 s."""
    run = altered(energy_run("lora", 1, [0.6, 0.9, 0.9]), seconds=lambda seconds: seconds + 25)
    runs = [energy_run("fft", 1, [0.9] * 3), run]
    return costs_of(tmp_path, *runs)


def test_a_suspended_run_is_named_with_its_seconds_and_its_costs_are_marked(suspended):
    table = draw_table("table6", {"costs": [suspended]}, methods=("lora",))
    shown = texts(table)
    shown |= texts(draw_table("table6-details", {"costs": [suspended]}, methods=("lora",)))
    for row in ("power (W)", "training time (s)", "energy (kJ)", "seconds per epoch"):
        assert shown[f"LoRA (own): {row}", "CoLA"].endswith(" *"), row
    (note,) = [note for note in table.notes if note.startswith("* ")]
    assert note.startswith(
        "* Suspended while training: LoRA (own) CoLA seed 1 (25 s). Their time, power and energy are not"
    )
    other = draw_table("table5", {"costs": [suspended]}, methods=("fft",))
    assert "*" not in "".join([*texts(other).values(), *other.notes])


FIGURES = ("score_over_time", "score_over_energy", "time_to_threshold", "energy_to_threshold", "pareto")


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_of_costs_draws_disturbed_runs_hollow_and_names_them_below(tmp_path, figure):
    made = Made(tmp_path, energy=5000.0, disturbed={("lora", "cola", 1)})
    svg = draw_figure(figure, made.inputs, tmp_path).read_text()
    text = re.sub(r"<[^>]*>|\s+", " ", svg)
    assert "Hollow: disturbed or suspended" in text
    assert "LoRA (own) CoLA seed 1" in text
    assert "LoRA (own) RTE" not in text.split("Hollow")[1]
    hollow = {method for method, mark in marks(svg) if "fill-opacity: 0" in mark}
    assert hollow == {"lora"}
    (tmp_path / "other").mkdir()
    quiet = draw_figure(figure, Made(tmp_path / "other", energy=5000.0).inputs, tmp_path / "other").read_text()
    assert "Hollow" not in quiet
    assert not [method for method, mark in marks(quiet) if "fill-opacity: 0" in mark]


def marks(svg):
    """The method and the drawing of every marker of an SVG."""
    for method, drawing in re.findall(r'<g data-method="([^"]*)">(.*?)</g>\s*</g>', svg, re.DOTALL):
        for use in re.findall(r"<use [^>]*>|<path [^>]*id=[^>]*>", drawing):
            yield method, use


@pytest.mark.parametrize("energy", [None, 0.0, float("nan")])
def test_every_figure_is_drawn_without_a_value_of_energy(tmp_path, energy):
    made = Made(tmp_path, energy=energy)
    for name in FIGURES:
        assert "nan" not in re.sub(r"<[^>]*>", " ", draw_figure(name, made.inputs, tmp_path).read_text()), name


@pytest.mark.parametrize("energy", [None, 0.0])
def test_every_table_of_costs_shows_energy_that_was_not_measured_as_not_available(tmp_path, energy):
    runs = [energy_run(method, seed, [0.8, 0.9 + 0.01 * seed]) for method in ("fft", "lora") for seed in (1, 2, 3)]
    frame = pd.DataFrame(cost_rows(runs, REFERENCES))
    names = [name for name in frame if name.endswith("joules")]
    frame.assign(**dict.fromkeys(names, energy)).to_csv(tmp_path / "cola.csv", index=False)
    files = [record(tmp_path, method, seed) for method in ("fft", "lora") for seed in (1, 2, 3)]
    methods = {"table5": ("fft",), "table6": ("lora",), "table6-details": ("lora",), "convergence": ()}
    for name, entries in methods.items():
        shown = texts(draw_table(name, {"costs": [tmp_path / "cola.csv"], "runs": files}, methods=entries))
        assert not [text for text in shown.values() if re.search("nan|inf", text)], name
        energies = [text for (row, _), text in shown.items() if "energy" in row]
        assert set(energies) <= {"n/a"}, name
        assert energies or name == "table6-details"  # which leaves out rows without a figure


def test_the_answer_of_a_study_with_a_meter_that_stood_still_compares_no_energy(tmp_path):
    records = Made(tmp_path, energy=0.0).inputs
    files = [records[name] for name in ("differences", "latency", "latency_records", "runs", "costs")]
    answer = read_answer(read_evidence(ClaimRecords(records["counts"][0], *files), REFERENCES, 0.03))
    assert "energy" not in answer.verdict
    assert answer.conclusion("energy").startswith("Energy to equal accuracy was not measured")
