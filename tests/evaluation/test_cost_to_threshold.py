"""Equal accuracy, checked against histories that are worked out by hand."""

import dataclasses
import math

import pandas as pd
import pytest
from builders import REFERENCES, ROOT, energy_run, merged, power_samples, run_content, write_run

from lora_core.evaluation.cost_to_threshold import (
    Cost,
    cost_rows,
    cost_to_reach,
    curve_rows,
    threshold,
    write_costs,
)
from lora_core.evaluation.references import References
from lora_core.evaluation.run_history import read_history
from lora_core.evaluation.run_record import RunRecord
from lora_core.records import HistoryRow, PowerRow, read_json, read_rows, sha256, write_json, write_rows
from lora_core.sealed import unseal


def test_the_threshold_is_the_lower_of_the_mean_best_scores_minus_half_a_point():
    runs = [
        energy_run("fft", 1, [0.7, 0.9]),
        energy_run("fft", 2, [0.8, 0.7]),
        energy_run("lora", 1, [0.8, 0.82]),
        energy_run("lora", 2, [0.86]),
    ]
    assert threshold(runs, REFERENCES).score == pytest.approx(min(0.85, 0.84) - 0.005)


@pytest.mark.parametrize(
    ("references", "reason"),
    [
        (References(full="fft"), "this study has no method that stands for LoRA"),
        (References(adapter="lora"), "this study has no method that stands for full fine-tuning"),
        (References(), "this study has no method that stands for full fine-tuning or LoRA"),
        (References(full="fft", adapter="lora"), "there is no run of 'lora'"),
    ],
)
def test_without_both_references_there_is_no_threshold_and_the_row_says_why(references, reason):
    runs = [energy_run("fft", 1, [0.9]), energy_run("lora_ref", 1, [0.9])]
    assert threshold(runs, references).score is None
    row = cost_rows(runs, references)[0]
    assert row.threshold is row.reached is row.epochs_to_threshold is row.threshold_meaningful is None
    assert row.threshold_reason == reason


def test_renamed_entries_have_the_same_costs():
    names = {"fft": "everything", "lora": "low_rank", "lora_ref": "fft"}  # one takes the former name of another
    runs = [
        energy_run(method, seed, [0.7, 0.8 + 0.01 * seed, 0.9 - gap])
        for method, gap in (("fft", 0.0), ("lora", 0.04), ("lora_ref", 0.3))
        for seed in (1, 2)
    ]
    renamed = [
        dataclasses.replace(run, record=dataclasses.replace(run.record, method=names[run.record.method]))
        for run in runs
    ]
    references = References(full="everything", adapter="low_rank", library="fft")
    expected = [dataclasses.replace(row, method=names[row.method]) for row in cost_rows(runs, REFERENCES)]
    assert cost_rows(renamed, references) == expected
    assert {row.reached for row in expected} == {True, False}


def test_a_run_costs_what_it_spent_up_to_the_first_epoch_that_reaches_the_threshold():
    assert cost_to_reach(energy_run("fft", 1, [0.5, 0.8, 0.7, 0.9]), 0.8) == Cost(
        epochs=2, train_seconds=20.0, train_energy_joules=200.0, train_net_energy_joules=160.0
    )


def test_a_score_equal_to_the_threshold_reaches_it_and_the_first_of_two_equal_epochs_counts():
    assert cost_to_reach(energy_run("fft", 1, [0.5, 0.8, 0.8]), 0.8).epochs == 2
    assert (
        cost_to_reach(energy_run("fft", 1, [0.8, 0.8]), 0.8 + 0.1 / 1500).epochs is None
    )  # less than one example more


def test_a_tie_is_not_decided_by_rounding():
    """Half a point is one of 200 examples, so an epoch often equals the threshold except for the last bit."""
    tied = 0.69
    assert tied < (0.6 + 0.79) / 2 - 0.005
    runs = [energy_run("lora", 1, [tied, 0.99]), energy_run("fft", 1, [0.6]), energy_run("fft", 2, [0.79])]
    assert cost_rows(runs, REFERENCES)[0].epochs_to_threshold == 1


def test_a_device_is_its_model_and_on_a_cpu_also_its_threads():
    cpu, gpu = ({"device": device, "device_model": f"a {name}"} for device, name in (("cpu", "CPU"), ("gpu-1", "GPU")))
    assert RunRecord.from_json(run_content(provenance=cpu)).device == "a CPU, 2 threads"
    assert RunRecord.from_json(run_content(provenance=gpu)).device == "a GPU"


