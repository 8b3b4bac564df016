"""Scores of epochs: best, last, cross-fitted; collapsed seeds shown; differences paired by seed."""

import numpy as np
import pandas as pd
import pytest
from builders import FULL, LORA, trained

from lora_core.data.metrics import METRICS
from lora_core.evaluation import scores
from lora_core.stats import t_interval


def run(method, seed, logits, labels, metric="accuracy"):
    values = [METRICS[metric](labels, epoch) for epoch in logits]
    record = {
        "run": {"method": method, "seed": seed, "data": {"validation": {"constant_guess": 0.5}}},
        "measurement": {
            "score": {
                "metric": metric, "best": max(values), "best_epoch": int(np.argmax(values)) + 1, "last": values[-1],
            }
        },
        "provenance": {"shared": None},
    }  # fmt: skip
    return scores.Run(record, np.stack(logits), labels)


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
        lucky.append(max(METRICS["accuracy"](LABELS, epoch) for epoch in epochs))
        fitted.append(scores.cross_fitted("accuracy", epochs, LABELS))
    assert np.mean(lucky) > 0.74
    assert np.mean(fitted) == pytest.approx(0.7, abs=0.015)


def test_the_cross_fitted_score_finds_an_epoch_that_is_really_better():
    epochs = np.stack([guesses(LABELS, 0.6), guesses(LABELS, 0.9, 1), guesses(LABELS, 0.6, 2)])
    assert scores.cross_fitted("accuracy", epochs, LABELS) == pytest.approx(METRICS["accuracy"](LABELS, epochs[1]))
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


def test_differences_are_paired_by_seed_and_need_three_for_an_interval():
    frame = pd.DataFrame(scores.difference_rows(study(4)), columns=scores.DIFFERENCE_COLUMNS)
    best = frame[frame["quantity"] == "best"].iloc[0]
    assert (best["method"], best["against"], best["seeds"]) == ("lora", "fft", 4)
    rows = pd.DataFrame(scores.score_rows(study(4))).pivot(index="seed", columns="method", values="best")
    pairs = list(rows["lora"] - rows["fft"])
    assert best["difference"] == pytest.approx(np.mean(pairs))
    assert best["low"] == pytest.approx(t_interval(pairs).low)
    assert best["examples_low"] < best["difference"] < best["examples_high"]
    two = pd.DataFrame(scores.difference_rows(study(2)), columns=scores.DIFFERENCE_COLUMNS)
    assert two["low"].isna().all()
    assert two["difference"].notna().all()
    assert two["examples_low"].notna().sum() == 1  # of the best epoch


def test_a_seed_that_one_method_lacks_is_no_pair():
    rows = scores.difference_rows(study(3)[:-1])
    assert {row["seeds"] for row in rows} == {2}


def test_full_fine_tuning_is_what_others_are_held_against_in_whatever_order_a_study_lists_them():
    backwards = sorted(study(3), key=lambda run: run.method, reverse=True)
    assert {(row["method"], row["against"]) for row in scores.difference_rows(backwards)} == {("lora", "fft")}


def test_one_method_alone_has_no_difference():
    assert scores.difference_rows(study(2)[::2]) == []


def test_the_files_come_from_finished_runs(bert, cola, lora_run, tmp_path):
    full = trained(FULL, bert, cola, tmp_path / "full", method="fft")
    scores.compare([full, lora_run], tmp_path / "cola.csv", tmp_path / "cola_differences.csv")
    rows = pd.read_csv(tmp_path / "cola.csv")
    assert list(rows["method"]) == ["fft", LORA["kind"]]
    assert rows["best"].notna().all()
    assert len(pd.read_csv(tmp_path / "cola_differences.csv")) == 3
