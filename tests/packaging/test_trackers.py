"""What `lora-core export` writes, opened by the tracker's own reader without this project."""

import json

import pytest
import yaml
from builders import ROOT, changed, metered_run
from other_tools import run_python

pytestmark = pytest.mark.packaging

TENSORBOARD = """
tensorboard==2.21.0 tensorboard-data-server==0.7.2 absl-py==2.5.1 grpcio==1.85.3 markdown==3.11.3
werkzeug==3.1.9
""".split()
MLFLOW = """
mlflow-skinny==3.17.2 sqlalchemy==2.1.9 alembic==1.20.1 mako==1.4.3 sqlparse==0.6.1 cachetools==7.3.3
cloudpickle==3.1.3 gitpython==3.2.1 gitdb==4.0.12 smmap==5.0.3 python-dotenv==1.2.4
importlib-metadata==9.1.0 zipp==4.1.2 opentelemetry-api==1.45.2 opentelemetry-sdk==1.45.2
opentelemetry-proto==1.45.2 opentelemetry-semantic-conventions==0.66b2 databricks-sdk==0.162.0
google-auth==2.63.0 pyasn1==0.6.5 pyasn1-modules==0.4.2 cryptography==50.0.2 cffi==2.1.1 pycparser==3.12
fastapi==0.165.0 starlette==1.10.0 annotated-doc==0.0.7 protobuf==7.36.2
""".split()
CODECARBON = """
codecarbon==3.3.2 arrow==1.4.0 prometheus-client==0.26.0 py-cpuinfo==9.0.0 rapidfuzz==3.14.6
pycountry==26.2.16 questionary==2.1.1 prompt-toolkit==3.0.53 wcwidth==0.9.4 typer==0.29.2
shellingham==1.5.4 authlib==1.9.10 joserfc==1.8.0
""".split()
EXPORT = """
import sys
sys.path.insert(0, sys.argv[1])
from lora_core.commands.cli import main
sys.exit(main(sys.argv[2:]))
"""
READ_TENSORBOARD = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
events.Reload()
scalars = {name: [(e.step, e.wall_time, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}
plugins = events.summary_metadata
content = plugins["_hparams_/session_start_info"].plugin_data.content
given = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
given = {name: getattr(value, value.WhichOneof("kind")) for name, value in given.items()}
print(json.dumps([scalars, given]))
"""
READ_MLFLOW = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(f"sqlite:///{sys.argv[1]}/mlflow.db")
(experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
runs = client.search_runs([experiment.experiment_id])
history = {
    name: [(m.step, m.timestamp, m.value) for m in client.get_metric_history(runs[0].info.run_id, name)]
    for name in runs[0].data.metrics
}
print(json.dumps([
    experiment.name, [run.info.run_name for run in runs], runs[0].info.status, runs[0].info.end_time,
    runs[0].data.params, runs[0].data.tags, history,
]))
"""
# CodeCarbon's own writer takes the file for one of its own: it adds a row, and renames no file to .bak.
READ_CODECARBON = """
import json, sys
from pathlib import Path
import pandas as pd
from codecarbon.output_methods.emissions_data import EmissionsData
from codecarbon.output_methods.file import FileOutput
file = Path(sys.argv[1], "emissions.csv")
rows = pd.read_csv(file)
values = {name: rows[name].iloc[0] for name in rows.columns if rows[name].notna().iloc[0]}
before = {name: getattr(value, "item", lambda value=value: value)() for name, value in values.items()}
FileOutput(file.name, str(file.parent)).out(EmissionsData(**dict.fromkeys(rows.columns, 1)), None)
print(json.dumps([before, len(rows), len(pd.read_csv(file)), sorted(path.name for path in file.parent.iterdir())]))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results folder of two runs, in a place with a name that URLs would read otherwise."""
    folder = tmp_path_factory.mktemp("a study") / "100% of it?#1"
    metered_run(folder)
    metered_run(folder, seed=2)
    return folder


def exported(python, results, name, read, *options):
    """Export a study in an environment, and return what the tracker's reader there prints."""
    folder = results.parent / name
    run_python(python, EXPORT, ROOT, "export", results, "--to", name, folder, *options, folder=results.parent)
    return json.loads(run_python(python, read, *folder_of(name, folder), folder=results.parent))


def folder_of(name, folder):
    return [folder / "lora" / "rte" / "seed1" if name == "tensorboard" else folder]


def test_tensorboard_shows_epochs_power_and_hyperparameters(peers, results):
    scalars, given = exported(peers(*TENSORBOARD), results, "tensorboard", READ_TENSORBOARD)
    assert [(step, value) for step, _, value in scalars["epoch/score"]] == [
        (epoch, pytest.approx(score, rel=1e-6)) for epoch, score in ((1, 0.5), (2, 0.6), (3, 0.7))
    ]
    steps, times, watts = zip(*scalars["device/power_watts"], strict=True)
    assert (steps[0], steps[1], watts[0], watts[-1]) == (0, 5000, 2.0, 100.0)
    assert times[-1] - times[0] == pytest.approx((steps[-1] - steps[0]) / 1000)
    assert scalars["energy.train_joules"][0][2] == 1200.0
    assert "epoch/eval_energy_joules" not in scalars  # was not measured
    assert given["learning_rate"] == 5e-4
    assert given["method.rank"] == 8
    assert "dropout" not in given  # is not set


def test_mlflow_shows_epochs_power_parameters_and_where_a_run_comes_from(peers, results):
    study, names, status, ended, params, tags, history = exported(peers(*MLFLOW), results, "mlflow", READ_MLFLOW)
    assert study == "100% of it?#1"
    assert sorted(names) == ["lora/rte/seed1", "lora/rte/seed2"]
    assert (status, params["learning_rate"], params["method.rank"]) == ("FINISHED", "0.0005", "8")
    assert "dropout" not in params
    assert tags["provenance.device_model"] == "NVIDIA H200"
    assert [(step, value) for step, _, value in history["epoch/score"]] == [(1, 0.5), (2, 0.6), (3, 0.7)]
    assert [step for step, _, _ in history["device/power_watts"]][:2] == [0, 5000]
    assert max(time for _, time, _ in history["device/power_watts"]) == ended
    assert history["energy.train_joules"][0][2] == 1200.0
    assert "epoch/eval_energy_joules" not in history
    assert not (results.parent / "mlruns").exists()


def test_codecarbon_takes_the_file_for_its_own_and_reads_energy_in_kwh_and_emissions_in_kg(peers, results):
    configuration = results.parent / "study.yaml"
    study = changed(results_dir=str(results), model_card={"grid_co2_grams_per_kwh": 363})
    configuration.write_text(yaml.safe_dump(study))
    options = ("--configfile", configuration)
    row, rows, with_another, files = exported(peers(*CODECARBON), results, "codecarbon", READ_CODECARBON, *options)
    assert (rows, with_another, files) == (2, 3, ["emissions.csv"])
    assert row == {
        "timestamp": "2026-11-27T02:10:05", "project_name": "100% of it?#1", "run_id": "lora/rte/seed1",
        "experiment_id": "lora/rte", "duration": 12.0, "energy_consumed": pytest.approx(1200 / 3.6e6),
        "emissions": pytest.approx(1200 / 3.6e6 * 0.363), "emissions_rate": pytest.approx(1200 / 3.6e6 * 0.363 / 12),
        "gpu_energy": pytest.approx(1200 / 3.6e6), "gpu_power": 100.0, "os": "Linux x86_64",
        "python_version": "3.12.3", "gpu_count": 1.0, "gpu_model": "NVIDIA H200",
    }  # fmt: skip
