"""`lora-core status`: which runs are done, running, failed and left, and how long the rest takes."""

import os
import re
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from builders import changed, run_content, write_run

from lora_core.commands import status
from lora_core.commands.durations import format_duration
from lora_core.commands.status import RunStatus, State
from lora_core.commands.studies import load_study
from lora_core.config import params
from lora_core.job_records import JobError, JobRecord
from lora_core.layout import Layout, exit_record
from lora_core.processes import this_process
from lora_core.records import write_json
from lora_core.training.progress import RunProgress

PROGRESS = RunProgress(
    method="lora", task="cola", seed=2, epoch=2, epochs=3, step=60, steps=90, metric="matthews", score=0.412,
    tokens_per_second=3210.0, seconds_left=65.0,
)  # fmt: skip
ELSEWHERE = replace(this_process(), host="another host")
ENDED = replace(this_process(), started="1")


@pytest.fixture
def study(tmp_path):
    return load_study(changed(results_dir=str(tmp_path), tasks=["cola"], methods=["fft", "lora"], seeds=[1, 2]))


def place(study, pattern, method, seed):
    return Path(pattern.format(method=method, task="cola", seed=seed))


def finish(study, method, seed, seconds, **settings):
    """A finished run that took so many seconds, with the study's settings but for these."""
    record = run_content(method, seed=seed, measurement={"train_seconds": seconds - 1, "eval_seconds": 1})
    record["run"] |= params.run_params(study, method, "cola", seed) | settings
    write_run(place(study, Layout(study.results_dir).run_record, method, seed), record)


def start(study, method, seed, state="running", process=None, error=None):
    """The exit record of a job that has not finished."""
    log = place(study, Layout(study.results_dir).train_log, method, seed)
    record = JobRecord("a title", "a study", state, process or this_process(), error)
    write_json(exit_record(log), asdict(record))
    return exit_record(log)


def report(study, process=None):
    """The progress of the second run of lora."""
    file = place(study, Layout(study.results_dir).progress, "lora", 2)
    process = asdict(process or this_process())
    write_json(file, asdict(PROGRESS) | {"process": process, "updated": "2026-11-27T05:00:00+00:00"})
    return file


def states(study):
    return {(run.method, run.seed): run.state for run in status.read_runs(study)}


def run_of_lora(study, seed=2):
    return next(run for run in status.read_runs(study) if (run.method, run.seed) == ("lora", seed))


def test_every_run_of_the_study_is_done_running_failed_or_left(study):
    finish(study, "fft", 1, 100)
    start(study, "lora", 1, "failed", error=JobError("ValueError", "the loss is nan"))
    start(study, "lora", 2)
    report(study)
    assert states(study) == {
        ("fft", 1): State.DONE, ("fft", 2): State.LEFT, ("lora", 1): State.FAILED, ("lora", 2): State.RUNNING,
    }  # fmt: skip
    text = status.format_status(study, status.read_runs(study))
    assert "4 runs, 1 done, 1 running, 1 failed, 1 left" in text
    assert (
        "running: LoRA (own) on CoLA, seed 2: epoch 2/3, step 60/90, matthews 0.412, 3,210 tokens/s, 1:05 left" in text
    )
    assert "failed: LoRA (own) on CoLA, seed 1: the loss is nan" in text
    assert re.search(r"^Full fine-tuning +1/2$", text, re.MULTILINE)
    assert re.search(r"^LoRA \(own\) +0/2[+!]{2}$", text, re.MULTILINE)
    # fft 2 like fft 1: 100 s; lora 1 like all: 100 s; lora 2 says 65 s itself.
    assert "About 4 min" in text


def test_a_running_job_whose_process_has_ended_was_killed(study):
    start(study, "lora", 2, process=ENDED)
    report(study, ENDED)
    assert run_of_lora(study).state == State.FAILED
    assert run_of_lora(study).detail.startswith("killed (SIGKILL")


def test_progress_of_an_earlier_job_is_not_that_of_the_running_one(study):
    start(study, "lora", 2)
    assert run_of_lora(study).detail == "starting"
    report(study, ENDED)
    assert (run_of_lora(study).detail, run_of_lora(study).seconds) == ("starting", None)


def test_a_job_on_another_machine_runs_while_it_writes_its_progress(study):
    record = start(study, "lora", 2, process=ELSEWHERE)
    file = report(study, ELSEWHERE)
    assert run_of_lora(study).state == State.RUNNING
    old = time.time() - status.SILENT_SECONDS - 1
    os.utime(record, (old, old))
    assert run_of_lora(study).state == State.RUNNING
    os.utime(file, (old, old))
    assert run_of_lora(study).state == State.FAILED


def test_a_job_that_waits_for_the_device_is_running_however_long_it_waits(study):
    record = start(study, "lora", 2, "waiting", ELSEWHERE)
    os.utime(record, (1, 1))
    assert (run_of_lora(study).state, run_of_lora(study).detail) == (State.RUNNING, "waiting for the device")


def test_a_finished_job_whose_results_were_removed_is_left(study):
    start(study, "lora", 2, "finished")
    assert run_of_lora(study).state == State.LEFT


def test_runs_that_others_start_from_count_and_no_others(tmp_path):
    start_from = {"method_settings__lora__task_hyperparameters": {"rte": {"start_from": "mnli"}}}
    config = changed(results_dir=str(tmp_path), tasks=["rte"], methods=["fft", "lora"], seeds=[1], **start_from)
    runs = status.read_runs(load_study(config))
    assert [(run.method, run.task) for run in runs] == [("fft", "rte"), ("lora", "rte"), ("lora", "mnli")]


def test_a_run_of_other_settings_is_left_and_says_why(study):
    finish(study, "lora", 1, 100, precision="bf16")
    assert run_of_lora(study, 1).state == State.LEFT
    text = status.format_status(study, status.read_runs(study))
    assert "left: LoRA (own) on CoLA, seed 1: rerun because settings differ (precision bf16 -> fp32)" in text


def test_a_run_is_expected_to_take_what_its_method_and_task_took():
    done = [
        RunStatus("fft", "cola", 1, State.DONE, seconds=100.0),
        RunStatus("lora", "cola", 1, State.DONE, seconds=50.0),
        RunStatus("fft", "rte", 1, State.DONE, seconds=300.0),
    ]
    left = RunStatus("fft", "cola", 2, State.LEFT)
    assert status.estimate_seconds_left([*done, left]) == pytest.approx(100)
    # lora on rte: lora took 50 where all took 150, and rte 300.
    assert status.estimate_seconds_left([*done, replace(left, method="lora", task="rte")]) == pytest.approx(100)
    assert status.estimate_seconds_left([*done, replace(left, state=State.RUNNING, seconds=7.0)]) == pytest.approx(7)
    assert status.estimate_seconds_left([left]) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(20, "1 min"), (3600, "1 h 0 min"), (5400, "1 h 30 min"), (90_000, "1 d 1 h")]
)
def test_durations_have_two_units(seconds, text):
    assert format_duration(seconds) == text
