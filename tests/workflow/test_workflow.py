"""The real snakemake on a tiny study: the chain, what it makes, what it says, and what happens when a run fails."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from builders import HANG_SECONDS, ROOT, ended_jobs, needs_latex, printed_words
from project import Project

from lora_core.reporting import catalogue

FIGURES = catalogue.default_figures(methods_equal_to_lora=True)


def test_the_chain_makes_every_table_and_a_second_run_makes_nothing(study):
    tables = study.folder / "results" / "tables"
    assert {f.name for f in tables.iterdir()} == {
        f"table{n}{details}.{s}"
        for n in range(1, 8)
        for details in ("", "-details")
        for s in ("md", "csv", "tex", "json")
    }
    assert "n/a" in (tables / "table5.md").read_text()
    figures = study.folder / "results" / "figures"
    names = [f"{figure}{ending}" for figure in FIGURES for ending in (".svg", "-narrow.svg", ".csv")]
    assert sorted(file.name for file in figures.iterdir()) == sorted(names)
    assert "not measured" in (figures / "energy_to_threshold.svg").read_text()
    status, output = study.run()
    assert (status, "Nothing to be done" in output) == (0, True)


@needs_latex
def test_the_tables_of_the_study_are_printed_with_its_labels(study, tmp_path):
    tables = sorted((study.folder / "results/tables").glob("*.tex"))
    words = printed_words(tmp_path, *(file.read_text() for file in tables))
    assert len(tables) == 14
    assert {"fine-tuning", "LoRA", "(own)", "method"} <= set(words)


def test_the_report_shows_the_study_and_snakemakes_own_has_every_result_with_its_caption(study):
    page = (study.folder / "results" / "report.html").read_text()
    of_energy = {"score_over_energy", "energy_to_threshold", "power"}  # which is not measured here
    assert set(re.findall(r'<figure id="figure-(\w+)"', page)) == set(FIGURES) - of_energy
    assert "random-bert on mini-GLUE" in page
    status, output = study.run("--report", "own.html")
    assert status == 0, output
    snakemake_report = (study.folder / "own.html").read_text()
    assert all(f'"figure": "{name}"' in snakemake_report for name in ("scores", "latency", "pareto"))
    assert all(
        f'"table": "table{number}{end}"' in snakemake_report for number in range(1, 8) for end in ("", "-details")
    )
    assert "What was not measured is left out, with the reason" in snakemake_report


def test_a_bundle_is_drawn_again_from_its_raw_records_and_a_changed_file_shows(study):
    stale = study.folder / "results" / "scores" / "rte.csv"  # of a task that was dropped
    stale.write_text("method\n")
    for name in ("one.zip", "two.zip"):
        packed = study.lora_core("bundle", name, "--configfile", "tiny.yaml")
        assert packed.returncode == 0, packed.stderr
    stale.unlink()
    one = study.folder / "one.zip"
    assert one.read_bytes() == (study.folder / "two.zip").read_bytes()
    with zipfile.ZipFile(one) as archive, zipfile.ZipFile(study.folder / "changed.zip", "w") as changed:
        names = archive.namelist()
        assert json.loads(archive.read("bundle.json")) == {"format": 2}
        for name in names:
            content = archive.read(name)
            if name == "config.json":  # what it says of folders does not count
                content = json.dumps(json.loads(content) | {"results_dir": "../elsewhere"}).encode()
            if not name.endswith("latency.svg"):
                changed.writestr(name, content.replace(b"0.0", b"0.9") if name.endswith("table2.md") else content)
    assert not [name for name in names if "weights" in name or "merged" in name or "rte" in name]
    assert {"config.json", "requirements.lock", "results/runs/lora/cola/seed1/run.json"} <= set(names)
    verified = study.lora_core("verify-bundle", "changed.zip")
    # Everything else came out the same.
    assert verified.stdout.splitlines() == [
        "results/figures/latency.svg is not in the bundle", "results/tables/table2.md differs",
    ], verified.stderr  # fmt: skip
    assert verified.returncode == 1


def test_what_is_no_bundle_of_a_finished_study_is_refused(study):
    with zipfile.ZipFile(study.folder / "newer.zip", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("bundle.json", '{"format": 3}')
    assert (
        "has the bundle format 3, and this version reads up to 2"
        in study.lora_core("verify-bundle", "newer.zip").stderr
    )
    study.configure(seeds=[1, 2, 3])
    assert "are not up to date" in study.lora_core("bundle", "three.zip", "--configfile", "tiny.yaml").stderr


def test_the_example_uses_what_a_study_leaves(study, tmp_path):
    command = [sys.executable, ROOT / "examples" / "use_results.py", study.folder / "results", "cola"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == [
        "merged model", "adapter", "adapter opened by PEFT", "custom model",
    ]  # fmt: skip
    merged, adapter = re.findall(r"(?:merged model|adapter): .*'((?:un)?acceptable)', 'score': 0\.\d+", result.stdout)
    assert merged == adapter


def test_the_terminal_has_one_line_for_each_job_and_the_complete_log_has_the_rest(study):
    lines = study.output.splitlines()
    done = [match for line in lines if (match := re.fullmatch(r" *(\d+)/(\d+) (\w+.*) \(\d+ s\)", line))]
    assert [int(match[1]) for match in done] == list(range(1, int(done[0][2]) + 1))
    assert "train LoRA (own) on CoLA, seed 2" in {match[3] for match in done}
    assert len(lines) < len(done) + 16, study.output  # of training: a line for each run
    for noise in ("rule ", "jobid", "resources:", "Select jobs", "SNAKEMAKE", "Job stats"):
        assert noise not in study.output
    (log,) = re.findall(r"Complete log\(s\): (.*)", study.output)
    assert "rule train:" in Path(log).read_text()


def test_the_summary_of_a_study_has_five_lines_and_ends_with_its_report(study):
    result = study.lora_core("summary", "--configfile", "tiny.yaml")
    assert result.returncode == 0, result.stderr
    *compared, last = result.stdout.splitlines()
    assert [line.partition(":")[0] for line in compared] == [
        "score", "trained parameters", "time per epoch", "training memory",
    ]  # fmt: skip
    assert all("full fine-tuning (" in line for line in compared[:3])
    assert last == "Open results/report.html"


def test_a_dry_run_shows_the_rules_and_their_reasons(study):
    (study.folder / "results/tables/table1.md").unlink()
    status, output = study.run("-n", "results/tables/table1.md")
    study.run("results/tables/table1.md")
    assert status == 0
    assert "rule render_table:" in output
    assert "reason: Missing output files: results/tables/table1.md" in output


def test_progress_is_shown_and_libraries_are_silent(study):
    assert re.search(
        r"train LoRA \(own\) on CoLA, seed 1: epoch 1/2, step \d+/\d+, matthews -?\d\.\d+, [\d,]+ tokens/s, 0:0\d left",
        study.output,
    )
    for noise in ("MISSING", "newly initialized", "UNEXPECTED", "Warning", "Loading weights"):
        assert noise not in study.output
    log = (study.folder / "results/logs/train/lora/cola/seed1.log").read_text()
    assert "epoch 2/2" in log


def test_results_name_no_path_user_or_host_of_the_machine(study):
    names = {str(study.made_in), str(ROOT), os.uname().nodename}
    for file in (study.folder / "results").rglob("*"):
        if file.suffix in (".json", ".csv", ".md", ".tex", ".log"):
            text = file.read_text()
            assert not [name for name in names if len(name) > 3 and name in text], file


def test_a_failed_run_leaves_the_others_and_runs_alone_the_next_time(tmp_path):
    project = Project(tmp_path / "project")
    diverging = {"learning_rate": 1000, "weight_decay": 1000, "epochs": 8}  # which multiplies the weights at every step
    project.configure(method_settings__lora__task_hyperparameters={"cola": diverging})
    status, output = project.run()
    assert status != 0
    assert "train LoRA (own) on CoLA, seed 1 failed: the loss is nan at step" in output
    summary = output[output.rindex("\ntrain LoRA (own) on CoLA, seed 2: the loss is nan at step") :]
    assert "log: results/logs/train/lora/cola/seed2.log" in summary
    target = "results/runs/lora/cola/seed2/run.json"
    assert re.search(rf"run it again: \S*snakemake --cores 1 {target} --configfile tiny.yaml\n", summary)
    shown = project.status()
    assert "4 runs, 2 done, 0 running, 2 failed, 0 left" in shown
    assert "failed: LoRA (own) on CoLA, seed 1: the loss is nan at step" in shown
    assert "left, judging from the finished runs" in shown
    assert "Traceback" not in output
    assert "Error in rule" not in output  # the job's own line and the summary say it
    assert not (project.folder / "results/runs/lora/cola/seed1/run.json").exists()
    log = (project.folder / "results/logs/train/lora/cola/seed1.log").read_text()
    assert "Traceback" in log
    assert str(project.folder) not in log
    finished = project.folder / "results/runs/fft/cola/seed1/run.json"
    stamp = finished.stat().st_mtime_ns
    project.configure()
    trained = {job for job in project.plan() if job.startswith("train")}
    assert trained == {f"train method=lora, task=cola, seed={seed}" for seed in (1, 2)}
    assert project.run("results/tables/table2.md")[0] == 0
    assert finished.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(("method", "task"), [("lora", "stsb"), pytest.param("fft", "mrpc", marks=pytest.mark.slow)])
def test_a_study_of_one_method_makes_all_that_it_can(tmp_path, method, task):
    project = Project(tmp_path / "project")
    project.configure(methods=[method], tasks=[task], seeds=[3], data__max_validation_examples=4)
    status, output = project.run()
    assert status == 0, output
    results = project.folder / "results"
    filled, empty = (results / f"tables/table{number}.md" for number in ((5, 6) if method == "fft" else (6, 5)))
    assert "No threshold: this study has no method that stands for " in filled.read_text()
    assert "The study has no method of this kind" in empty.read_text()
    with (results / "claims.csv").open() as stream:
        verdicts = {row["claim"]: row["verdict"] for row in csv.DictReader(stream)}
    counted = verdicts.pop(
        "LoRA (own) has 99.7 % fewer trainable parameters"
        if method == "lora"
        else "LoRA has 99.7 % fewer trainable parameters"
    )
    assert counted == ("not reproduced" if method == "lora" else "not measured")  # of a tiny model
    assert set(verdicts.values()) == {"not measured"}


def test_an_interrupted_study_goes_on_with_the_same_command(tmp_path):
    project = Project(tmp_path / "project")
    results = project.folder / "results"
    process = project.start("results/tables/table2.md")
    deadline = time.monotonic() + HANG_SECONDS
    # Runs go one at a time: when the second has a log, the first is finished.
    while len(list(results.glob("logs/train/**/*.log"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    (finished,) = results.rglob("run.json")
    stamp = finished.stat().st_mtime_ns
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: to snakemake and to the job
    process.communicate(timeout=HANG_SECONDS)
    assert len(list(results.rglob("run.json"))) < 4
    status, output = project.run("results/tables/table2.md")
    assert status == 0, output
    assert finished.stat().st_mtime_ns == stamp
    assert sum(title.startswith("train ") for title in ended_jobs(output)) == 3
    assert len(list(results.rglob("run.json"))) == 4
    assert not list(results.rglob("*.part"))
