"""The real snakemake on a finished study: what a change in code, configuration or files makes run again."""

import os
import shutil

import pytest
from builders import ended_jobs, write_regimes
from project import Project, rules

LEAVES = [
    "aggregate_energy", "collect_runs", "compare_scores", "draw_figure", "judge_claims", "merge_adapter",
    "render_table", "time_inference", "write_model_card", "write_report",
]  # fmt: skip


def test_touching_code_reruns_nothing(study):
    for file in (
        "lora_core/training/run.py",
        "workflow/scripts/train.py",
        "lora_core/reporting/catalogue.py",
        "config.yaml",
    ):
        (study.folder / file).touch()
    status, output = study.run("-n")
    assert (status, "Nothing to be done" in output) == (0, True)


def test_words_rerun_nothing(study):
    study.edit("lora_core/training/run.py", '"""', '"""In other words: ')
    study.edit("lora_core/job.py", '"""', '# A comment.\n"""In other words: ')
    study.edit("workflow/scripts/train.py", '"""', '"""In other words: ')
    assert study.plan() == set()


def test_a_setting_of_lora_reruns_lora_and_what_compares_it(study):
    study.configure(method_settings__lora__alpha=16)
    plan = study.plan()
    assert {job for job in plan if job.startswith("train")} == {
        f"train method=lora, task=cola, seed={seed}" for seed in (1, 2)
    }
    assert rules(plan) == {"train", "count_parameters", "probe_gradients", "check_memory", *LEAVES}
    assert not [job for job in plan if "method=fft" in job]


@pytest.mark.parametrize("method", ["fft", "lora"])
def test_swapped_hyperparameters_rerun_the_jobs_of_their_method_and_no_others(study, method):
    # The embedded protocol's values, in exchange: Snakemake compares params as a set of values without names.
    entry = f"method_settings__{method}__hyperparameters"
    study.configure(**{f"{entry}__warmup_ratio": 0.01, f"{entry}__weight_decay": 0.1})
    plan = study.plan()
    assert {job for job in plan if job.startswith("train")} == {
        f"train method={method}, task=cola, seed={seed}" for seed in (1, 2)
    }
    other = {"fft": "lora", "lora": "fft"}[method]
    assert not [job for job in plan if f"method={other}" in job]
    assert not rules(plan) & {"prepare_model", "tokenize_dataset"}


def test_swapped_limits_tokenize_again_and_swapped_passes_time_again(study):
    study.configure(data__max_train_examples=24, data__max_validation_examples=32)
    assert {"tokenize_dataset task=cola"} <= study.plan()
    study.configure(measure__latency_passes=4, measure__latency_single_examples=2)
    plan = study.plan()
    assert "time_inference task=cola, seed=1" in plan
    assert not rules(plan) & {"train", "tokenize_dataset"}


def test_an_edited_table_reruns_itself_and_the_report(study):
    study.edit("lora_core/reporting/tables/scores.py", "def draw(", "A_STATEMENT = 1\n\n\ndef draw(")
    assert study.plan() == {"render_table table=table2", "render_table table=table2-details", "write_report"}


def test_an_edited_frame_reruns_what_is_drawn_and_no_job_that_measures(study):
    study.edit("lora_core/evaluation/frames.py", "\n\n\n", "\n\n\nA_STATEMENT = 1\n\n\n")
    assert rules(study.plan()) == {"render_table", "draw_figure", "judge_claims", "write_report"}


def test_an_edited_model_card_reruns_the_cards_alone(study):
    study.edit("lora_core/reporting/model_card.py", "\n\n\n", "\n\n\nA_STATEMENT = 1\n\n\n")
    assert rules(study.plan()) == {"write_model_card"}


def test_an_edited_layer_reruns_the_runs_that_use_it(study):
    study.edit("lora_core/methods/layers.py", "down = rows @ a.T", "down = 0 + rows @ a.T")
    trained = {job for job in study.plan() if job.startswith("train")}
    assert trained == {f"train method=lora, task=cola, seed={seed}" for seed in (1, 2)}


def test_latency_passes_rerun_no_training(study):
    study.configure(measure__latency_passes=3)
    assert study.plan() == {
        "time_inference task=cola, seed=1", "render_table table=table3", "render_table table=table3-details",
        "draw_figure figure=latency", "draw_figure figure=pareto", "judge_claims", "write_report",
    }  # fmt: skip


