"""Exports of a study: what does not need another tool; tests/packaging opens each format in its own."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from builders import ROOT, changed, metered_run, power_samples, write_run
from method_comparison import processing

from lora_core.commands import cli
from lora_core.commands.studies import grid_of
from lora_core.records import PowerRow, file_digests, read_json, write_rows
from lora_core.reporting.exports import codecarbon
from lora_core.reporting.exports.formats import FORMATS
from lora_core.reporting.exports.runs import measured_joules, read_runs


def one_run(results):
    (run,) = read_runs(results)
    return run


def series(run, name):
    return [(point.step, point.value) for point in run.points() if point.name == name]


def export(results, folder, name="peft-benchmark"):
    return cli.main(["export", str(results), "--to", name, str(folder)])


def test_a_series_has_what_was_measured_and_nothing_for_what_was_not(tmp_path):
    metered_run(tmp_path)
    run = one_run(tmp_path)
    assert series(run, "epoch/accuracy") == [(1, 0.5), (2, 0.6), (3, 0.7)]
    assert series(run, "epoch/train_energy_joules") == [(1, 400.0), (2, 400.0), (3, 400.0)]
    names = {point.name for point in run.points()}
    # Empty columns of history.csv and power.csv.
    assert not names & {"epoch/eval_energy_joules", "epoch/eval_suspended_seconds", "device/utilization_percent"}
    assert "dropout" not in run.parameters  # null in the record


def test_the_sample_at_the_edge_of_two_windows_is_exported_once(tmp_path):
    metered_run(tmp_path)
    steps = [step for step, _ in series(one_run(tmp_path), "device/power_watts")]
    assert steps == sorted(set(steps))
    assert len(steps) == len({row.seconds for row in power_samples(3, 4.0, 400.0)})


def test_the_time_of_a_sample_counts_from_the_start_of_the_last_part(tmp_path):
    started = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
    folder = metered_run(tmp_path, provenance={"started": started.isoformat()})
    parts = [PowerRow(**vars(row) | {"part": int(row.seconds >= 10)}) for row in power_samples(3, 4.0, 400.0)]
    write_rows(folder / "power.csv", parts, PowerRow)
    record = read_json(folder / "run.json")
    write_run(folder / "run.json", record | {"files": file_digests(folder, "history.csv", "power.csv")})
    times = {point.step: point.time for point in one_run(tmp_path).points() if point.name == "device/power_watts"}
    assert (times[10_000] - started).total_seconds() == 0  # the second part began there
    assert (times[0] - started).total_seconds() == -10


def test_the_energy_of_a_simulated_meter_is_not_exported_as_measured(tmp_path):
    metered_run(tmp_path, measurement={"energy": {"simulated": True}})
    run = one_run(tmp_path)
    assert measured_joules(run) is None
    assert run.parameters["simulated"] is True


@pytest.mark.parametrize(
    ("energy", "grid", "grams"),
    [({}, 360.0, 0.12), ({}, None, None), ({"simulated": True}, 360.0, None)],
)
def test_emissions_are_the_measured_energy_times_the_grids_intensity_and_else_absent(tmp_path, energy, grid, grams):
    metered_run(tmp_path, measurement={"energy": energy})  # 1.2 kJ in 12 s
    (run,) = read_runs(tmp_path, grid)
    row = codecarbon.values(run)
    assert row.get("emissions") == (None if grams is None else pytest.approx(grams / 1e3))
    assert row.get("emissions_rate") == (None if grams is None else pytest.approx(grams / 1e3 / 12))


@pytest.mark.parametrize("device", ["cpu", "gpu-1"])
def test_a_text_that_begins_like_a_formula_is_a_text_to_a_spreadsheet(tmp_path, device):
    metered_run(tmp_path / "=1+1", provenance={"device": device, "device_model": '=HYPERLINK("http://x")'})
    row = codecarbon.values(one_run(tmp_path / "=1+1"))
    assert row["cpu_model" if device == "cpu" else "gpu_model"] == '\'=HYPERLINK("http://x")'
    assert row["project_name"] == "'=1+1"
    assert (row["duration"], row["run_id"]) == (12.0, "lora/rte/seed1")


def test_the_grids_intensity_is_that_of_the_configuration_of_the_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = Path("results/demo")
    assert grid_of(results) is None  # no configuration
    Path("config.yaml").write_text(yaml.safe_dump(changed(model_card={"grid_co2_grams_per_kwh": 363})))
    assert grid_of(Path("results")) == 363.0
    assert grid_of(results) is None  # that of another study
    with pytest.raises(ValueError, match="results/demo does not belong to this configuration, whose results are in"):
        grid_of(results, ["config.yaml"])
    Path("demo.yaml").write_text("results_dir: results/demo\n")
    assert grid_of(results.absolute(), ["demo.yaml"]) == 363.0
    Path("config.yaml").write_text("seeds: one\n")
    assert grid_of(Path("results")) is None


def test_pefts_reader_loads_a_study(tmp_path):
    results, out = tmp_path / "results", tmp_path / "exported"
    for method, kind in (("lora", "lora"), ("fft", "full"), ("bias", "bitfit")):
        folder = metered_run(results, method, run={"settings": {"kind": kind}}, provenance={"started": STARTED[method]})
        (folder / "weights").mkdir()
        (folder / "weights" / "model.safetensors").write_bytes(bytes(1234))
    (results / "runs/lora/rte/seed1/weights/adapter_config.json").write_text('{"peft_type": "LORA", "r": 8}')
    assert export(results, out) == 0
    table = processing.load_df(out / "rte", "MetaMathQA", print_fn=pytest.fail).set_index("experiment_name")
    assert dict(table.peft_type) == {
        "lora/rte-seed1": "LORA", "fft/rte-seed1": "full-finetuning", "bias/rte-seed1": "BITFIT",
    }  # fmt: skip
    lora = table.loc["lora/rte-seed1"]
    assert json.loads(lora.peft_config) == {"peft_type": "LORA", "r": 8}
    assert lora.test_accuracy == 0.7
    assert lora.train_loss == pytest.approx(1 / 3)
    assert (lora.train_samples, lora.train_total_tokens, lora.file_size) == (3 * 2490, 3000, 1234)
    assert (lora.train_time, lora.total_time, lora.accelerator_memory_max) == (12, 15, 503_000_000)
    assert lora.accelerator_memory_reserved_avg == 502_000_000
    assert table["forgetting*"].isna().all()  # not PEFT's 123


STARTED = {name: f"2026-11-27T0{hour}:00:00+00:00" for hour, name in enumerate(("lora", "fft", "bias"))}


def test_a_real_run_on_a_cpu_has_no_accelerator_memory_and_no_energy(tmp_path, lora_run):
    place = tmp_path / "results/runs/lora/cola/seed1"
    place.parent.mkdir(parents=True)
    place.symlink_to(lora_run)
    (run,) = read_runs(tmp_path / "results", 360.0)
    assert measured_joules(run) is None
    assert "emissions" not in codecarbon.values(run)
    assert export(tmp_path / "results", tmp_path / "out") == 0
    (content,) = processing.load_jsons(tmp_path / "out" / "cola")
    figures = content["train_info"]
    assert figures["accelerator_memory_max"] is figures["accelerator_memory_reserved_avg"] is None
    assert "test accuracy" not in figures["metrics"][-1]  # CoLA has another metric
    assert figures["metrics"][-1]["test matthews"] == read_json(lora_run / "run.json")["measurement"]["score"]["last"]
    assert content["run_info"]["peft_config"]["peft_type"] == "LORA"
    assert figures["file_size"] == (lora_run / "weights" / "adapter_model.safetensors").stat().st_size


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A working directory with a study, a damaged one, and things in the way of a folder."""
    monkeypatch.chdir(tmp_path)
    metered_run(tmp_path / "results")
    with (metered_run(tmp_path / "edited") / "history.csv").open("a") as stream:
        stream.write("\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("results", "name", "folder", "message"),
    [
        ("absent", "peft-benchmark", "out", "absent has no run.json under runs/"),
        ("file", "peft-benchmark", "out", "'file' is not a folder"),
        ("empty", "peft-benchmark", "out", "empty has no run.json under runs/"),
        ("edited", "peft-benchmark", "out", "history.csv is damaged (not what run.json says)"),
        ("results", "tensorbord", "out", "--to: 'tensorbord' is no format; did you mean 'tensorboard'?"),
        ("results", "wandb", "out", "--to: 'wandb' is no format; valid: tensorboard, mlflow, codecarbon"),
        ("results", "peft-benchmark", "results", "results is not empty; name a new folder"),
        ("results", "peft-benchmark", "file", "'file' is not a folder"),
        ("results", "peft-benchmark", "file/out", "'file' is not a folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(places, capsys, results, name, folder, message):
    before = sorted(places.rglob("*"))
    assert export(results, folder, name) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(places.rglob("*")) == before


@pytest.mark.parametrize("name", [name for name, kind in FORMATS.items() if kind.package])
def test_a_missing_package_is_named_and_nothing_is_written(places, capsys, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    assert export("results", "out", name) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"--to {name} needs the package {name} (")
    assert error.endswith(f"install it with `pip install {name}`\n")
    assert not list(places.glob("*out*"))


def test_an_empty_folder_that_exists_is_filled(places):
    assert export("results", "empty") == 0
    assert [file.name for file in (places / "empty" / "rte").iterdir()] == ["lora--rte-seed1.json"]


def test_the_help_and_the_extras_name_every_format():
    assert tuple(FORMATS) == cli.EXPORTS
    extras = (ROOT / "pyproject.toml").read_text()
    for kind in FORMATS.values():
        assert kind.package is None or f'\n{kind.package} = ["{kind.package}>=' in extras
