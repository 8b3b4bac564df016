"""The answer: figures of LoRA relative to full fine-tuning, and what a study of this size can say about them."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from builders import METHOD_LABELS, REFERENCES, Made, run_content

from lora_core.evaluation.answer import read_answer
from lora_core.evaluation.claim_evidence import ClaimRecords, Evidence, read_evidence
from lora_core.evaluation.claim_rules import GPU, METER, MORE_SEEDS, QUIET_TIMING
from lora_core.evaluation.comparison import DECIDED, UNDECIDED, UNMEASURED, points_between
from lora_core.evaluation.counts import MethodCounts, ParameterCounts
from lora_core.evaluation.frames import read_differences
from lora_core.evaluation.references import References
from lora_core.evaluation.run_predictions import RunPredictions
from lora_core.evaluation.run_record import RunRecord
from lora_core.evaluation.scores import compare_scores
from lora_core.evaluation.tradeoffs import tradeoffs

TASKS = ("cola", "rte")


def study(seeds=(1, 2, 3, 4), lora=None, references=REFERENCES, labels=METHOD_LABELS, **changes):
    """The evidence of a study of fft and lora on two tasks: every figure of fft is 100, `lora` holds those of lora.

    The figures of lora are `{column: {task: value}}`, and grow by 1 % of their value with each seed.
    """
    lora = {"seconds_per_epoch": {"cola": 50.0, "rte": 50.0}, "best": {"cola": 0.5, "rte": 0.5}} | (lora or {})
    rows = []
    for method in ("fft", "lora"):
        for task in TASKS:
            for seed in seeds:
                row = {
                    "method": method, "task": task, "seed": seed, "device": "a GPU", "shared": False,
                    "disturbed": False, "reached": True, "threshold_meaningful": True, "kind": "device",
                    "simulated": False, "meter_reason": None, "best": 0.6, "accounted_mb": 100.0,
                    **dict.fromkeys(("seconds_per_epoch", "seconds_to_threshold", "energy", "mean_mb"), 100.0),
                    "train_seconds": 300.0, "train_energy_joules": 1000.0,
                }  # fmt: skip
                if method == "lora":
                    row |= {column: values[task] * (1 + 0.01 * seed) for column, values in lora.items()}
                rows.append(row)
    frame = pd.DataFrame(rows)
    counts = {"fft": MethodCounts(1000, 20, 1000), "lora": MethodCounts(3, 20, 1003)}
    differences = pd.DataFrame(columns=["method", "against", "quantity", "task"])
    values = {
        "references": references, "counts": ParameterCounts(2, 1000, counts), "differences": differences,
        "latency": [], "latency_margin": 0.03, "memory": frame.copy(), "costs": frame.copy(),
        "tokens_per_example": {}, "simulated": False, "scores": frame[["method", "task", "seed", "best"]],
        "labels": labels,
    }  # fmt: skip
    return Evidence(**values | changes)


def comparison(name, evidence):
    (one,) = [one for one in read_answer(evidence).comparisons if one.name == name]
    return one


def test_a_ratio_is_the_geometric_mean_over_tasks_and_seeds_with_an_interval_over_seeds():
    one = comparison("epoch_time", study(lora={"seconds_per_epoch": {"cola": 20.0, "rte": 80.0}}))
    geometric = [0.4 * (1 + 0.01 * seed) for seed in (1, 2, 3, 4)]  # (0.2 * 0.8) ** 0.5
    assert one.by_seed == pytest.approx(geometric)
    assert one.value == pytest.approx((geometric[0] * geometric[1] * geometric[2] * geometric[3]) ** 0.25)
    assert one.low < one.value < one.high < 0.45
    assert (one.state, one.outcome, one.n) == (DECIDED, "less", 4)
    assert (one.adapter, one.full) == (pytest.approx(51.25), 100.0)  # seconds, the mean of 20 and 80 with the growth
    assert one.interval_text == f"[{one.low:.2f}, {one.high:.2f}]"


def test_a_score_is_compared_in_points_and_not_as_a_ratio():
    one = comparison("score", study())
    assert one.value == pytest.approx(-10 + 50 * 0.025)
    assert (one.text, one.state, one.outcome) == ("−8.8 points", DECIDED, "lower")


def test_two_seeds_decide_nothing_and_show_what_each_says():
    one = comparison("epoch_time", study(seeds=(1, 2)))
    assert (one.state, one.needs, one.low) == (UNDECIDED, MORE_SEEDS, None)
    assert (one.interval_text, one.sample_text) == ("seeds: all 0.51", "n = 2 seeds")
    assert one.state_text == "undecided: three seeds decide"


def test_an_interval_around_no_effect_decides_nothing():
    lora = {"seconds_per_epoch": {"cola": 98.0, "rte": 97.5}}  # 0.98 to 1.02 over seeds
    one = comparison("epoch_time", study(lora=lora))
    assert one.low < 1 < one.high
    assert (one.state, one.needs) == (UNDECIDED, "")


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (-12.9, 1.7, "12.9 lower to 1.7 higher"), (-9.9, -7.6, "9.9 to 7.6 lower"), (1.0, 2.0, "1.0 to 2.0 higher"),
        (-3.0, 0.0, "3.0 lower to 0.0"), (-0.01, 2.0, "0.0 to 2.0 higher"), (0.0, 0.0, "0.0 to 0.0"),
    ],
)  # fmt: skip
def test_the_bounds_of_a_difference_say_which_side_each_is_on(low, high, text):
    assert points_between(low, high) == text


def test_seeds_that_all_say_the_same_decide_nothing():
    evidence = study()
    evidence.costs["seconds_per_epoch"] = evidence.costs["method"].map({"fft": 100.0, "lora": 50.0})
    assert comparison("epoch_time", evidence).state == UNDECIDED


def test_a_disturbed_run_leaves_times_open_and_is_named_by_its_label():
    evidence = study()
    first = (evidence.costs["method"] == "lora") & (evidence.costs["seed"] == 1) & (evidence.costs["task"] == "rte")
    evidence.costs.loc[first, "disturbed"] = True
    one = comparison("epoch_time", evidence)
    assert (one.state, one.reasons) == (UNDECIDED, ("1 of 16 runs was disturbed: LoRA (own) RTE seed 1",))
    assert one.state_text == "undecided: 1 of 16 runs was disturbed"
    assert comparison("score", evidence).state == DECIDED


def test_a_run_that_never_reached_the_threshold_is_said_and_no_run_is_made_up():
    evidence = study()
    lora = evidence.costs["method"] == "lora"
    evidence.costs.loc[lora, "reached"] = False
    evidence.costs.loc[lora, "seconds_to_threshold"] = None
    one = comparison("time", evidence)
    assert (one.value, one.state) == (None, UNDECIDED)
    assert one.state_text == "undecided: 8 of 16 runs did not reach the threshold"
    evidence.costs.loc[lora & (evidence.costs["seed"] > 1), "seconds_to_threshold"] = 150.0
    one = comparison("time", evidence)
    assert (one.state, one.n) == (UNDECIDED, 3)
    assert "2 of 16 runs did not reach the threshold" in one.reasons[0]


def test_what_has_no_meter_and_no_gpu_is_not_measured_and_says_what_it_needs():
    evidence = study()
    evidence.costs["energy"] = None
    evidence.memory["mean_mb"], evidence.memory["kind"] = None, "resident"
    evidence.memory["accounted_mb"] = evidence.memory["method"].map({"fft": 400.0, "lora": 100.0})
    energy, memory = comparison("energy", evidence), comparison("memory", evidence)
    assert (energy.state, energy.needs, energy.text) == (UNMEASURED, METER, "")
    assert (memory.state, memory.needs) == (UNMEASURED, GPU)
    assert memory.note == "tensors, counted: 0.25 (100 / 400 MB)"
    answer = read_answer(evidence)
    assert "energy" not in answer.verdict
    assert "memory" not in answer.verdict
    assert answer.conclusion("energy") == "Energy to equal accuracy was not measured: needs a power meter"
    assert "Not measured (needs a GPU): training memory." in answer.certainty


def test_the_sentence_names_the_method_by_its_label_and_gives_each_figure_with_its_interval():
    energy = {"energy": dict.fromkeys(TASKS, 150.0)}
    answer = read_answer(study(lora=energy, labels={"fft": "Full fine-tuning", "lora": "LoRA, r = 8"}))
    assert answer.verdict == (
        "On 2 tasks with 4 seeds, LoRA, r = 8 scored 8.8 points lower than full fine-tuning (95 % interval: 9.8 to 7.7 "
        "lower), trained 0.3 % of the parameters and used 1.00 of the GPU memory (1.00 to 1.00); it took 0.51 of the "
        "time per epoch (0.50 to 0.52), 1.00 of the time to equal accuracy (1.00 to 1.00) and 1.54 times the energy to "
        "equal accuracy (1.51 to 1.57)."
    )


def one_sided(share, method, seed):
    """A run of one epoch that predicts the first class, but for a share of examples: 60 % are of that class."""
    labels = np.repeat([0, 1], [600, 400])
    logits = np.eye(2, dtype=np.float32)[np.where(np.arange(1000) >= 1000 * (1 - share), 1, 0)]
    score = {"metric": "accuracy", "best": float((logits.argmax(-1) == labels).mean()), "best_epoch": 1, "last": 0.6}
    changes = {"measurement": {"score": score}, "run": {"data": {"validation": {"baseline_score": 0.6}}}}
    record = RunRecord.from_json(run_content(method, seed=seed, **changes))
    return RunPredictions(record, logits[None], labels)


def study_with_predictions(folder, shares):
    """A study whose scores and differences are those of `one_sided` runs, by task the shares of fft and of lora."""
    files, rows = [], []
    for task, by_method in shares.items():
        runs = [one_sided(by_method[method], method, seed) for method in ("fft", "lora") for seed in (1, 2, 3, 4)]
        files.append(folder / f"{task}_differences.csv")
        compare_scores(runs, REFERENCES, folder / f"{task}.csv", files[-1])
        rows += [(r.record.method, task, r.record.seed, r.record.score.best) for r in runs]
    scores = pd.DataFrame(rows, columns=["method", "task", "seed", "best"])
    return study(differences=read_differences(files), scores=scores)


def test_where_neither_learned_anything_the_sentence_names_the_tasks(tmp_path):
    evidence = study_with_predictions(tmp_path, {task: {"fft": 0.0, "lora": 0.0} for task in TASKS})
    one = comparison("score", evidence)
    nothing = "both are at the majority-class baseline on CoLA, RTE"
    assert (one.value, one.interval_text, one.state, one.reasons) == (0.0, "[0.0, 0.0]", UNDECIDED, (nothing,))
    answer = read_answer(evidence)
    assert f"scored the same as full fine-tuning (95 % interval: 0.0 to 0.0; {nothing})" in answer.verdict
    assert answer.conclusion("score") == (
        f"LoRA (own) scored the same as full fine-tuning (95 % interval: 0.0 to 0.0; undecided: {nothing})"
    )
    learned = study_with_predictions(tmp_path, {"cola": {"fft": 0.0, "lora": 0.0}, "rte": {"fft": 0.4, "lora": 0.3}})
    assert (
        "full fine-tuning (95 % interval: 5.0 to 5.0 lower; both are at the majority-class baseline on CoLA)"
        in read_answer(learned).verdict
    )


def test_where_one_method_learned_nothing_the_score_is_judged_and_the_method_named(tmp_path):
    evidence = study_with_predictions(tmp_path, {"cola": {"fft": 0.4, "lora": 0.0}, "rte": {"fft": 0.0, "lora": 0.35}})
    one = comparison("score", evidence)
    assert one.reasons == ()
    named = (
        "LoRA (own) is at the majority-class baseline on CoLA and full fine-tuning is at the majority-class baseline "
        "on RTE"
    )
    answer = read_answer(evidence)
    assert f"full fine-tuning (95 % interval: 2.5 to 2.5 lower; {named})" in answer.verdict
    assert named in answer.conclusion("score")


def test_a_study_without_a_reference_says_so():
    answer = read_answer(study(references=References(adapter="lora")))
    assert answer.comparisons == ()
    assert answer.verdict.startswith("LoRA (own) and full fine-tuning cannot be compared here:")
    assert answer.verdict.endswith(": this study has no method that stands for full fine-tuning.")
    assert read_answer(study(references=References("fft", "another"))).reason == (
        "not all of their runs are in this study"
    )


@pytest.fixture
def made(tmp_path):
    """The evidence of records in files."""
    records = Made(tmp_path, energy=5000.0).inputs
    (counts,) = records.pop("counts")
    names = ("differences", "latency", "latency_records", "runs", "costs")
    return read_evidence(ClaimRecords(counts, *(records[name] for name in names)), REFERENCES, 0.03, METHOD_LABELS)


def test_merged_latency_is_decided_by_the_claims_rule(made):
    one = comparison("latency", made)
    assert (one.state, one.needs, one.n) == (UNDECIDED, QUIET_TIMING, 5)
    assert one.low < one.value < one.high


def test_the_bounds_over_several_timings_are_named_and_no_interval_of_the_sentence(made):
    several, one_task = comparison("latency", made), replace(made, latency=made.latency[:1])
    assert len(made.latency) > 1
    assert several.interval_text.endswith(f"; bounds over {len(made.latency)} timings]")
    assert f" {several.text} times the inference time once merged." in read_answer(made).verdict
    alone = comparison("latency", replace(one_task, scores=made.scores[made.scores["task"] == made.latency[0].task]))
    assert re.fullmatch(r"\[\d\.\d+, \d\.\d+\]", alone.interval_text)
    assert " the inference time once merged (undecided: " in read_answer(one_task).conclusion("latency")


def test_a_tradeoff_is_a_point_per_method_and_task_and_latency_is_of_the_merged_model(made):
    frame = tradeoffs(made).set_index(["method", "task"])
    assert len(frame) == 6
    assert frame.at[("lora", "rte"), "name"] == "LoRA (own)"
    assert frame.at[("fft", "cola"), "parameters"] == 1000
    assert frame.at[("fft", "cola"), "train_energy_kilojoules"] == 5.0
    seconds = sorted(row.seconds for row in made.latency[0].rows if row.variant == "merged")
    assert frame.at[("lora", made.latency[0].task), "latency_seconds"] == seconds[2]  # the median of five
    assert pd.isna(frame.at[("vera", "cola"), "latency_seconds"])


def test_several_devices_are_never_averaged(made):
    made.costs.loc[made.costs["seed"] == 1, "device"] = "another CPU"
    frame = tradeoffs(made)
    assert {"LoRA (own) on a CPU", "LoRA (own) on another CPU"} <= set(frame["name"])
