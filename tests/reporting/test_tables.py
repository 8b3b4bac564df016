"""Tables: every figure from a record, published ones apart, absent ones n/a, and text that cannot break out."""

import csv
import re
import shutil
import subprocess
from dataclasses import asdict, replace

import pytest
from builders import (
    BERT,
    FFT,
    LORA,
    MERGED,
    ROOT,
    draw_table,
    latency_inputs,
    record,
    score_inputs,
    scored,
    texts,
    timed,
)

from lora_core.config.description import StudyDescription
from lora_core.evaluation.parameter_counts import count_parameters
from lora_core.evaluation.references import References
from lora_core.methods.registry import settings_from_params
from lora_core.records import read_json, write_json
from lora_core.reporting.latex import latex, latex_text
from lora_core.reporting.markdown import markdown
from lora_core.reporting.page.tables import TableView
from lora_core.reporting.rendering import CSV_COLUMNS, TableFiles, write_table
from lora_core.reporting.table import Cell, Table, new_table, read_table

STUDY = StudyDescription(
    "a model", "mini-GLUE (generated)", "embedded study", [1, 2], "length-grouped", False, ["model: other"]
)


def score_table(files):
    return draw_table("table2", score_inputs(files))


def latency_table(*files):
    return draw_table("table3", latency_inputs(*files), latency_margin=0.03)


def memory_table(files):
    return draw_table("table4", {"runs": files})


def cost_table(name, file, *methods):
    return draw_table(name, {"costs": [file]}, methods=methods)


def test_scores_are_mean_and_sample_deviation_over_seeds_in_percent(tmp_path):
    files = scored(tmp_path, ("lora", 1, 0.80, 0.70, 0.75, False), ("lora", 2, 0.90, 0.70, 0.85, True))
    table = score_table(files)
    shown = texts(table)
    assert shown["lora, best epoch", "CoLA"] == "85.0 ± 7.1"
    assert shown["lora, last epoch", "CoLA"] == "70.0 ± 0.0"
    assert shown["lora, cross-fitted", "CoLA"] == "80.0 ± 7.1"
    assert shown["majority-class baseline", "CoLA"] == "50.0"
    notes = " ".join(table.notes)
    assert "Fewer than 3 seeds" in notes
    assert "(included above): lora CoLA seed 2" in notes


def test_three_seeds_show_their_median(tmp_path):
    files = scored(tmp_path, *[("lora", i, s, 0.7, 0.7, False) for i, s in enumerate((0.70, 0.80, 0.96))])
    assert texts(score_table(files))["lora, best epoch", "CoLA"] == "82.0 ± 13.1 (80.0)"


def test_one_seed_shows_no_deviation(tmp_path):
    shown = texts(score_table(scored(tmp_path, ("lora", 1, 0.8, 0.7, 0.7, False))))
    assert shown["lora, best epoch", "CoLA"] == "80.0"


def test_differences_to_fft_and_to_lora_have_an_interval_over_seeds_and_one_over_examples(tmp_path):
    pairs = [
        ("lora", "fft", "best", 3, -0.012, -0.03, 0.006, 0.02, -0.025, 0.001, 0),
        ("lora", "fft", "last", 3, -0.5, -0.5, -0.5, 0.1, "", "", ""),
        ("lora_ref", "lora", "best", 3, 0.3, 0.3, 0.3, 0.1, 0.3, 0.3, 0),
    ]
    runs = [(m, s, 0.8, 0.8, 0.8, False) for m in ("fft", "lora") for s in (1, 2, 3)]
    table = score_table(scored(tmp_path, *runs, metric="accuracy", differences=pairs, task="rte"))
    shown = texts(table)
    assert shown["lora - fft, 95% over seeds", "RTE"] == "-1.2 [-3.0, +0.6]"
    assert shown["lora - fft, 95% over examples", "RTE"] == "-1.2 [-2.5, +0.1]"
    assert shown["lora_ref - lora, 95% over seeds", "RTE"] == "+30.0 [+30.0, +30.0]"
    assert not [row for row, _ in shown if "lora_ref - fft" in row]
    assert any("277 (one example is 0.36 points)" in note for note in table.notes)
    cell = next(c for c in table.cells if c.row == "lora - fft, 95% over seeds")
    assert (cell.low, cell.high, cell.n) == (-0.03, 0.006, 3)


