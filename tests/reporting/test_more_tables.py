"""Tables and figures beyond the paper's, with expected values worked out by hand."""

import math
import re

import pandas as pd
import pytest
from builders import draw_figure, draw_table, record, texts

from lora_core.evaluation import memory_scaling as scaling
from lora_core.evaluation.frames import read_memory_scaling
from lora_core.records import write_json
from lora_core.reporting.published import TABLES
from lora_core.reporting.tables.convergence import with_tasks
from lora_core.reporting.tables.memory_scaling import crossover


def convergence(inputs):
    return draw_table("convergence", inputs)


SMALL = scaling.Shape("small", 32, 2, 2, 300, 130)


def costs(folder, disturbed=(), **methods):
    """energy/cola.csv of methods, each by `(epochs, seconds)` to the threshold, seed by seed; None did not reach it."""
    rows = [
        {
            "method": method, "seed": seed, "device": "a CPU", "planned_epochs": 4,
            "train_seconds": 40.0, "median_epoch_seconds": 10.0, "disturbed": (method, seed) in disturbed,
            "threshold": 0.8, "epochs_to_threshold": at and at[0], "seconds_to_threshold": at and at[1],
            "epochs_to_seed_threshold": at and at[0], "seconds_to_seed_threshold": at and at[1],
            "energy_to_seed_threshold_joules": None, "start_from": None,
            "energy_to_threshold_joules": None, "net_energy_to_threshold_joules": None,
            "threshold_meaningful": True, "shared": None,
        }
        for method, costs in methods.items()
        for seed, at in enumerate(costs, 1)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "cola.csv", index=False)
    runs = [
        record(folder, row["method"], row["seed"], saved_for_backward_mb=50.0 if row["method"] == "lora_fa" else 100.0)
        for row in rows
    ]
    return {"costs": [folder / "cola.csv"], "runs": runs}


def test_a_ratio_is_paired_by_seed_and_certain_only_on_one_side_of_one(tmp_path):
    table = convergence(
        costs(
            tmp_path,
            fft=[(1, 9.0), (1, 9.0), (1, 9.0)],
            lora=[(2, 10.0), (2, 20.0), (2, 40.0)],
            lora_fa=[(2, 10.0), (2, 20.0), (2, 40.0)],
            lora_plus=[(1, 5.0), (1, 10.0), (1, 20.4)],
            pissa=[(2, 5.0), (2, 20.0), (2, 80.0)],
        )
    )
    shown = texts(table)
    # 0.5, 0.5, 0.51: log 1.02 at one of three seeds is a standard error of a third of that, and the mean's shift too.
    assert shown["lora_plus / LoRA (own): time to the threshold", "CoLA"] == "0.503 [0.489, 0.518] less"
    # 1/2, 1, 2: a geometric mean of 1; a standard error of log 2 / sqrt 3, and Student's 4.3027 of two degrees.
    reach = math.exp(4.302653 * math.log(2) / math.sqrt(3))
    assert shown["pissa / LoRA (own): time to the threshold", "CoLA"] == f"1.00 [{1 / reach:.2f}, {reach:.2f}]"
    assert shown["lora_fa / LoRA (own): saved for backward", "CoLA"].endswith("less")
    assert shown["LoRA (own) / Full fine-tuning: time to the threshold", "CoLA"].startswith("2.2 [")
    assert shown["LoRA (own): epochs", "CoLA"].startswith("2")
    assert "Lower than LoRA (own) in time to the threshold: lora_plus." in table.notes
    assert "Lower than LoRA (own) in saved for backward: lora_fa." in table.notes
    # Whole epochs on which all seeds agree have no spread to judge by.
    assert shown["LoRA (own) / Full fine-tuning: epochs to the threshold", "CoLA"] == "2.00"


def test_times_without_any_spread_between_seeds_decide_nothing(tmp_path):
    table = convergence(
        costs(tmp_path, lora=[(2, 20.0), (2, 30.0), (2, 40.0)], lora_fa=[(4, 10.0), (4, 15.0), (4, 20.0)])
    )
    shown = texts(table)
    for quantity in ("time to the threshold", "time per epoch", "epochs to the threshold"):
        assert re.fullmatch(r"\d\.\d\d", shown[f"lora_fa / LoRA (own): {quantity}", "CoLA"]), quantity
    assert shown["lora_fa / LoRA (own): time to the threshold", "CoLA"] == "0.50"
    assert shown["lora_fa / LoRA (own): saved for backward", "CoLA"] == "0.50 less"  # counted, and exact
    assert not [note for note in table.notes if note.startswith(("Lower", "Higher")) and "saved for" not in note]


def test_a_run_that_shared_its_device_leaves_a_ratio_of_times_open_and_is_named(tmp_path):
    inputs = costs(
        tmp_path, fft=[(2, 40.0)] * 3, lora=[(2, 10.0), (2, 11.0), (2, 12.0)], dora=[(2, 50.0), (2, 51.0), (2, 49.0)]
    )
    frame = pd.read_csv(inputs["costs"][0])
    frame["shared"] = (frame["method"] == "lora") & (frame["seed"] == 2)
    frame.to_csv(inputs["costs"][0], index=False)
    table = convergence(inputs)
    shown = texts(table)
    assert shown["LoRA (own) / Full fine-tuning: time to the threshold", "CoLA"].endswith("]")
    assert shown["dora / Full fine-tuning: time to the threshold", "CoLA"].endswith("more")
    assert any("LoRA (own) CoLA seed 2" in note for note in table.notes)


