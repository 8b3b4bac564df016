"""A study for MLflow: an experiment in a database of one file."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.evaluation.collect_runs import leaves
from lora_core.reporting.exports.runs import ExportedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

DATABASE = "mlflow.db"
MAX_METRICS = 1000  # in one call


def write(runs: Sequence[ExportedRun], folder: Path) -> None:
    """Write the runs with parameters, series, results and, as tags, where they come from."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it tells of each table of the database
    # Elsewhere first: MLflow reads the folder as a part of a URL, in which some characters of paths mean something.
    with tempfile.TemporaryDirectory() as temporary:
        database = Path(temporary, DATABASE)
        client = MlflowClient(f"sqlite:///{database}")
        study = runs[0].study
        existing = client.get_experiment_by_name(study)  # every database has one, called Default
        if existing:
            experiment = existing.experiment_id
        else:
            # Artifacts would go through the server, so that the folder may be moved. None are written.
            experiment = client.create_experiment(study, artifact_location="mlflow-artifacts:/")
        for run in runs:
            _write_run(client, experiment, run)
        shutil.move(database, folder / DATABASE)


def _write_run(client: MlflowClient, experiment: str, run: ExportedRun) -> None:
    from mlflow.entities import Param

    came_from = leaves(vars(replace(run.record.provenance, code_files=None)), "provenance.")
    created = client.create_run(
        experiment,
        start_time=_milliseconds(run.started.timestamp()),
        run_name=run.name,
        tags={name: str(value) for name, value in came_from if value is not None},
    )
    identity = created.info.run_id
    client.log_batch(identity, params=[Param(name, str(value)) for name, value in run.parameters.items()])
    metrics = _metrics(run)
    while batch := list(islice(metrics, MAX_METRICS)):
        client.log_batch(identity, metrics=batch)
    client.set_terminated(identity, end_time=_milliseconds(run.ended.timestamp()))


def _metrics(run: ExportedRun) -> Iterator[Metric]:
    from mlflow.entities import Metric

    for point in run.points():
        yield Metric(point.name, point.value, _milliseconds(point.time.timestamp()), point.step)
    for name, value in run.results.items():
        yield Metric(name, value, _milliseconds(run.ended.timestamp()), 0)


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