def test_latency_shows_medians_tails_and_what_follows(tmp_path):
    file = timed(tmp_path, {FFT: [0.5, 0.5, 0.6], MERGED: [0.5, 0.501, 0.6], ("lora", "unmerged"): [0.6, 0.6, 0.72]})
    table = latency_table(file)
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
    table = latency_table(file)
    shown = texts(table)
    assert shown["prefix / lora, merged", "CoLA"].startswith("1.200 [")
    assert shown["prefix / lora, merged: one example", "CoLA"].startswith("2.000 [")
    assert {m: shown[f"{m}: longest input, tokens", "CoLA"] for m in ("fft", "lora", "prefix")} == {
        "fft": "512", "lora": "512", "prefix": "492"
    }  # fmt: skip
    assert shown["prefix: truncated examples", "CoLA"] == "3"
    assert any("position embeddings" in note for note in table.notes)


def test_memory_stands_raw_and_less_the_baseline_and_absent_stays_absent(tmp_path):
    files = [record(tmp_path, "fft", 1), record(tmp_path, "lora", 1, memory=None)]
    shown = texts(memory_table(files))
    assert shown["fft", "CoLA"] == "500"
    assert shown["fft, minus baseline", "CoLA"] == "300"
    assert shown["fft, peak minus baseline", "CoLA"] == "400"
    assert shown["lora", "CoLA"] == shown["lora, minus baseline", "CoLA"] == "n/a"
    assert shown["fft: sum of the four parts", "CoLA"] == "200"
    assert shown["fft: sum, predicted", "CoLA"] == "210"
    assert "fft: tensors, peak" not in {row for row, _ in shown}


def test_on_a_gpu_memory_goes_from_the_device_to_the_allocator_to_tensors_to_their_parts(tmp_path):
    device = {"kind": "device", "peak_allocated_mb": 300.0, "peak_reserved_mb": 400.0}
    table = memory_table([record(tmp_path, "fft", 1, **device)])
    rows = list(dict.fromkeys(cell.row for cell in table.cells))
    assert rows == [
        "fft", "fft, minus baseline", "fft, peak minus baseline", "fft: held by the allocator, peak",
        "fft: tensors, peak", "fft: sum of the four parts", "fft: weights", "fft: gradients", "fft: optimizer state",
        "fft: saved for backward", "fft: saved for backward, predicted", "fft: sum, predicted",
    ]  # fmt: skip
    shown = texts(table)
    assert shown["fft", "CoLA"] == "500"
    assert shown["fft: tensors, peak", "CoLA"] == "300"
    assert any("its mean is the figure that the paper gives" in note for note in table.notes)


def test_memory_of_two_devices_is_never_averaged(tmp_path):
    files = [record(tmp_path, "fft", 1), record(tmp_path, "fft", 2, 900.0, device="a GPU")]
    shown = texts(memory_table(files))
    assert shown["fft on a CPU, 2 threads", "CoLA"] == "500"
    assert shown["fft on a GPU, 2 threads", "CoLA"] == "900"
    files[1] = record(tmp_path, "fft", 2, 900.0, threads=1)
    assert texts(memory_table(files))["fft on a CPU, 1 threads", "CoLA"] == "900"


def test_a_run_that_shared_its_device_is_named(tmp_path):
    files = [record(tmp_path, "fft", 1, shared=True), record(tmp_path, "lora", 1, shared=False)]
    (note,) = [note for note in memory_table(files).notes if note.startswith("Shared")]
    assert "fft CoLA seed 1" in note
    assert "lora" not in note
    both = timed(tmp_path, {FFT: [0.5, 0.5]}, shared=True)
    assert any(note.startswith("Shared") for note in latency_table(both).notes)


