"""The whole workflow over a stand-in driver, and its tables 4-6 worked out again from the traces alone."""

import os
import time

import numpy as np
import pandas as pd
import pytest
import yaml
from builders import METHOD_LABELS, ROOT
from project import Project

from lora_core.records import read_json
from lora_core.reporting.table import read_table

pytestmark = pytest.mark.slow

METHODS = ("fft", "lora")
RUN = "results/runs/{}/mrpc/seed1/{}"


@pytest.fixture(scope="module")
def simulated(fake_driver, tmp_path_factory):
    """A study on the embedded model, whose epochs last some seconds.

    Power begins at its lowest, so that the device draws less while it is idle than in both runs, and rises from 100 to
    300 W in five minutes.
    """
    project = Project(tmp_path_factory.mktemp("simulated") / "project")
    base = yaml.safe_load((ROOT / "config.yaml").read_text())
    epochs = {"hyperparameters": {"epochs": 2}}
    project.configure(
        model=base["model"], data={"source": "mini", "max_validation_examples": 60}, tasks=["mrpc"], seeds=[1],
        measure={"meter": "nvml", "simulated": True, "idle_seconds": 3.0, "latency_passes": 2, "latency_seconds": 1},
        method_settings={"fft": epochs, "lora": epochs},
    )  # fmt: skip
    script = {
        "LD_LIBRARY_PATH": str(fake_driver), "TMPDIR": str(project.folder.parent), "FAKE_NVML_CURVE": "sine",
        "FAKE_NVML_PERIOD": "600", "FAKE_NVML_SINCE": str(time.monotonic() - 450),
    }  # fmt: skip
    status, project.output = project.run(env=os.environ | script)
    assert status == 0, project.output
    return project


def shown(project, number):
    """The values of a table of one task and of its details, by row."""
    folder = project.folder / "results" / "tables"
    tables = [read_table(folder / f"table{number}{end}.json") for end in ("", "-details")]
    return {cell.row: cell.value for table in tables for cell in table.cells}


def trace(project, method):
    """history.csv, and the samples of power.csv with the number of their window."""
    history, power = (pd.read_csv(project.folder / RUN.format(method, f"{n}.csv")) for n in ("history", "power"))
    power["window"] = (power["phase"] != power["phase"].shift()).cumsum()
    return history, power


def energy(project, method):
    """What run.json says about the energy of a run."""
    return read_json(project.folder / RUN.format(method, "run.json"))["measurement"]["energy"]


def joules(power, windows):
    """By the counter, window by window."""
    return sum(np.ptp(power[power["window"] == w]["counter_millijoules"]) / 1e3 for w in windows)


def test_tables_five_and_six_are_filled_and_say_that_the_driver_is_simulated(simulated):
    for number in (5, 6):
        text = (simulated.folder / f"results/tables/table{number}.md").read_text()
        ours = text.split("## Published")[0]
        assert "n/a" not in ours
        assert "driver is simulated: no power, energy or device memory here was measured" in ours
        assert "energy counter; it covers the GPU alone" in ours
        assert "Shared" not in ours
    assert "simulated" in (simulated.folder / "results/claims.md").read_text()


def costs(project, number, label):
    """What table 5 or 6 says of one method."""
    return {row.removeprefix(f"{label}: "): value for row, value in shown(project, number).items()}