def test_a_run_that_never_reaches_the_threshold_is_censored():
    runs = [energy_run("fft", 1, [0.9, 0.9]), energy_run("lora", 1, [0.9, 0.9]), energy_run("lora_ref", 1, [0.6, 0.7])]
    rows = {row.method: row for row in cost_rows(runs, REFERENCES)}
    assert rows["lora_ref"].reached is False
    assert rows["lora_ref"].seconds_to_threshold is None
    assert rows["lora_ref"].train_seconds == 20.0
    assert rows["fft"].reached is True
    assert rows["fft"].epochs_to_threshold == 1


def test_one_seed_may_miss_the_shared_threshold_and_reach_its_own():
    runs = [
        energy_run("fft", 1, [0.9]),
        energy_run("fft", 2, [0.8]),
        energy_run("lora", 1, [0.95]),
        energy_run("lora", 2, [0.85]),
    ]
    rows = {(row.method, row.seed): row for row in cost_rows(runs, REFERENCES)}
    assert rows["fft", 2].reached is False  # threshold 0.85 - 0.005
    assert rows["fft", 2].epochs_to_seed_threshold == 1
    assert rows["lora", 2].reached is True


@pytest.mark.parametrize(("baseline", "meaningful"), [(0.8, True), (0.88, False), (0.95, False)])
def test_a_threshold_near_the_majority_class_baseline_is_marked(baseline, meaningful):
    runs = [energy_run("fft", 1, [0.9], baseline=baseline), energy_run("lora", 1, [0.9], baseline=baseline)]
    assert cost_rows(runs, REFERENCES)[0].threshold_meaningful is meaningful


def test_energy_that_was_not_measured_stays_absent():
    runs = [energy_run("fft", 1, [0.9, 0.9], joules=None), energy_run("lora", 1, [0.9])]
    row = cost_rows(runs, REFERENCES)[0]
    assert row.energy_to_threshold_joules is None
    assert row.seconds_to_threshold == 10.0
    interrupted = energy_run("fft", 1, [0.5, 0.9])
    interrupted.power[2] = dataclasses.replace(interrupted.power[2], power_watts=None)
    assert cost_to_reach(interrupted, 0.9).train_energy_joules is None


def test_less_than_two_seconds_of_training_have_no_energy():
    assert cost_to_reach(energy_run("fft", 1, [0.5, 0.9], seconds=0.9), 0.9).train_energy_joules is None
    assert cost_to_reach(energy_run("fft", 1, [0.5, 0.9], seconds=1.1), 0.9).train_energy_joules == pytest.approx(200.0)


def test_the_curve_sums_time_and_energy_run_by_run():
    curve = curve_rows([energy_run("fft", 1, [0.5, 0.6]), energy_run("lora", 1, [0.7], joules=None)])
    assert curve["cumulative_train_seconds"].tolist() == [10.0, 20.0, 10.0]
    assert curve["cumulative_train_energy_joules"].tolist()[:2] == [100.0, 200.0]
    assert math.isnan(curve["cumulative_train_energy_joules"].iloc[2])


def written_run(folder, windows=3, files=True):
    """A run's files: the record of a real run in format 1, three epochs of history, and as many training windows."""
    folder.mkdir()
    seconds = {"train_seconds": 10.0, "train_processor_seconds": 9.9, "train_thread_seconds": 9.9, "eval_seconds": 1.0}
    memory = dict.fromkeys(("saved_for_backward_mb", "peak_allocated_mb", "peak_reserved_mb"))
    energy = dict.fromkeys(("train_energy_joules", "eval_energy_joules"))
    epochs = [HistoryRow(e, 0, 1, 1, 1, 0.5, 0.5, {}, **seconds, **energy, **memory) for e in (1, 2, 3)]
    run = [folder / "record.json", folder / "epochs.csv", folder / "samples.csv"]
    record_path, history, power = run
    write_rows(history, epochs, HistoryRow)
    write_rows(power, power_samples(windows, 10.0, 100.0), PowerRow)
    record = read_json(ROOT / "tests" / "fixtures" / "run_format1.json")
    changes = {
        "train_seconds": 30.0,
        "eval_seconds": 3.0,
        "score": {"best": 0.5, "best_epoch": 1, "last": 0.5},
        "energy": {"train_joules": 300.0},
        "memory": {"mean_mb": 300.0, "peak_mb": 300.0, "baseline_mb": 100.0},
    }
    record["measurement"] = merged(record["measurement"], changes)
    digests = {"history.csv": sha256(history), "power.csv": sha256(power)}
    write_json(record_path, record | {"files": digests if files else {}})
    return run