COSTS = (
    "method,seed,device,planned_epochs,best_score,threshold,threshold_meaningful,reached,epochs_to_threshold,"
    "epochs_to_seed_threshold,seconds_to_threshold,energy_to_threshold_joules,net_energy_to_threshold_joules,"
    "median_epoch_seconds,disturbed,meter_reason,energy_source,energy_boundary,shared,start_from\n"
)


def test_costs_are_medians_over_seeds(tmp_path):
    file = tmp_path / "cola.csv"
    lines = "".join(
        f"lora,{seed},a GPU,5,0.9,0.85,True,{reached},{epochs},1,{seconds},{joules},{net},10,,,counter,the GPU alone,\n"
        for seed, reached, epochs, seconds, joules, net in [
            (1, True, 2, 20.0, 4000.0, 3000.0), (2, True, 3, 30.0, 9000.0, 5000.0), (3, True, 3, 40.0, 9600.0, 5200.0),
        ]
    )  # fmt: skip
    file.write_text(COSTS + lines + "fft,1,a GPU,5,0.9,0.85,True,True,1,1,9.0,,,10,,no meter,,,True\n")
    table = cost_table("table6", file, "lora")
    shown = texts(table)
    assert shown["training time (s)", "CoLA"].startswith("30.0 [")
    assert shown["epochs", "CoLA"].startswith("3 [")
    assert shown["energy (kJ)", "CoLA"].startswith("9 [")
    assert shown["energy minus idle (kJ)", "CoLA"].startswith("5 [")
    assert shown["power (W)", "CoLA"].startswith("240.0 [")
    assert shown["seconds per epoch", "CoLA"] == "10.00 [10.00, 10.00]"
    assert shown["seeds that reached the threshold", "CoLA"] == "3 of 3"
    assert shown["threshold", "CoLA"] == "85.0"
    assert shown["planned epochs", "CoLA"] == "5"
    assert any("energy counter; it covers the GPU alone" in note for note in table.notes)
    assert not [note for note in table.notes if note.startswith("Shared")]
    full = cost_table("table5", file, "fft")
    assert texts(full)["energy (kJ)", "CoLA"] == texts(full)["power (W)", "CoLA"] == "n/a"
    assert any("no meter" in note for note in full.notes)
    assert any(note.startswith("Shared") for note in full.notes)


def test_figures_of_a_disturbed_run_are_marked_and_the_run_is_named(tmp_path):
    file = tmp_path / "cola.csv"
    lines = [f"fft,{s},a CPU,5,0.9,0.85,True,True,1,1,{10.0 + s},,,9,{s == 2},,,,,\n" for s in (1, 2)]
    file.write_text(COSTS + "".join(lines) + "lora,1,a CPU,5,0.9,0.85,True,True,1,1,5.0,,,9,False,,,,,\n")
    table = cost_table("table5", file, "fft")
    shown = texts(table)
    assert shown["training time (s)", "CoLA"] == "11.5 *"
    assert shown["seconds per epoch", "CoLA"] == "9.00 *"
    assert shown["epochs", "CoLA"] == "1"
    assert shown["energy (kJ)", "CoLA"] == "n/a"
    (note,) = [note for note in table.notes if note.startswith("* Disturbed")]
    assert "fft CoLA seed 2" in note
    assert "seed 1" not in note
    undisturbed = cost_table("table6", file, "lora")
    assert texts(undisturbed)["training time (s)", "CoLA"] == "5.0"
    assert not [note for note in undisturbed.notes if "Disturbed" in note]


@pytest.mark.parametrize(
    ("recorded", "trained", "note"),
    [
        ({}, "fp32", "Timed in float32."),
        ({"precision": "tf32"}, "tf32", "Timed in TF32."),
        ({"precision": "bf16"}, "bf16", "Timed in bf16."),
        ({"precision": "fp16"}, "fp16", "Timed in fp16."),
        ({"precision": "fp32"}, "bf16", "Timed in float32, although the study trains in bf16: in that precision"),
    ],
)
def test_latency_names_the_precision_of_the_passes_and_of_training(recorded, trained, note, tmp_path):
    file = timed(tmp_path, {FFT: [0.5, 0.5]})
    record = file.with_suffix(".json")
    write_json(record, read_json(record) | recorded)
    table = draw_table("table3", latency_inputs(file), latency_margin=0.03, precision=trained)
    assert any(line.startswith(note) for line in table.notes)


