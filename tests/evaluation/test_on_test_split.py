"""Scores on the test split: computed from the predictions, compared, shown, judged, and on the card."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from builders import REFERENCES, draw_table, merged, score_inputs, texts
from safetensors.numpy import load_file, save_file

from lora_core.data.metrics import METRICS
from lora_core.evaluation import scores
from lora_core.evaluation.claim_evidence import Evidence
from lora_core.evaluation.claim_rules import REFUTED, REPRODUCED, Claim, above
from lora_core.evaluation.run_predictions import RunPredictions, read_predictions
from lora_core.evaluation.run_record import RunRecord
from lora_core.evaluation.score_judge import ScoreDifference
from lora_core.records import read_json, read_run_record, sha256, write_json
from lora_core.reporting.model_card import model_card
from lora_core.reporting.page.overlap_lines import overlap_lines
from lora_core.sealed import SEAL, seal

CHOSEN, LAST = 0, 1


@pytest.fixture
def copied(own_run, tmp_path):
    """A copy of a finished run with a test split."""
    shutil.copytree(own_run, tmp_path / "run")
    return tmp_path / "run"


def edit(run, change, arrays=None):
    """Change the record of a run, and its predictions, as someone would who also writes new digests."""
    file = run / "predictions.safetensors"
    stored = load_file(file)
    save_file(stored if arrays is None else arrays(stored), file)
    record = {name: value for name, value in read_json(run / "run.json").items() if name != SEAL}
    record["files"]["predictions.safetensors"] = sha256(file)
    change(record)
    write_json(run / "run.json", seal(record))


def read(run):
    return read_predictions(run / "run.json", run / "predictions.safetensors")


def test_a_run_that_nobody_edited_is_read_with_its_test_split(copied):
    run = read(copied)
    assert run.test_logits.shape == (2, 30, 2)
    row = scores.score_rows([run])[0]
    chosen, last = (METRICS["accuracy"].function(run.test_labels, logits) for logits in run.test_logits)
    assert (row.test, row.test_last, row.test_examples) == (chosen, last, 30)
    share = np.bincount(run.test_labels).max() / 30
    assert row.test_baseline_score == pytest.approx(share)


@pytest.mark.parametrize(
    ("name", "value"),
    [("chosen", 0.999), ("last", 0.999), ("chosen_epoch", 7), ("examples", 31), ("last_metrics", {"accuracy": 0.999})],
)
def test_an_edited_score_on_the_test_split_is_refused_by_name(name, value, copied):
    edit(copied, lambda record: record["measurement"]["test"].update({name: value}))
    with pytest.raises(ValueError, match=rf"run\.json says test\.{name}.* = .*; delete the folder .*run and run again"):
        read(copied)


def without_test(arrays):
    return {name: array for name, array in arrays.items() if not name.startswith("test_")}


@pytest.mark.parametrize(
    ("change", "arrays"),
    [
        (lambda record: record["measurement"].pop("test"), None),
        (lambda record: record["run"]["data"].pop("test"), None),
        (lambda record: None, without_test),
    ],
    ids=["record", "card", "predictions"],
)
def test_a_test_split_that_was_taken_out_of_one_file_is_noticed(change, arrays, copied):
    edit(copied, change, arrays)
    with pytest.raises(ValueError, match=r"do not agree on whether there is a test split; delete the folder"):
        read(copied)


def test_a_run_without_a_test_split_has_no_columns_about_one(lora_run, tmp_path):
    run = read(lora_run)
    assert run.on_test() is None
    scores.compare_scores([run], REFERENCES, tmp_path / "a.csv", tmp_path / "b.csv")
    assert "test" not in (tmp_path / "a.csv").read_text()


def made(template, method, seed, right, test_right):
    """A run whose best epoch is right on these shares of the validation and of the test split; the last is worse."""

    def epochs(labels, share, kind):
        wrong = np.random.default_rng([seed, kind, len(method)]).random(len(labels)) > share
        worse = wrong | (np.arange(len(labels)) % 5 == 0)
        return np.stack([np.eye(2, dtype=np.float32)[np.where(w, 1 - labels, labels)] for w in (wrong, worse)])

    labels = np.repeat([0, 1], 200)
    logits, on_test = epochs(labels, right, 0), epochs(labels, test_right, 1)
    (best, last), (chosen, test_last) = (
        [METRICS["accuracy"].function(labels, one) for one in both] for both in (logits, on_test)
    )
    record = replace(
        template,
        method=method,
        seed=seed,
        score=replace(template.score, best=best, best_epoch=1, last=last, examples=400),
        test=replace(template.test, chosen=chosen, last=test_last, chosen_epoch=1, examples=400),
    )
    return RunPredictions(record, logits, labels, on_test, labels)


@pytest.fixture
def study(own_run):
    """LoRA is better on the validation split, and worse on the test split."""
    template = RunRecord.read(own_run / "run.json")
    right = {"fft": (0.70, 0.90), "lora": (0.92, 0.70)}
    return [made(template, method, seed, *right[method]) for seed in (1, 2, 3) for method in right]


def test_differences_on_the_test_split_are_rows_of_their_own(study):
    rows = pd.DataFrame(scores.difference_rows(study, REFERENCES))
    assert list(rows["quantity"]) == ["best", "last", "cross_fitted", "test", "test_last"]
    by_quantity = rows.set_index("quantity")
    expected = np.mean([r.record.test.chosen * (1 if r.record.method == "lora" else -1) for r in study]) * 2
    test = by_quantity.loc["test"]
    assert test["difference"] == pytest.approx(expected)
    assert test["difference"] < -0.15 < 0.05 < by_quantity.loc["best", "difference"]
    assert test["examples_low"] < test["difference"] < test["examples_high"]
    assert pd.isna(by_quantity.loc["test_last", "examples_low"])


def test_what_the_test_split_shows_of_predictions_is_about_the_test_split(study):
    """LoRA predicts as full fine-tuning does on the validation split alone, and learned nothing on the test split."""
    full = study[0]
    guess = np.stack([np.eye(2, dtype=np.float32)[np.zeros(400, int)]] * 2)
    test = replace(full.record.test, chosen=0.5, last=0.5)
    data = replace(full.record.data, test=replace(full.record.data.test, baseline_score=0.5))
    full = replace(full, record=replace(full.record, data=data))
    record = replace(full.record, method="lora", test=test)
    rows = scores.difference_rows([full, replace(full, record=record, test_logits=guess)], REFERENCES)
    by_quantity = {row.quantity: row for row in rows}
    assert (by_quantity["best"].identical_predictions, by_quantity["test"].identical_predictions) == (1, 0)
    assert (by_quantity["best"].method_at_baseline, by_quantity["test"].method_at_baseline) == (False, True)


@pytest.fixture
def files(study, tmp_path):
    file = tmp_path / "own.csv"
    scores.compare_scores(study, REFERENCES, file, tmp_path / "own_differences.csv")
    return [file]


def test_table_2_has_the_test_split_in_rows_of_its_own(files, study):
    table = draw_table("table2", score_inputs(files))
    rows = list(dict.fromkeys(cell.row for cell in table.cells))
    assert rows == [
        "Full fine-tuning", "LoRA (own)", "LoRA (own) − Full fine-tuning, 95 % over seeds",
        "Full fine-tuning, test split", "LoRA (own), test split",
        "majority-class baseline, test split",
        "LoRA (own) − Full fine-tuning, test split, 95 % over seeds", "majority-class baseline",
    ]  # fmt: skip
    cell = next(cell for cell in table.cells if cell.row == "LoRA (own), test split")
    assert cell.value == pytest.approx(np.mean([r.record.test.chosen for r in study if r.record.method == "lora"]))
    assert (cell.variant, cell.quantity, cell.n) == ("test split", "score", 3)
    notes = " ".join(table.notes)
    assert "Test split: predicted at the epoch that is best on" in notes
    assert "In percent, on the validation split, or on the test split where a row says so." in notes
    assert "a bootstrap over the examples of the split that uses" in notes
    details = draw_table("table2-details", score_inputs(files))
    shown = {row for row, _ in texts(details)}
    assert "LoRA (own), test split, last epoch" in shown
    assert "LoRA (own) − Full fine-tuning, test split, 95 % over examples" in shown
    assert "LoRA (own) − Full fine-tuning, test split, last epoch, 95 % over seeds" in shown


def test_of_two_tasks_only_the_one_with_a_test_split_has_cells_for_it(files, study, tmp_path):
    plain = [
        RunPredictions(
            replace(r.record, test=None, data=replace(r.record.data, test=None, test_overlap=None)), r.logits, r.labels
        )
        for r in study
    ]
    scores.compare_scores(plain, REFERENCES, tmp_path / "cola.csv", tmp_path / "cola_differences.csv")
    table = draw_table("table2", score_inputs([*files, tmp_path / "cola.csv"]))
    assert {cell.column for cell in table.cells if "test split" in cell.row} == {"own"}
    assert {cell.column for cell in table.cells if cell.row == "LoRA (own)"} == {"own", "CoLA"}


def evidence(differences):
    runs = pd.DataFrame([{"task": task, "seed": seed} for task in differences["task"].unique() for seed in (1, 2, 3)])
    return Evidence(REFERENCES, None, differences, [], 0.03, runs, runs, {}, False)


def test_claims_judge_the_test_split_where_there_is_one(study, tmp_path):
    """The validation split would reproduce the claim that the test split refutes."""
    rows = pd.DataFrame(scores.difference_rows(study, REFERENCES))
    rows = pd.concat(
        [rows.assign(task="rte"), rows[~rows["quantity"].isin(scores.ON_TEST.values())].assign(task="cola")]
    )
    judge = ScoreDifference("adapter", "full", ("rte", "cola"), lambda interval: above(interval, 0.0))
    judged = evidence(rows).judged_differences
    assert dict(zip(judged["task"], judged["quantity"], strict=True)) == {"rte": "test", "cola": "best"}
    assert evidence(rows).tested_tasks == ["rte"]
    claim = Claim("it", "as it is", "a rule")
    validation = rows[~rows["quantity"].isin(scores.ON_TEST.values())]
    verdicts = judge(claim, evidence(rows)), judge(claim, evidence(validation))
    assert [verdict.verdict for verdict in verdicts] == [REFUTED, REPRODUCED]
    assert re.fullmatch(r"RTE −\d+\.\d; CoLA \+\d+\.\d", verdicts[0].ours)


def test_the_card_reports_the_test_split_as_the_score(own_run):
    run = RunRecord.read(own_run / "run.json")
    text = model_card(run, "LoRA (own)", "peft", True)
    metadata = text.split("---")[1]
    assert "split: test" in metadata
    assert "split: validation" not in metadata
    assert metadata.count("value: ") == 2  # accuracy and matthews
    assert f"value: {round(run.test.last, 6)}" in metadata
    assert f"| accuracy on the test split, last epoch (these weights) | {run.test.last:.4f} |" in text
    assert "accuracy on the validation split, best epoch" in text


def test_a_card_without_a_test_split_is_as_before(lora_run):
    text = model_card(RunRecord.read(lora_run / "run.json"), "LoRA (own)", "peft", True)
    assert "| matthews, last epoch (these weights) |" in text
    assert "test" not in text


def test_the_page_says_what_the_test_split_shares_with_the_others(own_run):
    record = merged(read_run_record(own_run / "run.json"), {
        "run": {"data": {"test_overlap": {"exact": {"in_train": 3, "in_train_contradictions": 1, "in_validation": 2},
                                          "normalized": {"in_train": 4, "in_train_contradictions": 1,
                                                         "in_validation": 2}}}},
    })  # fmt: skip
    (line,) = overlap_lines([RunRecord.from_json(record).data])
    said = (
        "3 (4 normalized) of 30 test examples are in the training split, 1 with another label, and 2 in the validation"
    )
    assert said in line
