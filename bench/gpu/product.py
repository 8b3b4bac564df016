"""A case trained by this project: by `lora_core.training.run.train`, from start to records."""

import csv
import shutil
from dataclasses import replace
from statistics import median
from typing import Literal

from bench.gpu.cases import Case, Measurement
from bench.gpu.context import GpuContext


def measure_product(case: Case, context: GpuContext) -> Measurement:
    """Train, and return what the run's records say."""
    batching: Literal["random", "length_grouped"] = "random" if case.random_batches else "length_grouped"
    graphs: Literal["auto", "off"] = "auto" if case.loop == "graphs" else "off"
    spec = context.gpu_spec(case.task, case.method, case.precision, case.epochs)
    out = context.folder / "run"
    shutil.rmtree(out, ignore_errors=True)
    files = context.data(case.task, case.examples)
    record = context.train(replace(spec, batching=batching, cuda_graphs=graphs), files, out)
    with (out / "history.csv").open(newline="") as stream:
        history = list(csv.DictReader(stream))
    seconds = [float(row["train_seconds"]) for row in history]
    all_lengths = context.lengths(case.task)
    scale = len(all_lengths) / record.data.train.examples
    joules = record.energy.train_joules
    return Measurement(
        epoch_seconds=median(seconds) * scale,
        first_epoch_seconds=seconds[0] * scale,
        epoch_joules=None if joules is None else joules / len(history) * scale,
        tokens_per_second=float(all_lengths.sum()) / (median(seconds) * scale),
        used_mb=record.memory.peak_allocated_mb,
        held_mb=record.memory.peak_reserved_mb,
        preparation_seconds=record.preparation.seconds,
        steps=sum(int(row["steps"]) for row in history),
        execution=record.execution,
    )
