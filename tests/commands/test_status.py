"""`make status`: what is done, running, failed and left, and how long the rest takes."""

import pytest
from builders import changed
from filelock import FileLock

from lora_core import job as joblog
from lora_core.commands import status
from lora_core.commands.status import DONE, FAILED, LEFT, RUNNING, Run
from lora_core.config.study import load
from lora_core.records import write_json

LINE = "lora cola seed 2: epoch 2/3, step 60/90, matthews 0.412, 3,210 tokens/s, 1:05 left"


@pytest.fixture
def study(tmp_path):
    return load(changed(results_dir=str(tmp_path), tasks=["cola"], methods=["fft", "lora"], seeds=[1, 2]))


def finished(results, method, seed, seconds, task="cola"):
    record = {"measurement": {"train_seconds": seconds - 1, "eval_seconds": 1}}
    write_json(results / "runs" / method / task / f"seed{seed}" / "run.json", record)


def logged(results, method, seed, *lines):
    log = results / "logs" / "train" / method / "cola" / f"seed{seed}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(f"{line}\n" for line in (joblog.FOR, *lines)))
    return log


def states(study):
    return {(run.method, run.seed): run.state for run in status.look(study)}


def test_every_run_of_the_study_is_done_running_failed_or_left(study, tmp_path, monkeypatch):
    monkeypatch.setattr(status, "QUIET_SECONDS", -1)
    finished(tmp_path, "fft", 1, 100)
    logged(tmp_path, "lora", 1, "Traceback", f"{joblog.FAILED}the loss is nan", joblog.ENDED)
    logged(tmp_path, "lora", 2, LINE)
    with FileLock(tmp_path / "runs" / "lora" / "cola" / "seed2" / ".lock"):
        assert states(study) == {("fft", 1): DONE, ("fft", 2): LEFT, ("lora", 1): FAILED, ("lora", 2): RUNNING}
        text = status.text(study, status.look(study))
    assert "4 runs, 1 done, 1 running, 1 failed, 1 left" in text
    assert f"now: {LINE}" in text
    assert "failed: lora cola seed 1: the loss is nan" in text
    # fft as the one that is done: 100; lora 1 like all: 100; lora 2 says itself: 65.
    assert "About 4 min" in text


def test_a_log_without_an_end_that_nobody_works_on_was_killed(study, tmp_path, monkeypatch):
    log = logged(tmp_path, "lora", 2, LINE)
    assert states(study)["lora", 2] == RUNNING  # it has just spoken
    monkeypatch.setattr(status, "QUIET_SECONDS", -1)
    (tmp_path / "runs/lora/cola/seed2").mkdir(parents=True)
    assert states(study)["lora", 2] == FAILED
    log.write_text(log.read_text() + "waiting: another measured job holds cpu\n")
    assert states(study)["lora", 2] == RUNNING


def test_runs_to_start_from_count_and_those_of_no_use_do_not(tmp_path):
    first = {"task_hyperparameters": {"rte": {"start_from": "mnli"}}}
    settings = {f"method_settings__{m}__{key}": value for m in ("lora",) for key, value in first.items()}
    study = load(changed(results_dir=str(tmp_path), tasks=["rte"], methods=["fft", "lora"], seeds=[1], **settings))
    assert [(run.method, run.task) for run in status.look(study)] == [("fft", "rte"), ("lora", "rte"), ("lora", "mnli")]


def test_what_is_left_takes_what_its_method_and_task_took():
    done = [Run("fft", "cola", 1, DONE, "", 100.0), Run("lora", "cola", 1, DONE, "", 50.0),
            Run("fft", "rte", 1, DONE, "", 300.0)]  # fmt: skip
    assert status.estimate([*done, Run("fft", "cola", 2, LEFT)]) == pytest.approx(100)
    # lora on rte: lora took 50 where all took 150, and rte 300.
    assert status.estimate([*done, Run("lora", "rte", 1, LEFT)]) == pytest.approx(50 * 300 / 150)
    assert status.estimate([*done, Run("fft", "cola", 2, RUNNING, "", 7.0)]) == pytest.approx(7)
    assert status.estimate([Run("fft", "cola", 2, LEFT)]) is None


def test_a_terminal_has_one_line_and_a_log_has_many(capfd):
    class Terminal:
        def __init__(self, tty):
            self.text, self.tty = "", tty

        def isatty(self):
            return self.tty

        def write(self, text):
            self.text += text

        def flush(self):
            pass

    for tty in (True, False):
        joblog.Progress.console = Terminal(tty)
        try:
            progress = joblog.Progress("lora cola seed 1")
            progress.say("epoch 1")
            progress.say("epoch 2")
            joblog.Progress.close()
            shown = joblog.Progress.console.text
        finally:
            joblog.Progress.console = None
        assert shown.count("\n") == (1 if tty else 2)
        assert shown.count("\r") == (2 if tty else 0)
    assert capfd.readouterr().err.count("lora cola seed 1: epoch 2\n") == 2
