"""Tables of studies with any methods, tasks and seeds, and any of their values missing."""

import csv
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from builders import (
    FFT,
    MERGED,
    METHOD_LABELS,
    ROOT,
    draw_table,
    latency_inputs,
    record,
    score_inputs,
    scored,
    texts,
    timed,
    write_counts,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_core.config import params
from lora_core.config import study as config
from lora_core.config.description import StudyDescription
from lora_core.data.tasks import PAPER_TASKS, TASKS, task_title
from lora_core.reporting import catalogue
from lora_core.reporting.inputs import DrawSettings, SweptMethod
from lora_core.reporting.rendering import TableFiles, write_table
from lora_core.reporting.table import read_table

METHODS = ("fft", "lora", "lora_ref")
COSTS = (
    "seconds_to_threshold", "energy_to_threshold_joules", "net_energy_to_threshold_joules", "seconds_to_seed_threshold",
    "energy_to_seed_threshold_joules", "train_energy_joules", "threshold", "seed_threshold",
)  # fmt: skip
UNAVAILABLE = {"nan", "None", "inf", "-inf", "NaN"}


def subsets(values):
    return st.lists(st.sampled_from(list(values)), min_size=1, unique=True)


@st.composite
def studies(draw):
    """Methods, tasks, seeds, a source of random numbers, and the share of values that are missing."""
    methods, tasks, seeds = draw(subsets(METHODS)), draw(subsets(PAPER_TASKS)), draw(subsets(range(1, 6)))
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    return methods, tasks, seeds, generator, draw(st.sampled_from([0.0, 0.3, 1.0]))


def cost_files(folder, methods, tasks, seeds, generator, value):
    """energy/{task}.csv with runs that did, did not, or cannot reach the threshold."""
    files = []
    for task in tasks:
        rows = []
        for method in methods:
            for seed in seeds:
                reached = [None, True, False][generator.integers(3)]
                row = {name: value(1, 100) if reached else None for name in COSTS}
                row |= {"threshold": value(0, 1), "train_seconds": value(1, 100)}
                row |= {
                    "method": method, "seed": seed, "device": "a CPU, 2 threads", "planned_epochs": 3,
                    "median_epoch_seconds": value(1, 30), "disturbed": [None, True, False][generator.integers(3)],
                    "best_score": 0.5, "threshold_reason": "this study has no method that stands for full fine-tuning",
                    "threshold_meaningful": reached, "reached": reached, "epochs_to_threshold": 2 if reached else None,
                    "epochs_to_seed_threshold": 1 if reached else None, "energy_source": None,
                    "energy_boundary": None, "meter": "none", "meter_reason": "no meter", "simulated": False,
                    "shared": None, "start_from": None,
                }  # fmt: skip
                rows.append(row)
        files.append(folder / f"{task}.csv")
        pd.DataFrame(rows).to_csv(files[-1], index=False)
    return files


def study_inputs(folder, methods, tasks, seeds, generator, share):
    """The files of a study of which this share of values is missing."""

    def value(low, high):
        return None if generator.random() < share else float(generator.uniform(low, high))

    runs = [
        record(folder, m, s, value(100, 1e4), t, mean_mb=value(100, 1e4), baseline_mb=value(1, 99))
        for m in methods for t in tasks for s in seeds
    ]  # fmt: skip
    (folder / "scores").mkdir()
    scores = []
    for t in tasks:
        rows = [(m, s, *(value(0, 1) or "" for _ in range(3)), False) for m in methods for s in seeds]
        scores += scored(folder / "scores", *rows, metric=TASKS[t].metrics[0], task=t)
    write_counts(folder / "counts.json", dict.fromkeys(methods, 10))
    passes = [timed(folder / "latency", {FFT: [0.5, 0.6], MERGED: [0.5, 0.7]}, t) for t in tasks]
    costs = cost_files(folder, methods, tasks, seeds, generator, value)
    return (
        {"runs": runs, "costs": costs, "counts": [folder / "counts.json"]}
        | score_inputs(scores)
        | latency_inputs(*passes)
    )


@given(study=studies())
@settings(deadline=None, max_examples=25, derandomize=True)
def test_tables_are_written_whatever_is_missing(study):
    methods, tasks, seeds, *_ = study
    configuration = config.load(
        yaml.safe_load((ROOT / "config.yaml").read_text()) | {"tasks": tasks, "methods": methods}
    )
    plain = {"hyperparameters": params.hyperparameter_params(configuration)}
    of_table = {
        "table3": {"latency_margin": 0.03},
        "table5": {"methods": [m for m in methods if m == "fft"]},
        "table6": {"methods": [m for m in methods if m != "fft"]},
        "table7": {"hyperparameters": DrawSettings.from_params(plain).hyperparameters},
        "sweep": {"swept": {m: SweptMethod(m, {"rank": 1}) for m in methods}},
    }
    description = StudyDescription("a model", "some data", "a protocol", seeds, "random", False, ["model: other"])
    with tempfile.TemporaryDirectory() as name:
        inputs = study_inputs(Path(name), *study)
        for entry in catalogue.TABLES.values():
            if not set(entry.records) <= set(inputs):
                continue
            table = draw_table(entry.name, inputs, **of_table.get(entry.parent, {}))
            files = TableFiles.at(Path(name) / entry.name)
            write_table(table, description, files)
            assert read_table(files.json).cells == table.cells
            for file in (files.md, files.tex):
                assert not UNAVAILABLE & set(re.split(r"[\s|&\\\[\],()]+", file.read_text()))
            with files.csv.open(newline="") as stream:
                rows = list(csv.DictReader(stream))
            assert not [row for row in rows if UNAVAILABLE & set(row.values())]
            keys = [tuple(row[name] for name in ("method", "variant", "task", "quantity", "unit")) for row in rows]
            assert len(set(keys)) == len(keys), entry.name
            if entry.name == "table4":
                assert {(METHOD_LABELS[m], task_title(t)) for m in methods for t in tasks} <= set(texts(table))
