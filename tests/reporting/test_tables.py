"""Tables: every figure from a record, published ones apart, absent ones n/a, and text that cannot break out."""

import csv
import re
import shutil
from dataclasses import asdict, replace

import pandas as pd
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
    write_regimes,
)

from lora_core.config.description import StudyDescription
from lora_core.evaluation.parameter_counts import count_parameters
from lora_core.evaluation.references import References
from lora_core.methods.registry import settings_from_params
from lora_core.records import read_json, write_json
from lora_core.reporting.latex import latex
from lora_core.reporting.markdown import markdown
from lora_core.reporting.page.tables import TableView
from lora_core.reporting.rendering import CSV_COLUMNS, TableFiles, write_table
from lora_core.reporting.table import Cell, Table, new_table, read_table

STUDY = StudyDescription(
    "the paper's model", "GLUE", "a protocol", [1, 2], "length-grouped", False, ["protocol: a protocol"]
)


def score_table(files, details=""):
    return draw_table(f"table2{details}", score_inputs(files))


def latency_table(*files, details=""):
    return draw_table(f"table3{details}", latency_inputs(*files), latency_margin=0.03)


def memory_table(files, details=""):
    return draw_table(f"table4{details}", {"runs": files})


def cost_table(name, file, *methods):
    return draw_table(name, {"costs": [file]}, methods=methods)


def test_scores_of_two_seeds_are_mean_and_sample_deviation_in_percent(tmp_path):
    files = scored(tmp_path, ("lora", 1, 0.80, 0.70, 0.75, False), ("lora", 2, 0.90, 0.70, 0.85, True))
    table, details = score_table(files), score_table(files, "-details")
    assert texts(table)["LoRA (own)", "CoLA"] == "85.0 ± 7.1"
    assert texts(table)["majority-class baseline", "CoLA"] == "50.0"
    assert texts(details)["LoRA (own), last epoch", "CoLA"] == "70.0"
    assert texts(details)["LoRA (own), cross-fitted", "CoLA"] == "80.0 ± 7.1"
    for drawn in (table, details):
        assert "Fewer than 3 seeds" in " ".join(drawn.notes)
        assert "(included above): LoRA (own) CoLA seed 2" in " ".join(drawn.notes)
    assert any("without ± or an interval is the same for all seeds" in note for note in details.notes)
    assert not any("without ± or an interval" in note for note in table.notes)


def test_three_seeds_have_an_interval_and_their_median_is_a_detail(tmp_path):
    files = scored(tmp_path, *[("lora", i, s, 0.7, 0.7, False) for i, s in enumerate((0.70, 0.80, 0.96))])
    # Sample deviation 0.13115; Student's 4.3027 of two degrees, times that over the root of three: 0.3258.
    assert texts(score_table(files))["LoRA (own)", "CoLA"] == "82 [49, 115]"
    assert texts(score_table(files, "-details"))["LoRA (own), best epoch: median", "CoLA"] == "80.0"


def test_one_seed_shows_no_deviation(tmp_path):
    shown = texts(score_table(scored(tmp_path, ("lora", 1, 0.8, 0.7, 0.7, False))))
    assert shown["LoRA (own)", "CoLA"] == "80.0"


THREE_SEEDS = [(m, s, 0.8, 0.8, 0.8, False) for m in ("fft", "lora") for s in (1, 2, 3)]


def test_the_difference_of_lora_has_its_interval_and_all_others_are_details(tmp_path):
    pairs = [
        ("lora", "fft", "best", 3, -0.012, -0.03, 0.006, 0.02, -0.025, 0.001, 0, 0, False, False),
        ("lora", "fft", "last", 3, -0.5, -0.52, -0.48, 0.1, "", "", "", 0, False, False),
        ("lora_ref", "lora", "best", 3, 0.3, 0.3, 0.3, 0.1, 0.3, 0.3, 0, 0, False, False),
    ]
    files = scored(tmp_path, *THREE_SEEDS, metric="accuracy", differences=pairs, task="rte")
    table, details = score_table(files), score_table(files, "-details")
    shown = {place: text for place, text in texts(table).items() if " − " in place[0]}
    assert shown == {("LoRA (own) − Full fine-tuning, 95 % over seeds", "RTE"): "−1.2 [−3.0, +0.6]"}
    shown = texts(details)
    assert shown["LoRA (own) − Full fine-tuning, 95 % over examples", "RTE"] == "−1.2 [−2.5, +0.1]"
    assert shown["LoRA (own) − Full fine-tuning, last epoch, 95 % over seeds", "RTE"] == "−50.0 [−52.0, −48.0]"
    assert shown["LoRA (loralib) − LoRA (own), 95 % over seeds", "RTE"] == "+30.0"  # no spread between seeds
    assert not [row for row, _ in shown if "LoRA (loralib) − Full" in row]
    assert any("277 (one example is 0.36 points)" in note for note in table.notes)
    cell = next(c for c in table.cells if " − " in c.row)
    assert (cell.low, cell.high, cell.n) == (-0.03, 0.006, 3)


