"""Tables: every figure from a record, published ones apart, absent ones n/a, and text that cannot break out."""

import csv
import shutil
import subprocess

import pytest
from builders import BERT, FFT, LORA, MERGED, record, scored, texts, timed

from lora_core.evaluation.parameter_counts import count_parameters
from lora_core.records import read_json, write_json
from lora_core.reporting import rendering, tables
from lora_core.reporting.rendering import Cell, Study, Table

STUDY = Study("a model", "mini-GLUE (generated)", "embedded study", [1, 2], "bucketed", False, False)


def test_scores_are_mean_and_sample_deviation_over_seeds_in_percent(tmp_path):
    files = scored(tmp_path, ("lora", 1, 0.80, 0.70, 0.75, False), ("lora", 2, 0.90, 0.70, 0.85, True))
    table = tables.scores(files)
    shown = texts(table)
    assert shown["lora, best epoch", "CoLA"] == "85.0 ± 7.1"
    assert shown["lora, last epoch", "CoLA"] == "70.0 ± 0.0"
    assert shown["lora, cross-fitted", "CoLA"] == "80.0 ± 7.1"
    assert shown["constant guess", "CoLA"] == "50.0"
    notes = " ".join(table.notes)
    assert "Fewer than 3 seeds" in notes
    assert "counted in: lora CoLA seed 2" in notes


def test_three_seeds_show_their_median(tmp_path):
    files = scored(tmp_path, *[("lora", i, s, 0.7, 0.7, False) for i, s in enumerate((0.70, 0.80, 0.96))])
    assert texts(tables.scores(files))["lora, best epoch", "CoLA"] == "82.0 ± 13.1 (80.0)"


def test_one_seed_shows_no_deviation(tmp_path):
    shown = texts(tables.scores(scored(tmp_path, ("lora", 1, 0.8, 0.7, 0.7, False))))
    assert shown["lora, best epoch", "CoLA"] == "80.0"


def test_differences_to_fft_and_to_lora_have_an_interval_over_seeds_and_one_over_examples(tmp_path):
    pairs = [
        ("lora", "fft", "best", 3, -0.012, -0.03, 0.006, 0.02, -0.025, 0.001, 0),
        ("lora", "fft", "last", 3, -0.5, -0.5, -0.5, 0.1, "", "", ""),
        ("lora_ref", "lora", "best", 3, 0.3, 0.3, 0.3, 0.1, 0.3, 0.3, 0),
    ]
    runs = [(m, s, 0.8, 0.8, 0.8, False) for m in ("fft", "lora") for s in (1, 2, 3)]
    table = tables.scores(scored(tmp_path, *runs, metric="accuracy", differences=pairs, task="rte"))
    shown = texts(table)
    assert shown["lora - fft, 95% over seeds", "RTE"] == "-1.2 [-3.0, +0.6]"
    assert shown["lora - fft, 95% over examples", "RTE"] == "-1.2 [-2.5, +0.1]"
    assert shown["lora_ref - lora, 95% over seeds", "RTE"] == "+30.0 [+30.0, +30.0]"
    assert not [row for row, _ in shown if "lora_ref - fft" in row]
    assert any("277 (one is 0.36 points)" in note for note in table.notes)
    cell = next(c for c in table.cells if c.row == "lora - fft, 95% over seeds")
    assert (cell.low, cell.high, cell.n) == (-0.03, 0.006, 3)


def test_latency_shows_medians_tails_and_what_follows(tmp_path):
    file = timed(tmp_path, {FFT: [0.5, 0.5, 0.6], MERGED: [0.5, 0.501, 0.6], ("lora", "unmerged"): [0.6, 0.6, 0.72]})
    table = tables.latency([file], 0.03)
    shown = texts(table)
    assert shown["fft", "CoLA"] == "0.500"
    assert shown["fft: examples/s", "CoLA"] == "400"
    assert shown["lora, merged: one example, ms", "CoLA"] == "11.0 (11.0)"
    assert shown["lora, merged / fft", "CoLA"].endswith("equivalent")
    assert shown["lora, unmerged / fft", "CoLA"].startswith("1.200 [")
    assert shown["lora, unmerged / fft", "CoLA"].endswith("slower")
    assert float(shown["fft: 95th percentile", "CoLA"]) > 0.5
    assert [c.row for c in table.cells][:3] == ["fft", "lora, merged", "lora, unmerged"]
    assert not [row for row, _ in shown if "longest" in row or row.endswith("/ lora, merged")]


def test_what_does_not_merge_is_held_against_merged_lora_in_batches_and_alone(tmp_path):
    times = {FFT: [0.5, 0.5, 0.5], MERGED: [0.5, 0.5, 0.5], ("prefix", "plain"): [0.6, 0.6, 0.6]}
    file = timed(tmp_path, times, inputs={"prefix": {"longest": 492, "truncated": 3}})
    table = tables.latency([file], 0.03)
    shown = texts(table)
    assert shown["prefix / lora, merged", "CoLA"].startswith("1.200 [")
    assert shown["prefix / lora, merged: one example", "CoLA"].startswith("2.000 [")
    assert {m: shown[f"{m}: longest input, tokens", "CoLA"] for m in ("fft", "lora", "prefix")} == {
        "fft": "512", "lora": "512", "prefix": "492"
    }  # fmt: skip
    assert shown["prefix: examples that are cut", "CoLA"] == "3"
    assert any("position embeddings" in note for note in table.notes)