def proof(changed, predictions, scores):
    """What a record says about a merged model."""
    logits = {"largest_logit": 4.0, "merged_minus_unmerged": 0.08, "merged_minus_base": 1.0}
    return logits | {"predictions": predictions, "changed_predictions": changed, "scores": scores}


@pytest.mark.parametrize(
    ("merge", "note"),
    [
        ({"lora": proof(0, 277, False)}, ": none of 277. No logit changed by more than 0.02 of the largest."),
        ({"lora": proof(4, 1043, False)}, ": 4 of 1,043 classes of lora on CoLA seed 1. No logit"),
        (
            {"lora": proof(222, 1500, True), "wide": proof(0, 1500, True), "ia3": proof(1, 1500, True)},
            "moved by more than 0.01): 222 of 1,500 scores of lora on CoLA seed 1, 1 of 1,500 scores of ia3 on",
        ),
        ({"lora": dict.fromkeys(("largest_logit", "merged_minus_unmerged", "merged_minus_base"), 1.0)}, None),
    ],
)
def test_table_3_counts_the_predictions_that_merging_changed(merge, note, tmp_path):
    file = timed(tmp_path, {FFT: [0.5, 0.5]})
    write_json(file.with_suffix(".json"), read_json(file.with_suffix(".json")) | {"merge": merge})
    notes = [line for line in latency_table(file).notes if line.startswith("Predictions that merging changed")]
    assert len(notes) == (0 if note is None else 1)
    assert note is None or note in notes[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        ([20.0, 30.0, None], "30.0"),  # the slowest did not reach it: the middle one is known
        ([20.0, None, None], "not reached"),
        ([20.0, 30.0, None, None], "≥ 30.0"),
        ([20.0, None], "≥ 20.0"),
        ([None], "not reached"),
        ([20.0, 30.0], "25.0"),
    ],
)
def test_a_run_that_never_reached_the_threshold_counts_as_more_expensive_than_all_that_did(tmp_path, seconds, text):
    file = tmp_path / "cola.csv"
    cut = [("", "") if s is None else (2, s) for s in seconds]
    lines = [f"fft,{i},a GPU,5,0.9,0.85,True,{e != ''},{e},1,{s},,,10,,,,,\n" for i, (e, s) in enumerate(cut)]
    file.write_text(COSTS + "".join(lines))
    table = cost_table("table5", file, "fft")
    cell = next(c for c in table.cells if c.row == "training time (s)")
    assert cell.text == text
    assert cell.high is None  # no interval where one is missing
    assert (
        texts(table)["seeds that reached the threshold", "CoLA"]
        == f"{sum(s is not None for s in seconds)} of {len(seconds)}"
    )


def test_three_seeds_give_costs_an_interval(tmp_path):
    file = tmp_path / "cola.csv"
    lines = [f"fft,{s},a GPU,5,0.9,0.85,True,True,1,1,{10.0 + s},,,10,,,,,\n" for s in (1, 2, 3)]
    file.write_text(COSTS + "".join(lines))
    cell = next(c for c in cost_table("table5", file, "fft").cells if c.row == "training time (s)")
    assert (cell.value, cell.n) == (12.0, 3)
    assert cell.low == pytest.approx(12 - 4.303 / 3**0.5, abs=1e-3)  # t of 2 degrees of freedom


def test_parameters_come_from_the_counts(tmp_path):
    from transformers import BertConfig

    BertConfig(**{k: v for k, v in BERT.items() if k != "model_type"}).save_pretrained(tmp_path)
    settings = {"lora": settings_from_params(LORA)}
    counts = count_parameters(tmp_path, settings, 2)
    write_json(tmp_path / "counts.json", asdict(counts))
    assert counts.methods["lora"].trainable == 2 * 2 * (4 * 32 + 32 * 4)
    table = draw_table("table1", {"counts": [tmp_path / "counts.json"]})
    assert texts(table)["lora", "trainable parameters"] == "1,024"