def test_with_two_seeds_the_difference_has_its_interval_over_examples(tmp_path):
    pair = ("lora", "fft", "best", 2, -0.012, "", "", "", -0.025, 0.001, 0, 0, False, False)
    runs = [run for run in THREE_SEEDS if run[1] < 3]
    table = score_table(scored(tmp_path, *runs, metric="accuracy", differences=[pair], task="rte"))
    assert texts(table)["LoRA (own) − Full fine-tuning, 95 % over examples", "RTE"] == "−1.2 [−2.5, +0.1]"


@pytest.mark.parametrize(("identical", "text"), [(3, "identical"), (2, "0.0")])
def test_identical_predictions_are_said_and_not_given_as_a_difference_of_zero(tmp_path, identical, text):
    pair = ("lora_ref", "lora", "best", 3, 0.0, -0.0, 0.0, 0.0, 0.0, 0.0, 0, identical, False, False)
    table = score_table(scored(tmp_path, *THREE_SEEDS, differences=[pair]), "-details")
    shown = {row: cell for (row, _), cell in texts(table).items() if " − " in row}
    assert shown == {f"LoRA (loralib) − LoRA (own), 95 % over {over}": text for over in ("seeds", "examples")}
    assert any(note.startswith("Identical: ") for note in table.notes) == (text == "identical")
    assert {cell.value for cell in table.cells if " − " in cell.row} == {0.0}


def test_identical_predictions_are_said_where_no_resample_has_a_score(tmp_path):
    pair = ("lora", "fft", "best", 2, 0.0, "", "", "", "", "", 0, 2, True, True)
    runs = [run for run in THREE_SEEDS if run[1] < 3]
    table = score_table(scored(tmp_path, *runs, differences=[pair]))
    assert texts(table)["LoRA (own) − Full fine-tuning, 95 % over examples", "CoLA"] == "identical"


def test_latency_shows_seconds_of_every_variant_and_a_ratio_for_each_adapter(tmp_path):
    file = timed(tmp_path, {FFT: [0.5, 0.5, 0.6], MERGED: [0.5, 0.501, 0.6], ("lora", "unmerged"): [0.6, 0.6, 0.72]})
    table, details = latency_table(file), latency_table(file, details="-details")
    shown = texts(table)
    ratio = "LoRA (own), merged / Full fine-tuning"
    assert [*shown] == [
        (row, "CoLA") for row in ("Full fine-tuning", "LoRA (own), merged", "LoRA (own), unmerged", ratio)
    ]
    assert shown["Full fine-tuning", "CoLA"] == "0.500"
    assert shown[ratio, "CoLA"].startswith("1.0007 [")
    assert shown[ratio, "CoLA"].endswith("] equivalent")
    assert next(cell for cell in table.cells if cell.unit == "ratio").note == "equivalent"
    shown = texts(details)
    assert shown["Full fine-tuning: examples/s", "CoLA"] == "400"
    assert shown["LoRA (own), merged: one example (ms)", "CoLA"] == "11.0"
    assert shown["LoRA (own), merged: one example, 95th percentile (ms)", "CoLA"] == "11.0"
    assert shown["LoRA (own), unmerged / Full fine-tuning", "CoLA"] == "1.20 slower"  # in every round
    assert float(shown["Full fine-tuning: 95th percentile (s)", "CoLA"]) > 0.5
    assert ratio not in {row for row, _ in shown}
    assert not [row for row, _ in shown if "longest" in row or row.endswith("/ LoRA (own), merged")]