def test_what_holds_on_some_tasks_names_them():
    assert with_tasks("dora", ["CoLA", "RTE"], 2) == "dora"
    assert with_tasks("dora", ["CoLA"], 2) == "dora (CoLA)"


def test_a_run_that_did_not_reach_the_threshold_or_too_few_seeds_leave_no_verdict(tmp_path):
    table = convergence(costs(tmp_path, lora=[(2, 10.0), (2, 20.0)], pissa=[(1, 5.0), None]))
    shown = texts(table)
    assert shown["pissa / LoRA (own): time to the threshold", "CoLA"] == "n/a"
    assert shown["pissa / LoRA (own): saved for backward", "CoLA"] == "1.00"
    assert shown["LoRA (own) / Full fine-tuning: time to the threshold", "CoLA"] == "n/a"
    assert not [note for note in table.notes if note.startswith(("Lower", "Higher"))]


def test_a_threshold_that_says_nothing_decides_nothing(tmp_path):
    inputs = costs(tmp_path, lora=[(2, 10.0)] * 3, pissa=[(1, 5.0)] * 3)
    file = inputs["costs"][0]
    pd.read_csv(file).assign(threshold_meaningful=False).to_csv(file, index=False)
    table = convergence(inputs)
    assert texts(table)["pissa / LoRA (own): time to the threshold", "CoLA"] == "n/a"
    assert texts(table)["pissa / LoRA (own): saved for backward", "CoLA"] == "1.00"
    assert any("costs to it are not compared: CoLA" in note for note in table.notes)


def test_two_devices_are_not_compared(tmp_path):
    inputs = costs(tmp_path, lora=[(2, 10.0)] * 3, pissa=[(1, 5.0)] * 3)
    file = inputs["costs"][0]
    frame = pd.read_csv(file)
    frame.loc[frame["method"] == "pissa", "device"] = "another CPU"
    frame.to_csv(file, index=False)
    assert texts(convergence(inputs))["pissa / LoRA (own): time to the threshold", "CoLA"] == "n/a"


def test_the_crossover_lies_where_activations_are_half():
    sizes, shares = [1e6, 1e8, 1e10], [0.9, 0.6, 0.4]
    frame = pd.DataFrame({"parameters": sizes, "activations": shares})
    assert crossover(frame) == pytest.approx(1e9)
    assert crossover(frame.assign(activations=[0.4, 0.3, 0.2])) is None
    assert crossover(frame.assign(activations=[0.9, 0.8, 0.7])) is None


@pytest.fixture
def scaled(tmp_path, monkeypatch):
    """scaling.json of two small shapes."""
    larger = scaling.Shape("larger", 64, 3, 2, 300, 130)
    monkeypatch.setattr(scaling, "SHAPES", (SMALL, larger))
    monkeypatch.setattr(scaling, "COUNTED", (SMALL,))
    scaling.predict_memory(tmp_path / "scaling.json", 1)
    return tmp_path / "scaling.json"


def test_the_scaling_table_names_the_crossover_and_the_published_savings(scaled):
    table = draw_table("scaling", {"memory_scaling": [scaled]})
    shown = texts(table)
    predicted = read_memory_scaling(scaled).predicted
    first = predicted[(predicted["model"] == "small") & (predicted["tokens"] == 64)].iloc[0]
    assert shown["16×64: small", "saved by LoRA (%)"] == f"{100 * first['saved']:.0f}"
    assert "16×64: small, counted on a real step" in {row for row, _ in shown}
    assert ("16×64: small, resident memory at its peak", "full fine-tuning (GB)") in shown
    assert any("activations" in note and "32×512" in note for note in table.notes)


def test_the_published_points_are_of_shapes_that_are_predicted():
    assert {row.label for row in TABLES["scaling"].rows} <= {shape.name for shape in scaling.SHAPES}


def test_the_scaling_figure_has_the_published_points_and_its_csv(tmp_path):
    frame = {
        "weights_mb": 1.0,
        "gradients_mb": 1.0,
        "optimizer_mb": 2.0,
        "saved_for_backward_mb": 4.0,
        "resident_peak_mb": 9.0,
    }
    rows = [
        {"model": shape.name, "parameters": 10**i, "method": method, "batch": batch, "tokens": tokens} | frame
        for i, shape in enumerate(scaling.SHAPES, 6)
        for method in scaling.METHODS
        for batch, tokens in scaling.BATCHES
    ]
    write_json(tmp_path / "scaling.json", {"predicted": rows, "counted": [rows[0], rows[len(scaling.BATCHES)]]})
    draw_figure("scaling", {"memory_scaling": [tmp_path / "scaling.json"]}, tmp_path)
    text = (tmp_path / "scaling.svg").read_text()
    assert "RoBERTa-base 38 %" in text
    assert "GPT-3 175B 66 %" in text
    assert len(pd.read_csv(tmp_path / "scaling.csv")) == len(rows) // 2 + 1


def test_a_ratio_of_a_disturbed_run_is_marked_and_has_no_verdict(tmp_path):
    times = {"fft": [(2, 20.0), (2, 20.0), (2, 20.0)], "lora": [(2, 10.0), (2, 10.1), (2, 9.9)]}
    row = "LoRA (own) / Full fine-tuning: time to the threshold", "CoLA"
    assert texts(convergence(costs(tmp_path, **times)))[row].endswith("] less")
    table = convergence(costs(tmp_path, {("lora", 2)}, **times))
    assert texts(table)[row].endswith("] *")
    assert texts(table)["LoRA (own) / Full fine-tuning: saved for backward", "CoLA"] == "1.00"
    assert any(note.startswith("* Disturbed") and "LoRA (own) CoLA seed 2" in note for note in table.notes)
