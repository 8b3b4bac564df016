"""Scores of epochs: best, last, cross-fitted; collapsed seeds are shown; differences are paired by seed."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from builders import REFERENCES, ROOT, run_content

from lora_core.data.metrics import METRICS
from lora_core.data.overlap import Overlap, Repeats
from lora_core.evaluation import scores
from lora_core.evaluation.references import References
from lora_core.evaluation.run_predictions import read_predictions
from lora_core.evaluation.run_record import RunRecord
from lora_core.records import read_json, sha256, write_json
from lora_core.stats import t_interval


def run(method, seed, logits, labels, metric="accuracy"):
    values = [METRICS[metric].function(labels, epoch) for epoch in logits]
    best = int(np.argmax(values))
    score = {"metric": metric, "best": values[best], "best_epoch": best + 1, "last": values[-1]}
    content = run_content(method, seed=seed, measurement={"score": score})
    return scores.RunPredictions(RunRecord.from_json(content), np.stack(logits), labels)


def guesses(labels, right, seed=0):
    """Logits that are right on a share of the examples."""
    wrong = np.random.default_rng(seed).random(len(labels)) > right
    return np.eye(2, dtype=np.float32)[np.where(wrong, 1 - labels, labels)]


LABELS = np.random.default_rng(9).integers(0, 2, 400)


def test_the_cross_fitted_score_is_free_of_the_luck_of_choosing():
    """Forty epochs that are all equally good: the best is lucky, the cross-fitted one is not."""
    lucky, fitted = [], []
    for seed in range(20):
        epochs = np.stack([guesses(LABELS, 0.7, seed=100 * seed + e) for e in range(40)])
        lucky.append(max(METRICS["accuracy"].function(LABELS, epoch) for epoch in epochs))
        fitted.append(scores.cross_fitted("accuracy", epochs, LABELS))
    assert np.mean(lucky) > 0.74
    assert np.mean(fitted) == pytest.approx(0.7, abs=0.015)


def test_the_cross_fitted_score_finds_an_epoch_that_is_really_better():
    epochs = np.stack([guesses(LABELS, 0.6), guesses(LABELS, 0.9, 1), guesses(LABELS, 0.6, 2)])
    assert scores.cross_fitted("accuracy", epochs, LABELS) == pytest.approx(
        METRICS["accuracy"].function(LABELS, epochs[1])
    )
    assert scores.cross_fitted("accuracy", epochs[:, :3], LABELS[:3]) is None


def test_the_same_answer_to_everything_is_a_collapse():
    assert scores.collapsed(np.array([[0.1, 0.9], [0.2, 0.8]]))
    assert not scores.collapsed(np.array([[0.1, 0.9], [0.8, 0.2]]))
    assert scores.collapsed(np.full((5, 1), 2.5))
    assert not scores.collapsed(np.array([[2.5], [2.6]]))


def study(seeds, gap=0.1):
    runs = []
    for seed in range(seeds):
        runs.append(run("fft", seed, [guesses(LABELS, 0.8, seed), guesses(LABELS, 0.5, seed)], LABELS))
        runs.append(run("lora", seed, [guesses(LABELS, 0.8 - gap, seed)], LABELS))
    return runs


def difference_frame(runs, references=REFERENCES):
    return pd.DataFrame(scores.difference_rows(runs, references), columns=scores.DIFFERENCE_COLUMNS)


def test_differences_are_paired_by_seed_and_need_three_for_an_interval():
    best = difference_frame(study(4)).query("quantity == 'best'").iloc[0]
    assert (best["method"], best["against"], best["seeds"]) == ("lora", "fft", 4)
    rows = pd.DataFrame(scores.score_rows(study(4))).pivot(index="seed", columns="method", values="best")
    pairs = list(rows["lora"] - rows["fft"])
    assert best["difference"] == pytest.approx(np.mean(pairs))
    assert best["low"] == pytest.approx(t_interval(pairs).low)
    assert best["examples_low"] < best["difference"] < best["examples_high"]
    two = difference_frame(study(2))
    assert two["low"].isna().all()
    assert two["difference"].notna().all()
    assert two["examples_low"].notna().sum() == 1  # of the best epoch


def scored_at(method, accuracy, seeds=3):
    """Runs with this accuracy on labels of which 60% are of one class, as their baseline says."""
    labels = np.repeat([0, 1], [600, 400])
    wrong = np.arange(1000) % 100 >= round(100 * accuracy)
    logits = np.eye(2, dtype=np.float32)[np.where(wrong, 1 - labels, labels)]
    made = [run(method, seed, [logits], labels) for seed in range(seeds)]
    return [dataclasses.replace(r, record=with_baseline(r.record, 0.6)) for r in made]


def with_baseline(record, score):
    validation = dataclasses.replace(record.data.validation, baseline_score=score)
    return dataclasses.replace(record, data=dataclasses.replace(record.data, validation=validation))


@pytest.mark.parametrize(("accuracy", "expected"), [(0.5, True), (0.62, True), (0.63, False), (0.8, False)])
def test_a_method_within_two_points_of_the_majority_class_learned_nothing(accuracy, expected):
    best = difference_frame(scored_at("fft", 0.9) + scored_at("lora", accuracy)).query("quantity == 'best'").iloc[0]
    assert (best["method_at_baseline"], best["against_at_baseline"]) == (expected, False)


def test_a_method_that_predicts_one_class_for_most_seeds_learned_nothing():
    labels = np.repeat([0, 1], [900, 100])
    one_class = np.eye(2, dtype=np.float32)[np.zeros(1000, int)]
    runs = [run("lora", seed, [one_class], labels) for seed in (1, 2)]
    runs = [dataclasses.replace(r, record=with_baseline(r.record, 0.5)) for r in runs]
    (learned,) = scored_at("lora", 0.9, seeds=1)
    assert scores.at_baseline([*runs, learned])
    assert not scores.at_baseline([runs[0], learned, learned])


def test_a_method_that_collapses_after_its_best_epoch_is_judged_by_the_best():
    labels = np.repeat([0, 1], [600, 400])
    one_class, right = (np.eye(2, dtype=np.float32)[values] for values in (np.zeros(1000, int), labels))
    runs = [run("fft", seed, [right, one_class], labels) for seed in (1, 2, 3)]
    assert not scores.at_baseline([dataclasses.replace(r, record=with_baseline(r.record, 0.6)) for r in runs])


def test_seeds_with_identical_predictions_at_the_best_epoch_are_counted():
    runs = study(3, gap=0.0)  # the same first epoch, which is the best
    assert set(difference_frame(runs)["identical_predictions"]) == {3}
    one = runs[1].logits.copy()
    one[:, 7] = one[:, 7, ::-1]  # another class for one example
    runs[1] = dataclasses.replace(runs[1], logits=one)
    assert set(difference_frame(runs)["identical_predictions"]) == {2}


@pytest.mark.parametrize(("difference", "same"), [(0.004, True), (0.006, False)])
def test_numbers_are_the_same_up_to_a_thousandth_of_the_range_of_the_labels(difference, same):
    labels = np.linspace(0, 5, 50, dtype=np.float32)
    logits = labels[:, None] + np.float32(0.1)
    pair = [run(m, 1, [values], labels, "pearson") for m, values in (("a", logits), ("b", logits + difference))]
    assert scores.identical_predictions(*pair) == same


def test_a_seed_that_one_method_lacks_is_no_pair():
    rows = scores.difference_rows(study(3)[:-1], REFERENCES)
    assert {row.seeds for row in rows} == {2}


def test_methods_are_compared_with_full_fine_tuning_in_whatever_order_a_study_lists_them():
    backwards = sorted(study(3), key=lambda run: run.record.method, reverse=True)
    rows = scores.difference_rows(backwards, REFERENCES)
    assert {(row.method, row.against) for row in rows} == {("lora", "fft")}
    swapped = scores.difference_rows(backwards, References(full="lora", adapter="fft"))
    assert {(row.method, row.against) for row in swapped} == {("fft", "lora")}


def test_without_references_methods_are_compared_in_the_order_of_the_study():
    rows = scores.difference_rows(sorted(study(3), key=lambda run: run.record.method, reverse=True), References())
    assert {(row.method, row.against) for row in rows} == {("fft", "lora")}


def test_renamed_entries_have_the_same_differences():
    names = {"fft": "z", "lora": "fft"}
    renamed = [
        dataclasses.replace(run, record=dataclasses.replace(run.record, method=names[run.record.method]))
        for run in study(3)
    ]
    expected = [
        dataclasses.replace(row, method=names[row.method], against=names[row.against])
        for row in scores.difference_rows(study(3), REFERENCES)
    ]
    actual = scores.difference_rows(renamed, References(full="z", adapter="fft"))
    pd.testing.assert_frame_equal(pd.DataFrame(actual), pd.DataFrame(expected))


def test_one_method_alone_has_no_difference():
    assert scores.difference_rows(study(2)[::2], REFERENCES) == []


def written_run(folder, method, seed, labels=LABELS):
    """The files of a run with two epochs of predictions, under separate names."""
    from safetensors.numpy import save_file

    folder.mkdir()
    record_path, predictions = folder / "r.json", folder / f"{method}.safetensors"
    logits = np.stack([guesses(labels, 0.7, seed), guesses(labels, 0.8, seed + 1)])
    save_file({"logits": logits, "labels": labels}, predictions)
    record = read_json(ROOT / "tests" / "fixtures" / "run_format1.json")
    record["run"] |= {"method": method, "seed": seed}
    by_epoch = [float((epoch.argmax(-1) == labels).mean()) for epoch in logits]
    best = int(np.argmax(by_epoch)) + 1
    record["measurement"]["score"] |= {
        "metric": "accuracy", "best_epoch": best, "best": max(by_epoch), "last": by_epoch[-1], "examples": len(labels),
    }  # fmt: skip
    write_json(record_path, record | {"files": {"predictions.safetensors": sha256(predictions)}})
    return record_path, predictions


def test_files_are_written_from_the_records_and_predictions_of_runs(tmp_path):
    runs = [read_predictions(*written_run(tmp_path / method, method, 1)) for method in ("lora", "fft")]
    scores.compare_scores(runs, REFERENCES, tmp_path / "cola.csv", tmp_path / "other.csv")
    rows = pd.read_csv(tmp_path / "cola.csv")
    assert list(rows["method"]) == ["lora", "fft"]
    assert rows["best"].notna().all()
    differences = pd.read_csv(tmp_path / "other.csv")
    assert list(differences["against"]) == ["fft"] * 3


def test_predictions_that_are_not_those_of_the_record_are_refused(tmp_path):
    record, predictions = written_run(tmp_path / "run", "lora", 1)
    predictions.write_bytes(predictions.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match=r"lora\.safetensors is damaged"):
        read_predictions(record, predictions)


def with_overlap(run, mask):
    """A run whose card says which validation examples share a text with the training split."""
    none = Repeats(**dict.fromkeys((field.name for field in dataclasses.fields(Repeats)), 0))
    overlap = Overlap(none, none, np.packbits(mask).tobytes().hex())
    card = dataclasses.replace(run.record.data, overlap=overlap)
    return dataclasses.replace(run, record=dataclasses.replace(run.record, data=card))


def test_the_score_without_overlap_is_that_of_the_best_epoch_on_the_other_examples():
    mask = np.random.default_rng(3).random(len(LABELS)) < 0.3
    best = np.eye(2)[np.where(mask, LABELS, 1 - LABELS)]  # right on what overlaps, wrong on all else
    best[~mask] = guesses(LABELS, 0.5, 5)[~mask]
    memorized = run("fft", 1, [best, guesses(LABELS, 0.1)], LABELS)
    row = scores.score_rows([with_overlap(memorized, mask)])[0]
    kept = [(epoch.argmax() == label) for epoch, label, out in zip(best, LABELS, mask, strict=True) if not out]
    assert row.overlapping == mask.sum()
    assert row.without_overlap == pytest.approx(np.mean(kept))
    assert row.best > row.without_overlap + 0.1


def test_without_an_example_that_overlaps_the_score_is_the_best_one_and_without_a_count_there_is_none():
    one = run("fft", 1, [guesses(LABELS, 0.8)], LABELS)
    rows = scores.score_rows([one, with_overlap(one, np.zeros(400, bool)), with_overlap(one, np.ones(400, bool))])
    assert (rows[0].overlapping, rows[0].without_overlap) == (None, None)
    assert (rows[1].overlapping, rows[1].without_overlap) == (0, rows[1].best)
    assert (rows[2].overlapping, rows[2].without_overlap) == (400, None)