def test_memory_stands_raw_and_less_the_baseline_and_absent_stays_absent(tmp_path):
    files = [record(tmp_path, "fft", 1), record(tmp_path, "lora", 1, memory=None)]
    shown = texts(tables.memory(files))
    assert shown["fft", "CoLA"] == "500"
    assert shown["fft, less the baseline", "CoLA"] == "300"
    assert shown["fft, peak less the baseline", "CoLA"] == "400"
    assert shown["lora", "CoLA"] == shown["lora, less the baseline", "CoLA"] == "n/a"
    assert shown["fft: sum of the four", "CoLA"] == "200"
    assert shown["fft: sum, predicted", "CoLA"] == "210"
    assert "fft: allocator's peak" not in {row for row, _ in shown}


def test_memory_of_two_devices_is_never_averaged(tmp_path):
    files = [record(tmp_path, "fft", 1), record(tmp_path, "fft", 2, 900.0, device="a GPU")]
    shown = texts(tables.memory(files))
    assert shown["fft on a CPU, 2 threads", "CoLA"] == "500"
    assert shown["fft on a GPU, 2 threads", "CoLA"] == "900"
    files[1] = record(tmp_path, "fft", 2, 900.0, threads=1)
    assert texts(tables.memory(files))["fft on a CPU, 1 threads", "CoLA"] == "900"


def test_a_run_that_shared_its_device_is_named(tmp_path):
    files = [record(tmp_path, "fft", 1, shared=True), record(tmp_path, "lora", 1, shared=False)]
    (note,) = [note for note in tables.memory(files).notes if note.startswith("Shared")]
    assert "fft CoLA seed 1" in note
    assert "lora" not in note
    both = timed(tmp_path, {FFT: [0.5, 0.5]}, shared=True)
    assert any(note.startswith("Shared") for note in tables.latency([both], 0.03).notes)


COSTS = (
    "method,seed,device,planned_epochs,best_score,threshold,threshold_meaningful,reached,epochs_to_threshold,"
    "epochs_to_seed_threshold,seconds_to_threshold,energy_to_threshold_joules,net_energy_to_threshold_joules,"
    "train_seconds,meter_reason,energy_source,energy_boundary,shared,start_from\n"
)


def test_costs_are_medians_over_seeds(tmp_path):
    file = tmp_path / "cola.csv"
    lines = "".join(
        f"lora,{seed},a GPU,5,0.9,0.85,True,{reached},{epochs},1,{seconds},{joules},{net},50,,counter,the GPU alone,\n"
        for seed, reached, epochs, seconds, joules, net in [
            (1, True, 2, 20.0, 4000.0, 3000.0), (2, True, 3, 30.0, 9000.0, 5000.0), (3, True, 3, 40.0, 9600.0, 5200.0),
        ]
    )  # fmt: skip
    file.write_text(COSTS + lines + "fft,1,a GPU,5,0.9,0.85,True,True,1,1,9.0,,,50,no meter,,,True\n")
    table = tables.cost("table6", [file], ["lora"])
    shown = texts(table)
    assert shown["train time (s)", "CoLA"].startswith("30.0 [")
    assert shown["epochs", "CoLA"].startswith("3 [")
    assert shown["energy (kJ)", "CoLA"].startswith("9 [")
    assert shown["energy less idle (kJ)", "CoLA"].startswith("5 [")
    assert shown["power (W)", "CoLA"].startswith("240.0 [")
    assert shown["seconds an epoch", "CoLA"] == "10.00 [10.00, 10.00]"
    assert shown["seeds that got there", "CoLA"] == "3 of 3"
    assert shown["threshold", "CoLA"] == "85.0"
    assert shown["epochs planned", "CoLA"] == "5"
    assert any("energy counter; it covers the GPU alone" in note for note in table.notes)
    assert not [note for note in table.notes if note.startswith("Shared")]
    full = tables.cost("table5", [file], ["fft"])
    assert texts(full)["energy (kJ)", "CoLA"] == texts(full)["power (W)", "CoLA"] == "n/a"
    assert any("no meter" in note for note in full.notes)
    assert any(note.startswith("Shared") for note in full.notes)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        ([20.0, 30.0, None], "30.0"),  # the slowest is not there: the middle one is known
        ([20.0, None, None], "not reached"),
        ([20.0, 30.0, None, None], "≥ 30.0"),
        ([20.0, None], "≥ 20.0"),
        ([None], "not reached"),
        ([20.0, 30.0], "25.0"),
    ],
)
def test_a_run_that_never_got_there_is_dearer_than_all_that_did(tmp_path, seconds, text):
    file = tmp_path / "cola.csv"
    cut = [("", "") if s is None else (2, s) for s in seconds]
    lines = [f"fft,{i},a GPU,5,0.9,0.85,True,{e != ''},{e},1,{s},,,50,,,,\n" for i, (e, s) in enumerate(cut)]
    file.write_text(COSTS + "".join(lines))
    table = tables.cost("table5", [file], ["fft"])
    cell = next(c for c in table.cells if c.row == "train time (s)")
    assert cell.text == text
    assert cell.high is None  # no interval where one is missing
    assert texts(table)["seeds that got there", "CoLA"] == f"{sum(s is not None for s in seconds)} of {len(seconds)}"