@pytest.mark.filterwarnings("error")  # of pandas, whose options about precision are deprecated
def test_costs_are_written_from_files_with_any_name(tmp_path):
    run = read_history(*written_run(tmp_path / "run"))
    write_costs([run], References(full="lora", adapter="lora"), tmp_path / "costs.csv", tmp_path / "curve.csv")
    (row,) = pd.read_csv(tmp_path / "costs.csv").to_dict("records")
    assert (row["method"], row["epochs_to_threshold"], row["energy_to_threshold_joules"]) == ("lora", 1, 100.0)
    assert row["device"] == "NVIDIA H200"
    assert len(pd.read_csv(tmp_path / "curve.csv")) == 3


def test_a_run_whose_samples_and_history_disagree_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"samples\.csv has 2 training windows, but .*epochs\.csv has 3 epochs"):
        read_history(*written_run(tmp_path / "run", windows=2))


def test_a_history_that_is_not_the_one_of_its_record_is_refused(tmp_path):
    record, history, power = written_run(tmp_path / "run")
    history.write_text(history.read_text().replace("0.5", "0.9"))
    with pytest.raises(ValueError, match=r"epochs\.csv is damaged .*delete the folder .*run and run again"):
        read_history(record, history, power)


def ticking(run, tick=0.1):
    """A run whose energy is from a counter at the power of its samples, with the counter's tick measured."""
    joules, before = 0.0, run.power[0]
    for row in run.power:
        joules += (before.power_watts + row.power_watts) / 2 * (row.seconds - before.seconds)
        object.__setattr__(row, "counter_millijoules", 1e3 * joules)
        before = row
    energy = dataclasses.replace(run.record.energy, counter_tick_seconds=tick, source="counter")
    return dataclasses.replace(run, record=dataclasses.replace(run.record, energy=energy))


def test_the_cost_to_the_threshold_has_the_uncertainty_of_its_edges():
    run = ticking(energy_run("fft", 1, [0.5, 0.9, 0.9], seconds=1.0, joules=100.0))
    cost = cost_to_reach(run, 0.9)  # evaluation draws as much power as training
    assert cost.train_energy_joules == pytest.approx(200.0)  # two epochs of a second: without the tick 2 s are needed
    assert cost.uncertainty_joules == pytest.approx(0.1 * 100.0 * (2 + 2 * (2 / 12) ** 0.5))
    assert cost_to_reach(energy_run("fft", 1, [0.9]), 0.9).uncertainty_joules is None  # not a counter's


@pytest.mark.parametrize(("seconds", "tick", "too_short"), [(0.9, 0.1, True), (1.1, 0.1, False), (1.1, None, True)])
def test_a_run_that_is_too_short_up_to_the_threshold_says_so(seconds, tick, too_short):
    run = ticking(energy_run("fft", 1, [0.9, 0.9, 0.9], seconds=seconds), tick)
    (row, _) = cost_rows([run, energy_run("lora", 1, [0.9])], REFERENCES)
    assert (row.reached, row.too_short_for_meter) == (True, too_short)
    assert (row.energy_to_threshold_joules is None) == too_short


def test_a_run_that_never_reaches_the_threshold_is_not_too_short():
    runs = [energy_run("fft", 1, [0.9]), energy_run("lora", 1, [0.95]), energy_run("lora_ref", 1, [0.1], seconds=1.0)]
    assert cost_rows(runs, REFERENCES)[2].too_short_for_meter is None


def test_a_run_without_energy_because_of_its_limits_is_read(tmp_path):
    """Its counter ran at 20 W, and the device can draw 15 W: the record has no energy, and no other is computed."""
    run = written_run(tmp_path / "run", files=False)
    rows = read_rows(run[2], PowerRow)
    write_rows(run[2], [dataclasses.replace(r, counter_millijoules=2e4 * r.seconds) for r in rows], PowerRow)
    record = read_json(run[0])
    record["measurement"]["energy"] |= {"train_joules": None, "power_limit_watts": 10.0}
    write_json(run[0], record)
    assert read_history(*run).record.energy.train_joules is None


@pytest.mark.parametrize(
    "figure", ["preparation.seconds", "preparation.energy_joules", "energy.uncertainty_joules", "energy.train_joules"]
)
def test_a_preparation_or_an_energy_that_its_samples_do_not_give_is_refused_by_name(lora_run, tmp_path, figure):
    files = lora_run / "history.csv", lora_run / "power.csv"
    assert read_history(lora_run / "run.json", *files).record.preparation.seconds > 0
    record = unseal(read_json(lora_run / "run.json"), lora_run)
    section, name = figure.split(".")
    record["measurement"][section][name] = 5.0
    write_run(tmp_path / "record.json", record)
    with pytest.raises(ValueError, match=rf"record\.json says {figure} = 5\.0, but its files give"):
        read_history(tmp_path / "record.json", *files)