def test_every_symbol_of_tables_has_its_latex():
    """A lower bound must not be printed as a value because its sign is missing."""
    sources = [
        file
        for folder in ("reporting", "evaluation", "config", "data")
        for file in (ROOT / "lora_core" / folder).rglob("*.py")
    ]
    used = set(re.findall("[^ -~\\n]", "".join(file.read_text() for file in sources)))
    assert "≥" in used
    assert {symbol for symbol in used if "[U+" in latex_text(symbol)} <= {"ᵀ", "⁹"}  # of docstrings
    assert latex_text("≥ 3 ± 1") == r"$\geq$ 3 $\pm$ 1"
    assert latex_text("評") == "[U+8A55]"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here (apt: texlive-latex-recommended)")
def test_latex_compiles_short_wide_and_long(tmp_path):
    odd = "100 % of a_b & {c} ~ ^ \\ $ # <d> ≥ 1 ≤ 2 × 3 β é — 評"
    for name, high, wide in (("table2", 3, 2), ("table3", 6, 12), ("table4", 90, 2)):
        cells = [
            Cell(f"{odd if high < 40 else 'a_b %'} {r}", f"a_b {c}", 1.0, f"{r}.{c} ± 1 [0.957, 1.016] undecided")
            for r in range(high)
            for c in range(wide)
        ]
        table = replace(new_table(name, "corner", cells, [odd, "a note"]), title=odd)
        study = StudyDescription(odd, "data", "a protocol", [1], "length-grouped", False, ["model: other"])
        write_table(table, study, TableFiles.at(tmp_path / name))
    names = "".join(rf"\input{{table{n}.tex}}" for n in (2, 3, 4))
    packages = r"\usepackage{booktabs,graphicx,longtable}"
    (tmp_path / "all.tex").write_text(rf"\documentclass{{article}}{packages}\begin{{document}}{names}\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    for _ in range(2):  # a long table learns its widths in the first
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]
    assert "Float too large" not in done.stdout
    assert "Overfull" not in done.stdout


@pytest.fixture
def written(tmp_path):
    """Table 2 of two methods, with an interval: its files."""
    pair = ("lora", "fft", "best", 3, -0.012, -0.03, 0.006, 0.02, -0.025, 0.001, 0)
    runs = [(m, s, 0.8 + 0.01 * s, 0.8, 0.8, False) for m in ("fft", "lora") for s in (1, 2, 3)]
    table = score_table(scored(tmp_path, *runs, metric="accuracy", differences=[pair], task="rte"))
    files = TableFiles.at(tmp_path / "table2")
    write_table(table, STUDY, files)
    return files


def test_a_table_is_the_same_after_writing_and_reading_json(written):
    table = read_table(written.json)
    assert Table.from_json(table.to_json()) == table
    cell = next(cell for cell in table.cells if cell.row == "lora - fft, 95% over seeds")
    assert (cell.value, cell.low, cell.high, cell.n) == (-0.012, -0.03, 0.006, 3)
    assert (cell.method, cell.variant, cell.task, cell.unit) == ("lora", "best epoch", "rte", "fraction")
    assert table.banner == STUDY.banner()
    assert table.notes[-1] == "Batches in training: length-grouped."
    assert "94.4" in {cell.text for cell in table.published.cells}


def test_a_damaged_json_file_is_named(written):
    written.json.write_text('{"name": "table2"}')
    with pytest.raises(ValueError, match=r"table2\.json is not a table"):
        read_table(written.json)


