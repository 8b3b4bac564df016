"""Tables: every figure from a record, published ones apart, absent ones n/a, and text that cannot break out."""

import csv

import pytest
from conftest import BERT, LORA

from lora_core import tables
from lora_core.counts import count_parameters
from lora_core.records import read_json, write_json
from lora_core.tables import Cell, Study, Table

STUDY = Study("a model", "mini-GLUE (generated)", "embedded study", [1, 2], "bucketed", False, False)


def record(folder, method, seed, best, last, memory=500.0, task="cola", device="a CPU"):
    file = folder / f"{method}-{task}-{seed}.json"
    write_json(
        file,
        {
            "run": {
                "method": method, "task": task, "seed": seed, "hyperparameters": {"epochs": 3},
                "data": {"validation": {"constant_guess": 0.5}},
            },
            "measurement": {
                "score": {"metric": "matthews", "best": best, "best_epoch": 2, "last": last, "examples": 200},
                "memory": {"kind": "resident", "baseline_mb": 200.0, "mean_mb": memory},
            },
            "provenance": {"device_model": device, "threads": 2},
        },
    )  # fmt: skip
    return file


def texts(table):
    return {(cell.row, cell.column): cell.text for cell in table.cells}


def test_scores_are_mean_and_sample_deviation_over_seeds_in_percent(tmp_path):
    files = [record(tmp_path, "lora", 1, 0.80, 0.70), record(tmp_path, "lora", 2, 0.90, 0.70)]
    shown = texts(tables.scores(files))
    assert shown["lora, best epoch", "CoLA"] == "85.0 ± 7.1"
    assert shown["lora, last epoch", "CoLA"] == "70.0 ± 0.0"
    assert shown["constant guess", "CoLA"] == "50.0"


def test_one_seed_shows_no_deviation(tmp_path):
    assert texts(tables.scores([record(tmp_path, "lora", 1, 0.8, 0.7)]))["lora, best epoch", "CoLA"] == "80.0"


def test_memory_stands_raw_and_less_the_baseline_and_absent_stays_absent(tmp_path):
    files = [record(tmp_path, "fft", 1, 0.8, 0.7), record(tmp_path, "lora", 1, 0.8, 0.7, memory=None)]
    shown = texts(tables.memory(files))
    assert shown["fft", "CoLA"] == "500"
    assert shown["fft, less the baseline", "CoLA"] == "300"
    assert shown["lora", "CoLA"] == shown["lora, less the baseline", "CoLA"] == "n/a"


def test_memory_of_two_devices_is_never_averaged(tmp_path):
    files = [record(tmp_path, "fft", 1, 0.8, 0.7), record(tmp_path, "fft", 2, 0.8, 0.7, 900.0, device="a GPU")]
    shown = texts(tables.memory(files))
    assert shown["fft on a CPU", "CoLA"] == "500"
    assert shown["fft on a GPU", "CoLA"] == "900"


COSTS = (
    "method,seed,device_model,planned_epochs,best_score,threshold,threshold_meaningful,reached,epochs_to_threshold,"
    "seconds_to_threshold,energy_to_threshold_joules,meter_reason\n"
)


def test_costs_are_medians_of_the_seeds_that_got_there(tmp_path):
    file = tmp_path / "cola.csv"
    rows = "".join(
        f"lora,{seed},a GPU,5,0.9,0.85,True,{reached},{epochs},{seconds},{joules},\n"
        for seed, reached, epochs, seconds, joules in [
            (1, True, 2, 20.0, 4000.0), (2, True, 3, 30.0, 9000.0), (3, False, "", "", ""),
        ]
    )  # fmt: skip
    file.write_text(COSTS + rows + "fft,1,a GPU,5,0.9,0.85,True,True,1,9.0,,no meter\n")
    shown = texts(tables.cost(6, [file], ["lora"]))
    assert shown["train time (s)", "CoLA"] == "25.0"
    assert shown["epochs", "CoLA"] == "2.5"
    assert shown["energy (kJ)", "CoLA"] == "6.5"
    assert shown["power (W)", "CoLA"] == "250.0"
    assert shown["seeds that got there", "CoLA"] == "67 %"
    full = tables.cost(5, [file], ["fft"])
    assert texts(full)["energy (kJ)", "CoLA"] == texts(full)["power (W)", "CoLA"] == "n/a"
    assert any("no meter" in note for note in full.notes)


def test_parameters_come_from_the_counts(tmp_path):
    from transformers import BertConfig

    BertConfig(**{k: v for k, v in BERT.items() if k != "model_type"}).save_pretrained(tmp_path)
    write_json(tmp_path / "counts.json", count_parameters(tmp_path, {"lora": LORA}, 2))
    counts = read_json(tmp_path / "counts.json")["methods"]["lora"]
    assert counts["trainable"] == 2 * 2 * (4 * 32 + 32 * 4)
    assert texts(tables.parameters(tmp_path / "counts.json"))["lora", "trainable parameters"] == "1,024"


def test_the_files_hold_the_study_and_the_published_figures_apart(tmp_path):
    table = Table(1, "Trainable parameters", "method", [Cell("lora", "parameters", None, "n/a")])
    tables.write(table, STUDY, tmp_path / "table1")
    text = (tmp_path / "table1.md").read_text()
    ours, published = text.split("## Published, not measured here")
    assert "124.6" in published
    assert "124.6" not in ours
    assert "not comparable" in ours
    rows = list(csv.DictReader((tmp_path / "table1.csv").open()))
    assert rows[0] == {"block": "this study", "row": "lora", "column": "parameters", "value": "", "sd": "", "n": ""}
    assert all("Table 1" in row["block"] for row in rows[1:])


def test_a_simulated_driver_is_said_above_every_table():
    banner = Study("m", "d", "p", [1], "random", True, True).banner()
    assert any("simulated" in line for line in banner)


@pytest.mark.parametrize("name", ["<script>", "a|b", "50%_x", "a&b\nc"])
def test_hostile_names_are_escaped(name):
    table = Table(3, "Title", "method", [Cell(name, "CoLA", 1.0, "1.0")], [name])
    markdown = tables.markdown(table, STUDY, None)
    assert "<script>" not in markdown
    assert all(line.replace("\\|", "").count("|") == 3 for line in markdown.splitlines() if line.startswith("|"))
    latex = tables.latex(table, STUDY, None)
    body = latex.split(r"\midrule")[1]
    assert not {"%", "_", "&", "#"} & {c for i, c in enumerate(body) if body[i - 1] != "\\" and c != "&"}
    assert body.replace(r"\&", "").splitlines()[1].count("&") == 1