def test_a_protocols_words_rerun_tables_alone_and_its_values_the_runs(study):
    study.edit("lora_core/config/protocols/embedded.yaml", "chosen for MiniLM", "picked for MiniLM")
    assert study.plan() == {"render_table table=table7", "render_table table=table7-details", "write_report"}
    study.edit("lora_core/config/protocols/embedded.yaml", "warmup_ratio: {value: 0.1", "warmup_ratio: {value: 0.2")
    assert len({job for job in study.plan() if job.startswith("train")}) == 4


def test_a_new_seed_trains_that_seed_alone(study):
    study.configure(seeds=[1, 2, 3])
    trained = {job for job in study.plan() if job.startswith("train")}
    assert trained == {f"train method={method}, task=cola, seed=3" for method in ("fft", "lora")}


@pytest.mark.slow
def test_a_deleted_seed_comes_back_exactly(study):
    before = study.weights("lora", 2)
    shutil.rmtree(study.folder / "results/runs/lora/cola/seed2")
    status, output = study.run()
    assert status == 0, output
    assert study.weights("lora", 2) == before
    assert [title for title in ended_jobs(output) if title.startswith("train ")] == ["train LoRA (own) on CoLA, seed 2"]


@pytest.mark.parametrize(
    ("file", "rule", "target"),
    [
        ("scores/cola_differences.csv", "compare_scores", "tables/table2.md"),
        ("latency/cola/seed1.json", "time_inference", "figures/latency.svg"),
        ("energy/cola.csv", "aggregate_energy", "figures/score_over_time.svg"),
        ("runs/lora/cola/seed1/power.csv", "train", "figures/power.svg"),
    ],
)
def test_a_missing_record_is_made_again_before_it_is_drawn(study, file, rule, target):
    missing, drawn = study.folder / "results" / file, study.folder / "results" / target
    originals = {path: (path.read_bytes(), path.stat()) for path in (missing, drawn)}
    for path in originals:
        path.unlink()
    try:
        assert rule in rules(study.plan(f"results/{target}"))
    finally:
        for path, (content, stat) in originals.items():
            path.write_bytes(content)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_the_papers_study_plans_its_whole_dag_without_a_network(tmp_path):
    project = Project(tmp_path / "project")
    plan = project.plan(overlay="config/paper.yaml")
    count = {rule: sum(job.split()[0] == rule for job in plan) for rule in rules(plan)}
    assert count == {
        "prepare_model": 1, "count_parameters": 1, "probe_gradients": 3, "tokenize_dataset": 5, "check_memory": 5,
        "train": 75,
        "merge_adapter": 50, "write_model_card": 75,
        "time_inference": 5, "aggregate_energy": 5, "collect_runs": 1, "render_table": 14, "draw_figure": 11,
        "compare_scores": 5, "judge_claims": 1, "write_report": 1,
    }  # fmt: skip


def test_tables_depend_on_what_they_show_and_on_nothing_else(tmp_path):
    project = Project(tmp_path / "project")
    assert rules(project.plan("results/tables/table1.md")) == {"prepare_model", "count_parameters", "render_table"}
    details = rules(project.plan("results/tables/table1-details.md"))
    assert details == {"prepare_model", "count_parameters", "probe_gradients", "render_table"}
    assert rules(project.plan("results/tables/table7.md")) == {"render_table"}
    runs = {"prepare_model", "tokenize_dataset", "check_memory", "train", "render_table"}
    assert rules(project.plan("results/tables/table2.md")) == {*runs, "compare_scores"}
    assert rules(project.plan("results/tables/table3.md")) == {*runs, "merge_adapter", "time_inference"}
    assert rules(project.plan("results/tables/table4.md")) == runs
    assert rules(project.plan("results/tables/table5.md")) == {*runs, "aggregate_energy"}


def test_claims_read_a_measurement_of_steps_where_there_is_one_and_make_no_study_measure_it(study):
    assert study.plan() == set()  # a study without it is complete
    regimes = write_regimes(study.folder / "results" / "regimes.json", {"cola": {"time": 1.5, "energy": None}})
    try:
        plan = study.plan()
    finally:
        regimes.unlink()
    assert {"judge_claims", "render_table table=table6-details", "write_report"} <= plan
    assert rules(plan) <= {"judge_claims", "render_table", "write_report"}