def test_the_details_of_table_2_have_the_scores_without_examples_that_overlap(tmp_path):
    files = scored(tmp_path, *THREE_SEEDS, metric="accuracy", task="rte")
    assert "share a text" not in str(score_table(files, "-details").notes), "scores from before they were counted"
    old = scored(tmp_path, *THREE_SEEDS, task="cola")
    frame = pd.read_csv(files[0]).assign(overlapping=105, without_overlap=0.5)
    frame.to_csv(files[0], index=False)
    details = score_table([*files, *old], "-details")
    row = "LoRA (own), best epoch, without texts of the training split"
    assert (texts(details)[row, "RTE"], texts(details)[row, "CoLA"]) == ("50.0", Cell.text)
    assert [note for note in details.notes if "share a text" in note] == [
        "Validation examples that share a text with a training example, without case and punctuation: RTE: 105 of 277."
    ]
    frame.assign(overlapping=0).to_csv(files[0], index=False)
    details = score_table(files, "-details")
    assert not [row for row, _ in texts(details) if "without texts" in row], "the same as the best score"
    assert any("RTE: 0 of 277" in note for note in details.notes)


def test_several_timed_seeds_share_a_row_and_are_apart_in_the_details(tmp_path):
    files = []
    seconds = [([0.5, 0.5, 0.5], [0.5, 0.5, 0.501]), ([0.7, 0.7, 0.7], [0.9, 0.9, 0.901])]
    for seed, (full, merged) in enumerate(seconds, 1):
        file = timed(tmp_path / str(seed), {FFT: full, MERGED: merged})
        files.append(tmp_path / f"cola/seed{seed}.csv")
        files[-1].parent.mkdir(exist_ok=True)
        for suffix in (".csv", ".json"):
            shutil.copy(file.with_suffix(suffix), files[-1].with_suffix(suffix))
    cells = {cell.row: cell for cell in latency_table(*files).cells}
    full, ratio = cells["Full fine-tuning"], cells["LoRA (own), merged / Full fine-tuning"]
    assert (full.text, full.n) == ("0.60 ± 0.14", 2)
    assert ratio.text.endswith("undecided")  # equivalent with one seed, slower with the other
    details = {cell.row: cell for cell in latency_table(*files, details="-details").cells}
    single = [details[f"LoRA (own), merged / Full fine-tuning, seed {seed}"] for seed in (1, 2)]
    assert (ratio.low, ratio.high) == (single[0].low, single[1].high)
    assert [cell.text.split()[-1] for cell in single] == ["equivalent", "slower"]


def test_what_does_not_merge_is_held_against_merged_lora_in_batches_and_alone(tmp_path):
    times = {FFT: [0.5, 0.5, 0.5], MERGED: [0.5, 0.5, 0.5], ("prefix", "plain"): [0.6, 0.6, 0.6]}
    file = timed(tmp_path, times, inputs={"prefix": {"longest": 492, "truncated": 3}})
    assert texts(latency_table(file))["prefix / Full fine-tuning", "CoLA"] == "1.20 slower"
    table = latency_table(file, details="-details")
    shown = texts(table)
    assert shown["prefix / LoRA (own), merged", "CoLA"] == "1.20 slower"
    assert shown["prefix / LoRA (own), merged: one example", "CoLA"] == "2.00 slower"
    labels = ("Full fine-tuning", "LoRA (own)", "prefix")
    assert [shown[f"{label}: longest input (tokens)", "CoLA"] for label in labels] == ["512", "512", "492"]
    assert shown["prefix: truncated examples", "CoLA"] == "3"
    assert any("position embeddings" in note for note in table.notes)


def test_on_a_cpu_memory_is_that_of_the_process_and_its_peak_above_the_baseline(tmp_path):
    files = [record(tmp_path, "fft", 1), record(tmp_path, "lora", 1, memory=None)]
    table = memory_table(files)
    shown = texts(table)
    assert shown["Full fine-tuning", "CoLA"] == "500"
    assert shown["Full fine-tuning: peak above the baseline", "CoLA"] == "400"
    assert shown["LoRA (own)", "CoLA"] == "n/a"
    assert any("This is not GPU memory" in note for note in table.notes)
    shown = texts(memory_table(files, "-details"))
    assert shown["Full fine-tuning: mean above the baseline", "CoLA"] == "300"
    assert shown["Full fine-tuning: sum of the four parts", "CoLA"] == "200"
    assert shown["Full fine-tuning: sum, predicted", "CoLA"] == "210"
    assert not [row for row, _ in shown if "tensors" in row or "peak above" in row]