def test_markdown_latex_csv_and_html_show_the_same_cells(written):
    table = read_table(written.json)
    expected = [(cell.row, cell.text) for cell in table.cells]
    published = [(cell.row, cell.text) for cell in table.published.cells]

    def shown(lines, separator, end=""):
        rows = [[text.strip(" |") for text in line.removesuffix(end).split(separator)] for line in lines]
        return [(row[0], text) for row in rows for text in row[1:]]

    markdown_rows = [
        line.strip("| ") for line in written.md.read_text().splitlines() if line.startswith("| ") and "---" not in line
    ]
    heads = [line for line in markdown_rows if line.startswith(table.corner)]
    assert shown([line for line in markdown_rows if line not in heads], " | ") == expected + published
    latex_rows = [line for line in written.tex.read_text().splitlines() if line.endswith(r" \\")]
    latex_rows = [line for line in latex_rows if not line.startswith(table.corner)]
    plain = [line.replace(r"\%", "%").replace(r"$\pm$", "±") for line in latex_rows]
    assert shown(plain, " & ", r" \\") == expected + published
    with written.csv.open(newline="") as stream:
        csv_texts = [row["text"] for row in csv.DictReader(stream)]
    assert csv_texts == [text for _, text in expected + published]
    view = TableView.of(table, ["fft", "lora"])
    assert [(row[0], text) for row in view.ours.grid.rows for text in row[1:]] == expected
    assert [(row[0], text) for row in view.published.grid.rows for text in row[1:]] == published


def test_csv_says_what_each_value_is_and_keeps_published_ones_apart(written):
    with written.csv.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(CSV_COLUMNS)
    assert list(CSV_COLUMNS) == "method variant task quantity unit value sd n low high text note".split()
    ours = [row for row in rows if row["variant"] != "published"]
    assert ours[0] == {
        "method": "fft", "variant": "best epoch", "task": "rte", "quantity": "score", "unit": "fraction",
        "value": "0.82", "sd": ours[0]["sd"], "n": "3", "low": "", "high": "", "text": "82.0 ± 1.0 (82.0)",
        "note": STUDY.banner()[1],
    }  # fmt: skip
    assert float(ours[0]["sd"]) == pytest.approx(0.01)
    published = [row for row in rows if row["variant"] == "published"]
    assert {row["task"] for row in published} == {"sst2", "mrpc", "cola", "rte", "stsb"}
    assert all("Table 2" in row["note"] for row in published)
    row = next(row for row in published if (row["method"], row["task"]) == ("FFT", "cola"))
    assert (row["value"], row["unit"], row["text"]) == ("0.621", "fraction", "62.1")
    keys = [tuple(row[name] for name in ("method", "variant", "task", "quantity", "unit")) for row in rows]
    assert len(set(keys)) == len(keys)


def test_published_figures_stand_in_a_block_of_their_own(tmp_path):
    table = new_table("table1", "method", [Cell("lora", "parameters")])
    write_table(table, STUDY, TableFiles.at(tmp_path / "table1"))
    ours, published = (tmp_path / "table1.md").read_text().split("## Published, not measured here")
    assert "124.6" in published
    assert "124.6" not in ours
    assert "not comparable" in ours
    assert "| lora | n/a |" in ours


def test_a_simulated_driver_is_said_above_every_table():
    banner = StudyDescription("m", "d", "p", [1], "random", True, []).banner()
    assert any("simulated" in line for line in banner)


@pytest.mark.parametrize("name", ["<script>", "a|b", "50%_x", "a&b\nc"])
def test_hostile_names_are_escaped(name):
    table = Table("table3", "Title", "method", [Cell(name, "CoLA", 1.0, "1.0")], [name])
    text = markdown(table)
    assert "<script>" not in text
    assert all(line.replace("\\|", "").count("|") == 3 for line in text.splitlines() if line.startswith("|"))
    body = latex(table).split(r"\midrule")[1]
    assert not {"%", "_", "&", "#"} & {c for i, c in enumerate(body) if body[i - 1] != "\\" and c != "&"}
    assert body.replace(r"\&", "").splitlines()[1].count("&") == 1


def test_a_comparison_without_its_reference_says_so(tmp_path):
    file = timed(tmp_path, {FFT: [0.5, 0.5], MERGED: [0.5, 0.5]})
    table = draw_table("table3", latency_inputs(file), latency_margin=0.03, references=References(adapter="lora"))
    assert not [cell for cell in table.cells if "fft" in cell.quantity or cell.row.endswith("/ fft")]
    assert any("references.full" in note for note in table.notes)
