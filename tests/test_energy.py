"""Equal accuracy against histories worked out by hand."""

import dataclasses
import math

import pytest
from builders import energy_run, power_samples

from lora_core.evaluation.cost_to_threshold import cost_rows, curve_rows, cut, device_of, read_run, threshold
from lora_core.records import HistoryRow, PowerRow, write_json, write_rows


def test_the_threshold_is_the_lower_of_the_mean_best_scores_less_half_a_point():
    runs = [
        energy_run("fft", 1, [0.7, 0.9]),
        energy_run("fft", 2, [0.8, 0.7]),
        energy_run("lora", 1, [0.8, 0.82]),
        energy_run("lora", 2, [0.86]),
    ]
    assert threshold(runs) == pytest.approx(min(0.85, 0.84) - 0.005)


def test_without_both_methods_there_is_no_threshold():
    runs = [energy_run("fft", 1, [0.9]), energy_run("lora_ref", 1, [0.9])]
    assert threshold(runs) is None
    row = cost_rows(runs)[0]
    assert row["threshold"] is row["reached"] is row["epochs_to_threshold"] is row["threshold_meaningful"] is None


def test_a_run_costs_what_it_spent_up_to_the_first_epoch_that_reaches():
    assert cut(energy_run("fft", 1, [0.5, 0.8, 0.7, 0.9]), 0.8) == {
        "epochs": 2, "train_seconds": 20.0, "train_energy_joules": 200.0, "train_net_energy_joules": 160.0,
    }  # fmt: skip


def test_a_tie_with_the_threshold_is_there_and_the_first_of_two_equal_epochs_counts():
    assert cut(energy_run("fft", 1, [0.5, 0.8, 0.8]), 0.8)["epochs"] == 2
    assert cut(energy_run("fft", 1, [0.8, 0.8]), 0.8 + 0.1 / 1500)["epochs"] is None  # less than any example makes


def test_a_tie_is_not_decided_by_rounding():
    """Half a point is one of 200 examples, so that an epoch often ties with a threshold, but for the last bit."""
    tied = 0.69
    assert tied < (0.6 + 0.79) / 2 - 0.005
    runs = [energy_run("lora", 1, [tied, 0.99]), energy_run("fft", 1, [0.6]), energy_run("fft", 2, [0.79])]
    assert cost_rows(runs)[0]["epochs_to_threshold"] == 1


def test_a_device_is_its_model_and_on_a_cpu_its_threads():
    cpu = energy_run("fft", 1, [0.9]).record
    assert device_of(cpu) == "a CPU, 2 threads"
    gpu = {"provenance": {"device": "gpu-1234", "device_model": "a GPU", "threads": 2}}
    assert device_of(gpu) == "a GPU"


def test_a_run_that_never_gets_there_is_censored():
    runs = [energy_run("fft", 1, [0.9, 0.9]), energy_run("lora", 1, [0.9, 0.9]), energy_run("lora_ref", 1, [0.6, 0.7])]
    rows = {row["method"]: row for row in cost_rows(runs)}
    assert rows["lora_ref"]["reached"] is False
    assert rows["lora_ref"]["seconds_to_threshold"] is None
    assert rows["lora_ref"]["train_seconds"] == 20.0
    assert rows["fft"]["reached"] is True
    assert rows["fft"]["epochs_to_threshold"] == 1


def test_one_seed_may_miss_the_shared_threshold_and_reach_its_own():
    runs = [
        energy_run("fft", 1, [0.9]),
        energy_run("fft", 2, [0.8]),
        energy_run("lora", 1, [0.95]),
        energy_run("lora", 2, [0.85]),
    ]
    rows = {(row["method"], row["seed"]): row for row in cost_rows(runs)}
    assert rows["fft", 2]["reached"] is False  # threshold 0.85 - 0.005
    assert rows["fft", 2]["epochs_to_seed_threshold"] == 1
    assert rows["lora", 2]["reached"] is True


@pytest.mark.parametrize(("guess", "meaningful"), [(0.8, True), (0.88, False), (0.95, False)])
def test_a_threshold_near_the_constant_guess_is_marked(guess, meaningful):
    runs = [energy_run("fft", 1, [0.9], guess=guess), energy_run("lora", 1, [0.9], guess=guess)]
    assert cost_rows(runs)[0]["threshold_meaningful"] is meaningful


def test_energy_that_was_not_measured_stays_absent():
    runs = [energy_run("fft", 1, [0.9, 0.9], joules=None), energy_run("lora", 1, [0.9])]
    row = cost_rows(runs)[0]
    assert row["energy_to_threshold_joules"] is None
    assert row["seconds_to_threshold"] == 10.0
    lost = energy_run("fft", 1, [0.5, 0.9])
    lost.power[2] = dataclasses.replace(lost.power[2], power_watts=None)
    assert cut(lost, 0.9)["train_energy_joules"] is None


def test_a_cost_of_less_than_two_seconds_is_no_energy():
    assert cut(energy_run("fft", 1, [0.5, 0.9], seconds=0.9), 0.9)["train_energy_joules"] is None
    assert cut(energy_run("fft", 1, [0.5, 0.9], seconds=1.1), 0.9)["train_energy_joules"] == pytest.approx(200.0)


def test_the_curve_sums_time_and_energy_run_by_run():
    curve = curve_rows([energy_run("fft", 1, [0.5, 0.6]), energy_run("lora", 1, [0.7], joules=None)])
    assert curve["cumulative_train_seconds"].tolist() == [10.0, 20.0, 10.0]
    assert curve["cumulative_train_energy_joules"].tolist()[:2] == [100.0, 200.0]
    assert math.isnan(curve["cumulative_train_energy_joules"].iloc[2])


def test_a_run_whose_samples_and_history_disagree_is_refused(tmp_path):
    write_json(tmp_path / "run.json", {"run": {"method": "fft", "seed": 1}})
    rows = [HistoryRow(e, 0, 1, 1, 1, 0.5, 0.5, {}, 10.0, 1.0, None, None, 1.0, None, None) for e in (1, 2, 3)]
    write_rows(tmp_path / "history.csv", rows, HistoryRow)
    write_rows(tmp_path / "power.csv", power_samples(2, 10.0, None), PowerRow)
    with pytest.raises(ValueError, match=r"2 training windows in power\.csv, 3 in history\.csv"):
        read_run(tmp_path)