def test_three_seeds_give_costs_an_interval(tmp_path):
    file = tmp_path / "cola.csv"
    lines = [f"fft,{s},a GPU,5,0.9,0.85,True,True,1,1,{10.0 + s},,,50,,,,\n" for s in (1, 2, 3)]
    file.write_text(COSTS + "".join(lines))
    cell = next(c for c in tables.cost("table5", [file], ["fft"]).cells if c.row == "train time (s)")
    assert (cell.value, cell.n) == (12.0, 3)
    assert cell.low == pytest.approx(12 - 4.303 / 3**0.5, abs=1e-3)  # t of 2 degrees of freedom


def test_parameters_come_from_the_counts(tmp_path):
    from transformers import BertConfig

    BertConfig(**{k: v for k, v in BERT.items() if k != "model_type"}).save_pretrained(tmp_path)
    write_json(tmp_path / "counts.json", count_parameters(tmp_path, {"lora": LORA}, 2))
    counts = read_json(tmp_path / "counts.json")["methods"]["lora"]
    assert counts["trainable"] == 2 * 2 * (4 * 32 + 32 * 4)
    assert texts(tables.parameters(tmp_path / "counts.json"))["lora", "trainable parameters"] == "1,024"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here (apt: texlive-latex-recommended)")
def test_latex_compiles_short_wide_and_long(tmp_path):
    odd = "100 % of a_b & {c} ~ ^ \\ $ # <d>"
    for name, high, wide in (("table2", 3, 2), ("table3", 6, 12), ("table4", 90, 2)):
        cells = [
            Cell(f"{odd if high < 40 else 'a_b %'} {r}", f"a_b {c}", 1.0, f"{r}.{c} ± 1 [0.957, 1.016] undecided")
            for r in range(high)
            for c in range(wide)
        ]
        table = Table(name, odd, "corner", cells, [odd, "a note"])
        rendering.write(table, Study(odd, "data", "a protocol", [1], "bucketed", False, False), tmp_path / name)
    names = "".join(rf"\input{{table{n}.tex}}" for n in (2, 3, 4))
    packages = r"\usepackage{booktabs,graphicx,longtable}"
    (tmp_path / "all.tex").write_text(rf"\documentclass{{article}}{packages}\begin{{document}}{names}\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    for _ in range(2):  # a long table learns its widths in the first
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]
    assert "Float too large" not in done.stdout
    assert "Overfull" not in done.stdout


def test_the_files_hold_the_study_and_the_published_figures_apart(tmp_path):
    table = Table("table1", "Trainable parameters", "method", [Cell("lora", "parameters", None, "n/a")])
    rendering.write(table, STUDY, tmp_path / "table1")
    text = (tmp_path / "table1.md").read_text()
    ours, published = text.split("## Published, not measured here")
    assert "124.6" in published
    assert "124.6" not in ours
    assert "not comparable" in ours
    rows = list(csv.DictReader((tmp_path / "table1.csv").open()))
    assert rows[0] == {
        "block": "this study",
        "row": "lora",
        "column": "parameters",
        "value": "",
        "sd": "",
        "n": "",
        "low": "",
        "high": "",
        "remark": STUDY.banner()[1],
    }
    assert all("Table 1" in row["block"] for row in rows[1:])


def test_a_simulated_driver_is_said_above_every_table():
    banner = Study("m", "d", "p", [1], "random", True, True).banner()
    assert any("simulated" in line for line in banner)


@pytest.mark.parametrize("name", ["<script>", "a|b", "50%_x", "a&b\nc"])
def test_hostile_names_are_escaped(name):
    table = Table("table3", "Title", "method", [Cell(name, "CoLA", 1.0, "1.0")], [name])
    markdown = rendering.markdown(table, STUDY, None)
    assert "<script>" not in markdown
    assert all(line.replace("\\|", "").count("|") == 3 for line in markdown.splitlines() if line.startswith("|"))
    latex = rendering.latex(table, STUDY, None)
    body = latex.split(r"\midrule")[1]
    assert not {"%", "_", "&", "#"} & {c for i, c in enumerate(body) if body[i - 1] != "\\" and c != "&"}
    assert body.replace(r"\&", "").splitlines()[1].count("&") == 1
