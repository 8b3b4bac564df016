"""What must hold for any input, tried with inputs that hypothesis makes up."""

import csv
import math
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from builders import (
    FFT,
    MERGED,
    ROOT,
    energy_run,
    latency_inputs,
    record,
    score_inputs,
    scored,
    texts,
    timed,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_core.config import study as config
from lora_core.config.description import StudyDescription
from lora_core.config.params import draw_params
from lora_core.data import batches as data
from lora_core.data.tasks import PAPER_TASKS, TASKS, task_title
from lora_core.evaluation.cost_to_threshold import cost_to
from lora_core.measuring import power_trace as trace
from lora_core.methods.layers import LoRALinear
from lora_core.records import PowerRow, write_json
from lora_core.reporting import catalogue
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.rendering import TableFiles, write_table

settings.register_profile("project", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("project")
METHODS = ("fft", "lora", "lora_ref")
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
positive = st.floats(1e-3, 1e6)


def some(values, least: int = 1):
    """A subset in any order."""
    return st.lists(st.sampled_from(list(values)), min_size=least, unique=True)


@given(
    tasks=some(PAPER_TASKS), methods=some(METHODS),
    seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=5, unique=True),
    rank=st.integers(1, 64), alpha=positive,
    targets=st.lists(st.from_regex(r"\A[a-z_]{1,9}\Z"), min_size=1, unique=True),
    sweep=st.lists(st.integers(1, 64), min_size=1, max_size=3, unique=True),
    precision=st.sampled_from(["fp32", "bf16"]), checkpoint=st.none() | st.floats(0, 1e6), margin=st.floats(0.001, 0.9),
)  # fmt: skip
def test_a_configuration_comes_back_from_yaml_as_it_was(
    tasks, methods, seeds, rank, alpha, targets, sweep, precision, checkpoint, margin
):
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    values |= {"tasks": tasks, "methods": [*methods, "swept"], "seeds": seeds}
    values["method_settings"]["swept"] = {"kind": "lora", "sweep": {"rank": sweep, "targets": [targets, ["query"]]}}
    values["method_settings"]["lora"] |= {"rank": rank, "alpha": alpha, "targets": targets}
    values["train"] |= {"precision": precision, "checkpoint_seconds": checkpoint}
    values["measure"] |= {"latency_margin": margin}
    study = config.load(values)
    again = config.load(
        yaml.safe_load(yaml.safe_dump(study.model_dump(mode="json", exclude_unset=True, by_alias=True)))
    )
    assert again == study
    assert [again.hyperparameters(m, t) for m in methods for t in tasks] == [
        study.hyperparameters(m, t) for m in methods for t in tasks
    ]


@given(
    lengths=st.lists(st.integers(1, 512), min_size=1, max_size=600), size=st.integers(1, 40),
    seed=st.integers(0, 2**63),
    batching=st.sampled_from(["random", "length_grouped"]),
)  # fmt: skip
def test_every_example_is_in_one_batch_and_padding_is_bounded(lengths, size, seed, batching):
    batches = data.order(np.array(lengths), size, batching, seed)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert len(batches) == math.ceil(len(lengths) / size)
    if batching == "length_grouped":
        # In a chunk sorted by length no batch is longer than the next one's shortest: padding adds up
        # to at most a batch of the whole range.
        computed = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
        chunks = math.ceil(len(lengths) / (size * data.CHUNK_BATCHES))
        assert computed - sum(lengths) <= chunks * size * (max(lengths) - min(lengths))


@given(
    rank=st.integers(1, 12), alpha=st.floats(0.01, 64), inputs=st.integers(1, 24), outputs=st.integers(1, 24),
    dtype=st.sampled_from(DTYPES), spread=st.floats(1e-3, 10), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_merging_is_exact_to_rounding_undone_exactly_and_twice_is_once(
    rank, alpha, inputs, outputs, dtype, spread, seed
):
    torch.manual_seed(seed)
    layer = LoRALinear(torch.nn.Linear(inputs, outputs).to(dtype), rank, alpha)
    torch.nn.init.normal_(layer.lora_B, std=spread)
    before = layer.weight.detach().clone()
    a, b = (p.detach().double() for p in (layer.lora_A, layer.lora_B))
    delta = layer.scale * (b @ a)
    layer.toggle_merge(True)
    merged = layer.weight.detach().clone()
    eps = torch.finfo(dtype).eps
    # Each of the rank's products and sums rounds once in at least float32, the weight once more in its own type.
    terms = layer.scale * (b.abs() @ a.abs())
    within = (eps if dtype == torch.float64 else torch.finfo(torch.float32).eps) * (rank + 2)
    bound = eps * max(before.double().abs().max(), delta.abs().max()) + within * terms.max()
    if torch.isfinite(merged).all():  # float16 ends at 65,504
        assert (merged.double() - (before.double() + delta)).abs().max() <= bound
    layer.toggle_merge(True)
    assert torch.equal(layer.weight, merged) or not torch.isfinite(merged).all()
    layer.toggle_merge(False)
    assert torch.equal(layer.weight, before)
    layer.toggle_merge(False)
    assert torch.equal(layer.weight, before)


@given(scores=st.lists(st.floats(-1, 1), min_size=1, max_size=12), bounds=st.lists(st.floats(-1, 1), min_size=2))
def test_a_higher_threshold_is_reached_no_sooner(scores, bounds):
    run = energy_run("lora", 1, scores)
    reached = [cost_to(run, bound).epochs or math.inf for bound in sorted(bounds)]
    assert reached == sorted(reached)


@given(
    gaps=st.lists(st.floats(0.01, 5), min_size=2, max_size=40), watts=st.floats(1, 700), cut=st.integers(1, 38),
    seed=st.integers(0, 2**31),
)  # fmt: skip
def test_the_energy_of_a_window_split_anywhere_adds_up(gaps, watts, cut, seed):
    power = np.random.default_rng(seed).uniform(0, watts, len(gaps))
    counter = np.cumsum(power * gaps) * 1e3
    rows = [
        PowerRow(float(at), 0, "train", "gpu", float(p), None, None, float(c))
        for at, p, c in zip(np.cumsum(gaps), power, counter, strict=True)
    ]
    cut = 1 + cut % (len(rows) - 1) if len(rows) > 2 else 1
    parts = rows[: cut + 1], rows[cut:]
    for joules in (trace.counter_joules, trace.trapezoid_joules):
        split = [joules(part) or 0.0 for part in parts]
        assert math.isclose(sum(split), joules(rows), rel_tol=1e-9, abs_tol=1e-9)


COSTS = (
    "seconds_to_threshold", "energy_to_threshold_joules", "net_energy_to_threshold_joules", "seconds_to_seed_threshold",
    "energy_to_seed_threshold_joules", "train_energy_joules", "threshold", "seed_threshold",
)  # fmt: skip


@st.composite
def studies(draw):
    """Methods, tasks, seeds, and which of their runs and values are there."""
    methods, tasks, seeds = draw(some(METHODS)), draw(some(PAPER_TASKS)), draw(some(range(1, 6)))
    absent = draw(st.integers(0, 2**31))
    share = draw(st.sampled_from([0.0, 0.3, 1.0]))
    return methods, tasks, seeds, np.random.default_rng(absent), share


@given(study=studies())
def test_tables_render_whatever_is_missing(study):
    methods, tasks, seeds, generator, share = study

    def value(low: float, high: float) -> float | None:
        return None if generator.random() < share else float(generator.uniform(low, high))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        memory = [
            record(folder, m, s, value(100, 1e4), t, mean_mb=value(100, 1e4), baseline_mb=value(1, 99))
            for m in methods for t in tasks for s in seeds
        ]  # fmt: skip
        scores = []
        for t in tasks:
            (folder / "scores").mkdir(exist_ok=True)
            runs = [(m, s, *(value(0, 1) or "" for _ in range(3)), False) for m in methods for s in seeds]
            scores += scored(folder / "scores", *runs, metric=TASKS[t].metrics[0], task=t)
        costs = []
        for t in tasks:
            rows = []
            for m in methods:
                for s in seeds:
                    reached = [None, True, False][generator.integers(3)]
                    row = {name: value(1, 100) if reached else None for name in COSTS}
                    row |= {"threshold": value(0, 1), "train_seconds": value(1, 100)}
                    row |= {
                        "method": m, "seed": s, "device": "a CPU, 2 threads", "planned_epochs": 3, "best_score": 0.5,
                        "threshold_meaningful": reached, "threshold_reason": None, "reached": reached,
                        "epochs_to_threshold": 2 if reached else None,
                        "epochs_to_seed_threshold": 1 if reached else None, "energy_source": None,
                        "energy_boundary": None, "meter": "none", "meter_reason": "none", "simulated": False,
                        "shared": None, "start_from": None,
                    }  # fmt: skip
                    rows.append(row)
            costs.append(folder / f"{t}.csv")
            pd.DataFrame(rows).to_csv(costs[-1], index=False)
        counts = {m: {"trainable": 10, "head": 2, "total": 100} for m in methods}
        write_json(folder / "counts.json", {"full": 100, "methods": counts})
        passes = [timed(folder / "latency", {FFT: [0.5, 0.6], MERGED: [0.5, 0.7]}, t) for t in tasks]
        inputs = score_inputs(scores) | latency_inputs(*passes)
        inputs |= {"counts": [folder / "counts.json"], "costs": costs, "runs": memory}
        study = config.load(yaml.safe_load((ROOT / "config.yaml").read_text()) | {"tasks": tasks, "methods": methods})
        description = StudyDescription("a model", "some data", "a protocol", seeds, "random", False, False)
        for name, entry in catalogue.TABLES.items():
            if "memory_scaling" in entry.records:  # shapes alone: nothing of it can be missing
                continue
            params = draw_params(study, name, entry.settings)
            if "swept" in entry.settings:
                params["swept"] = {m: {"entry": m, "values": {"rank": 1}} for m in methods}
            table = entry.function()(inputs, DrawSettings.from_params(params))
            files = TableFiles.at(folder / name)
            write_table(table, description, files)
            for file in (files.md, files.tex):
                words = re.split(r"[\s|&\\\[\],()]+", file.read_text())
                assert not {"nan", "None", "inf", "-inf", "NaN"} & set(words)
            with files.csv.open(newline="") as stream:
                for line in csv.DictReader(stream):
                    assert not {"nan", "None", "inf", "-inf"} & set(line.values())
            if name == "table4":
                assert {(m, task_title(t)) for m in methods for t in tasks} <= set(texts(table))