def test_on_a_gpu_memory_is_what_the_paper_gives_and_the_peak_of_tensors(tmp_path):
    device = {"kind": "device", "peak_allocated_mb": 300.0, "peak_reserved_mb": 400.0}
    files = [record(tmp_path, "fft", 1, **device)]
    table = memory_table(files)
    assert texts(table) == {
        ("Full fine-tuning", "CoLA"): "500", ("Full fine-tuning: tensors, peak", "CoLA"): "300"
    }  # fmt: skip
    assert any("the figure that the paper gives" in note for note in table.notes)
    rows = [row.partition(": ")[2] for row, _ in texts(memory_table(files, "-details"))]
    assert rows == [
        "mean above the baseline", "peak above the baseline", "held by the allocator, peak", "sum of the four parts",
        "weights", "gradients", "optimizer state", "saved for backward", "saved for backward, predicted",
        "sum, predicted",
    ]  # fmt: skip


def test_memory_of_two_devices_is_never_averaged(tmp_path):
    files = [record(tmp_path, "fft", 1), record(tmp_path, "fft", 2, 900.0, device="a GPU")]
    shown = texts(memory_table(files))
    assert shown["Full fine-tuning on a CPU, 2 threads", "CoLA"] == "500"
    assert shown["Full fine-tuning on a GPU, 2 threads", "CoLA"] == "900"
    files[1] = record(tmp_path, "fft", 2, 900.0, threads=1)
    assert texts(memory_table(files))["Full fine-tuning on a CPU, 1 threads", "CoLA"] == "900"


def test_a_run_that_shared_its_device_is_named(tmp_path):
    files = [record(tmp_path, "fft", 1, shared=True), record(tmp_path, "lora", 1, shared=False)]
    (note,) = [note for note in memory_table(files).notes if note.startswith("Shared")]
    assert "Full fine-tuning CoLA seed 1" in note
    assert "LoRA" not in note
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
    shown = {row.removeprefix("LoRA (own): "): text for (row, _), text in texts(table).items()}
    # Medians, in the digits of the t-interval of the mean: 247 ± 125 W, 30 ± 25 s, 2.67 ± 1.43, 7.5 ± 7.6 kJ.
    assert shown == {
        "power (W)": "240 [120, 370]", "training time (s)": "30 [5, 55]", "epochs": "3.0 [1.2, 4.1]",
        "energy (kJ)": "9.0 [−0.1, 15.2]",
    }  # fmt: skip
    details = texts(cost_table("table6-details", file, "lora"))
    shown = {row.removeprefix("LoRA (own): "): text for (row, _), text in details.items()}
    assert shown["energy minus idle (kJ)"].startswith("5.0 [")
    assert shown["seconds per epoch"] == "10.0"
    assert shown["seeds that reached the threshold"] == "3 of 3"
    assert shown["threshold (%)"] == "85.0"
    assert shown["planned epochs"] == "5"
    assert any("energy counter; it covers the GPU alone" in note for note in table.notes)
    assert not [note for note in table.notes if note.startswith("Shared")]
    full = cost_table("table5", file, "fft")
    for row in ("energy (kJ)", "power (W)"):
        assert texts(full)[f"Full fine-tuning: {row}", "CoLA"] == "n/a"
    assert any("no meter" in note for note in full.notes)
    assert any(note.startswith("Shared") for note in full.notes)