def test_the_traces_and_the_idle_power_give_every_cost_of_tables_five_and_six(simulated):
    traces = {method: trace(simulated, method) for method in METHODS}
    threshold = min(history["score"].max() for history, _ in traces.values()) - 0.005
    (idle_watts,) = {energy(simulated, method)["idle_context_watts"] for method in METHODS}
    for number, method in ((5, "fft"), (6, "lora")):
        history, power = traces[method]
        epochs = int(np.argmax(history["score"] >= threshold)) + 1
        windows = power[power["phase"] == "train"]["window"].unique()
        seconds = sum(np.ptp(power[power["window"] == w]["seconds"]) for w in windows[:epochs])
        total = joules(power, windows[:epochs])
        values = costs(simulated, number, METHOD_LABELS[method])
        assert values["threshold (%)"] == pytest.approx(threshold)
        assert values["epochs"] == epochs
        assert values["training time (s)"] == pytest.approx(seconds) == history["train_seconds"][:epochs].sum()
        assert values["energy (kJ)"] == pytest.approx(total / 1e3)
        assert values["power (W)"] == pytest.approx(total / seconds)
        assert values["energy minus idle (kJ)"] == pytest.approx((total - idle_watts * seconds) / 1e3, abs=1e-6)
        seed_threshold = (
            min(traces[m][0]["score"].max() for m in METHODS) - 0.005
        )  # one seed: its own threshold is the shared one
        assert values["epochs to the seed's own threshold"] == int(np.argmax(history["score"] >= seed_threshold)) + 1
        assert values["seeds that reached the threshold"] == 1
        assert values["seconds per epoch"] == pytest.approx(history["train_seconds"].median())
        assert values["planned epochs"] == len(history) == 2
        assert 100 < values["power (W)"] < 300


def test_one_run_measures_the_idle_power_of_the_device_and_the_other_names_it(simulated):
    one, other = sorted(METHODS, key=lambda method: energy(simulated, method)["idle_shared"])
    assert [energy(simulated, method)["idle_shared"] for method in (one, other)] == [False, True]
    names = ("idle_watts", "idle_context_watts", "idle_seconds", "counter_tick_seconds", "idle_measured")
    first, second = ({name: energy(simulated, method)[name] for name in names} for method in (one, other))
    assert first == second
    _, power = trace(simulated, one)
    for phase in ("idle", "idle_context"):
        idle = power[power["phase"] == phase]
        assert np.ptp(idle["seconds"]) >= 3.0
        assert joules(power, idle["window"].unique()) / np.ptp(idle["seconds"]) == pytest.approx(
            first[f"{phase}_watts"]
        )
    _, power = trace(simulated, other)
    assert np.ptp(power[power["phase"] == "idle"]["seconds"]) < 1.0


def test_the_traces_alone_give_the_memory_of_table_four(simulated):
    values = shown(simulated, 4)
    for method in METHODS:
        history, power = trace(simulated, method)
        train = power[power["phase"] == "train"]["memory_used_mb"]
        baseline = power[power["phase"] == "idle"]["memory_used_mb"].mean()
        label = METHOD_LABELS[method]
        assert values[label] == pytest.approx(train.mean())
        assert values[f"{label}: mean above the baseline"] == pytest.approx(train.mean() - baseline)
        assert values[f"{label}: peak above the baseline"] == pytest.approx(train.max() - baseline)
        assert values[f"{label}: saved for backward"] == pytest.approx(history["saved_for_backward_mb"].max())


def test_power_samples_agree_with_the_counter(simulated):
    _, power = trace(simulated, "fft")
    train = power[power["phase"] == "train"]
    summed = sum(np.trapezoid(w["power_watts"], w["seconds"]) for _, w in train.groupby("window"))
    assert summed == pytest.approx(joules(power, train["window"].unique()), rel=0.01)


def test_a_simulated_device_judges_no_claim_about_energy_or_memory(simulated):
    claims = pd.read_csv(simulated.folder / "results/claims.csv").set_index("claim")
    verdicts = claims["verdict"]
    for words in ("more energy", "less energy", "more power", "GPU memory", "longer sequences"):
        assert verdicts[verdicts.index.str.contains(words)].tolist() == ["not measured"]
    judged = claims[verdicts != "not measured"]
    assert len(judged) >= 3
    assert judged["qualification"].str.startswith("other model, data").all()


def test_a_shared_device_is_named_in_every_table_of_what_was_measured(fake_driver, simulated):
    script = {"LD_LIBRARY_PATH": str(fake_driver), "FAKE_NVML_OTHER": "4711"}
    tables = [f"results/tables/table{number}.md" for number in (2, 4, 5)]
    again = RUN.format("fft", "run.json")
    (simulated.folder / again).unlink()
    status, output = simulated.run(again, *tables, env=os.environ | script)
    assert status == 0, output
    for table in tables:
        text = (simulated.folder / table).read_text()
        assert "another process used it during Full fine-tuning MRPC seed 1;" in text, table