def test_figures_of_a_disturbed_run_are_marked_and_the_run_is_named(tmp_path):
    file = tmp_path / "cola.csv"
    lines = [f"fft,{s},a CPU,5,0.9,0.85,True,True,1,1,{10.0 + s},,,9,{s == 2},,,,,\n" for s in (1, 2)]
    file.write_text(COSTS + "".join(lines) + "lora,1,a CPU,5,0.9,0.85,True,True,1,1,5.0,,,9,False,,,,,\n")
    table = cost_table("table5", file, "fft")
    shown = {row.partition(": ")[2]: text for (row, _), text in texts(table).items()}
    assert shown["training time (s)"] == "11.5 *"
    assert shown["epochs"] == "1.0"
    assert shown["energy (kJ)"] == "n/a"
    assert {cell.note for cell in table.cells if "*" in cell.text} == {"disturbed"}
    details = texts(cost_table("table5-details", file, "fft"))
    assert details["Full fine-tuning: seconds per epoch", "CoLA"] == "9.00 *"
    (note,) = [note for note in table.notes if note.startswith("* Disturbed")]
    assert "Full fine-tuning CoLA seed 2" in note
    assert "seed 1" not in note
    undisturbed = cost_table("table6", file, "lora")
    assert texts(undisturbed)["LoRA (own): training time (s)", "CoLA"] == "5.00"
    assert not [note for note in undisturbed.notes if "Disturbed" in note]


def test_break_even_is_the_cost_of_an_epoch_of_full_fine_tuning_relative_to_the_adapter(tmp_path):
    file = tmp_path / "cola.csv"
    runs = [("fft", 1, 2, 20.0), ("fft", 2, 2, 20.0), ("lora", 1, 4, 8.0), ("lora", 2, 4, 12.5)]
    lines = [f"{m},{s},a GPU,5,0.9,0.85,True,True,{e},1,{e * t},,,{t},False,,,,,\n" for m, s, e, t in runs]
    header = COSTS.replace(",start_from", ",start_from,train_energy_joules")
    joules = {"fft": 3000, "lora": 1000}
    file.write_text(header + "".join(f"{line[:-1]},{joules[line.partition(',')[0]]}\n" for line in lines))
    shown = texts(cost_table("table6-details", file, "lora"))
    assert shown["LoRA (own): epochs, relative to full fine-tuning", "CoLA"] == "2.00"
    assert shown["LoRA (own): break-even in time", "CoLA"] == "2.00"  # of 2.5 and 1.6
    assert shown["LoRA (own): break-even in energy", "CoLA"] == "3.00"
    assert not [row for row, _ in shown if "predicted" in row]
    inputs = {"costs": [file]}
    for device, predicted in (("a GPU", {"time": "1.90", "energy": "2.50"}), ("another", {})):
        steps = write_regimes(tmp_path / f"{device}.json", {"cola": {"time": 1.9, "energy": 2.5}}, device)
        table = draw_table("table6-details", inputs | {"measured_regimes": [steps]}, methods=["lora"])
        rows = {f"LoRA (own): break-even in {name}, predicted": text for name, text in predicted.items()}
        assert {row: text for (row, _), text in texts(table).items() if "predicted" in row} == rows
        assert any(note.startswith("Break-even, predicted") for note in table.notes) == bool(predicted)


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
        ({"lora": proof(4, 1043, False)}, ": 4 of 1,043 classes of LoRA (own) on CoLA seed 1. No logit"),
        (
            {"lora": proof(222, 1500, True), "wide": proof(0, 1500, True), "ia3": proof(1, 1500, True)},
            "moved by more than 0.01): 222 of 1,500 scores of LoRA (own) on CoLA seed 1, 1 of 1,500 scores of ia3 on",
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
    cell = next(c for c in table.cells if c.quantity == "training time")
    assert cell.text == text
    assert cell.high is None  # no interval where one is missing
    reached = texts(cost_table("table5-details", file, "fft"))[
        "Full fine-tuning: seeds that reached the threshold", "CoLA"
    ]
    assert reached == f"{sum(s is not None for s in seconds)} of {len(seconds)}"


def test_three_seeds_give_costs_an_interval(tmp_path):
    file = tmp_path / "cola.csv"
    lines = [f"fft,{s},a GPU,5,0.9,0.85,True,True,1,1,{10.0 + s},,,10,,,,,\n" for s in (1, 2, 3)]
    file.write_text(COSTS + "".join(lines))
    cell = next(c for c in cost_table("table5", file, "fft").cells if c.quantity == "training time")
    assert (cell.value, cell.n) == (12.0, 3)
    assert cell.low == pytest.approx(12 - 4.303 / 3**0.5, abs=1e-3)  # t of 2 degrees of freedom


def test_parameters_come_from_the_counts(tmp_path):
    from transformers import BertConfig

    BertConfig(**{k: v for k, v in BERT.items() if k != "model_type"}).save_pretrained(tmp_path)
    settings = {"lora": settings_from_params(LORA)}
    counts = count_parameters(tmp_path, settings, 2)
    write_json(tmp_path / "counts.json", asdict(counts))
    assert counts.methods["lora"].trainable == 2 * 2 * (4 * 32 + 32 * 4)
    inputs = {"counts": [tmp_path / "counts.json"]}
    shown = texts(draw_table("table1", inputs))
    assert shown["LoRA (own)", "trainable parameters"] == "1,024"
    assert shown["LoRA (own)", "% of the whole model"] == f"{102400 / counts.full:.3g}"
    details = texts(draw_table("table1-details", inputs))
    assert details["LoRA (own)", "head"] == f"{counts.methods['lora'].head:,}"
    stored = 4 * (1024 + counts.methods["lora"].head)  # float32
    assert details["LoRA (own)", "on disk per task (MB)"] == f"{stored / 1e6:.5f}"
    assert details["LoRA (own)", "tasks in the size of one full model"] == str(4 * counts.full // stored)


@pytest.mark.parametrize(
    ("trained", "millions"), [((124_647_170, 294_912), ["124.6", "0.3"]), ((22_713_986, 73_728), [])]
)
def test_a_count_is_in_millions_only_where_that_is_about_the_count(trained, millions, tmp_path):
    counts = {m: {"trainable": n, "head": 2, "total": n} for m, n in zip(("fft", "lora"), trained, strict=True)}
    write_json(tmp_path / "counts.json", {"outputs": 2, "full": trained[0], "methods": counts})
    table = draw_table("table1", {"counts": [tmp_path / "counts.json"]})
    assert [cell.text for cell in table.cells if cell.column == "in millions"] == millions
    assert texts(table)["LoRA (own)", "trainable parameters"] == f"{trained[1]:,}"


@pytest.fixture
def written(tmp_path):
    """Table 2 of two methods, with an interval: its files."""
    pair = ("lora", "fft", "best", 3, -0.012, -0.03, 0.006, 0.02, -0.025, 0.001, 0, 0, False, False)
    runs = [(m, s, 0.8 + 0.01 * s, 0.8, 0.8, False) for m in ("fft", "lora") for s in (1, 2, 3)]
    table = score_table(scored(tmp_path, *runs, metric="accuracy", differences=[pair], task="rte"))
    files = TableFiles.at(tmp_path / "table2")
    write_table(table, STUDY, files)
    return files


def test_a_table_is_the_same_after_writing_and_reading_json(written):
    table = read_table(written.json)
    assert Table.from_json(table.to_json()) == table
    cell = next(cell for cell in table.cells if cell.row == "LoRA (own) − Full fine-tuning, 95 % over seeds")
    assert (cell.value, cell.low, cell.high, cell.n) == (-0.012, -0.03, 0.006, 3)
    assert (cell.method, cell.variant, cell.task, cell.unit) == ("lora", "best epoch", "rte", "fraction")
    assert table.banner == STUDY.banner()
    assert table.notes[-1] == "Batches in training: length-grouped."
    assert "75.5" in {cell.text for cell in table.published.cells}


def test_a_damaged_json_file_is_named(written):
    written.json.write_text('{"name": "table2"}')
    with pytest.raises(ValueError, match=r"table2\.json is not a table"):
        read_table(written.json)


def test_markdown_latex_csv_and_html_show_the_same_cells(written):
    table = read_table(written.json)
    expected = [(cell.row, cell.text) for cell in table.cells]
    published = [(cell.row, cell.text) for cell in table.published.cells]

    def shown(rows):
        return [(row[0], text) for row in rows for text in row[1:]]

    lines = [line for line in written.md.read_text().splitlines() if line.startswith("| ") and "---" not in line]
    rows = [line.strip("| ").split(" | ") for line in lines if not line.startswith(f"| {table.corner}")]
    assert shown(rows) == expected + published
    lines = [line for line in written.tex.read_text().splitlines() if line.endswith((r" \\", r" \\[2pt]"))]
    rows = [plain_latex(line).split(" & ") for line in lines if not plain_latex(line).startswith(table.corner)]
    assert shown(rows) == expected + published
    with written.csv.open(newline="") as stream:
        csv_texts = [row["text"] for row in csv.DictReader(stream)]
    assert csv_texts == [text for _, text in expected + published]
    view = TableView.of(table, {"fft": "Full fine-tuning", "lora": "LoRA (own)"})
    assert shown(view.ours.grid.rows) == expected
    assert shown(view.published.grid.rows) == published


def plain_latex(line):
    """A row of a table as text."""
    for command, text in (
        (r" \\[2pt]", ""), (r"\\", ""), ("{[}", "["), (r"\%", "%"), (r"$\pm$", "±"), ("$-$", "−"), ("~", " "),
    ):  # fmt: skip
        line = line.replace(command, text)
    return line.strip()


def test_csv_says_what_each_value_is_and_keeps_published_ones_apart(written):
    with written.csv.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(CSV_COLUMNS)
    assert list(CSV_COLUMNS) == "method variant task quantity unit value sd n low high text note".split()
    ours = [row for row in rows if row["variant"] != "published"]
    assert ours[0] == {
        "method": "fft", "variant": "best epoch", "task": "rte", "quantity": "score", "unit": "fraction",
        "value": "0.82", "sd": ours[0]["sd"], "n": "3", "low": ours[0]["low"], "high": ours[0]["high"],
        "text": "82.0 [79.5, 84.5]", "note": STUDY.banner()[1],
    }  # fmt: skip
    assert float(ours[0]["sd"]) == pytest.approx(0.01)
    assert float(ours[0]["high"]) == pytest.approx(0.82 + 4.302653 * 0.01 / 3**0.5)  # Student's, of two degrees
    published = [row for row in rows if row["variant"] == "published"]
    assert {row["task"] for row in published} == {"rte"}  # those of the study
    assert all("Table 2" in row["note"] for row in published)
    row = next(row for row in published if (row["method"], row["task"]) == ("FFT", "rte"))
    assert (row["value"], row["unit"], row["text"]) == ("0.755", "fraction", "75.5")
    keys = [tuple(row[name] for name in ("method", "variant", "task", "quantity", "unit")) for row in rows]
    assert len(set(keys)) == len(keys)


def test_published_figures_stand_in_a_block_of_their_own_and_say_what_differs(tmp_path):
    table = new_table("table1", "method", [Cell("lora", "parameters")])
    write_table(table, STUDY, TableFiles.at(tmp_path / "table1"))
    ours, published = (tmp_path / "table1.md").read_text().split("## Published, not measured here")
    assert "124.6" in published
    assert "Not comparable with this study: other protocol." in published
    assert "124.6" not in ours
    assert "| lora | n/a |" in ours
    with (tmp_path / "table1.csv").open(newline="") as stream:
        notes = [row["note"] for row in csv.DictReader(stream) if row["variant"] == "published"]
    assert all("Not comparable with this study" in note for note in notes)
    comparable = new_table("table1", "method", [Cell("lora", "parameters")]).with_study(replace(STUDY, differences=[]))
    assert "comparable" not in markdown(comparable)


@pytest.mark.parametrize("difference", ["model: other", "data: mini-GLUE (generated)"])
def test_a_study_of_another_model_or_other_data_has_no_published_figures_but_says_where_they_are(difference):
    study = replace(STUDY, differences=["protocol: a protocol", difference])
    table = new_table("table1", "method", [Cell("lora", "parameters")]).with_study(study)
    assert table.published is None
    assert "124.6" not in markdown(table)
    (note,) = [note for note in table.notes if note.startswith("The paper's figures")]
    (page,) = re.findall(r"docs/\w+\.md", note)
    assert "124.6" in (ROOT / page).read_text()


def test_tasks_that_the_paper_lacks_have_no_published_figures():
    cells = [Cell("lora", title, task=task) for title, task in (("SST-2", "sst2"), ("mine", "mine"))]
    table = new_table("table2", "method", cells).with_study(replace(STUDY, differences=[]))
    assert {cell.column for cell in table.published.cells} == {"SST-2"}
    assert new_table("table2", "method", cells[1:]).published is None
    assert new_table("table2-details", "method", cells).published is None


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
    assert not [cell for cell in table.cells if "fft" in cell.quantity or " / " in cell.row]
    assert any("stands for full fine-tuning" in note for note in table.notes)
