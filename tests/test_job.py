"""A job's log and exit record: whole output in the log, one line on the terminal, how it ended as data."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders import HANG_SECONDS, ROOT
from filelock import FileLock

from lora_core import job
from lora_core.console import Console
from lora_core.job_records import JobError, read_job_record
from lora_core.layout import exit_record
from lora_core.processes import has_ended
from lora_core.records import read_json, write_json
from lora_core.training.progress import Progress


def run_job(folder, code, log="logs/a.log", outputs=(), **popen):
    """A process whose job runs `code`; started in `folder`."""
    program = f"import os, sys, signal, time\nfrom pathlib import Path\nfrom lora_core.job import job_log\n" \
              f"with job_log('{log}', 'train lora', {outputs}):\n    {code}\n"  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), job.STUDY_VARIABLE: "study 1"}
    return subprocess.Popen(
        [sys.executable, "-c", program], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen,
    )  # fmt: skip


def wait_until(condition, process, seconds=HANG_SECONDS):
    """Wait for a condition while a process runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the process has ended"
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)


def finished(folder, code):
    """Exit status, standard error, log and record of a job that runs `code`."""
    process = run_job(folder, code)
    output, errors = process.communicate(timeout=HANG_SECONDS)
    assert output == ""
    log = folder / "logs" / "a.log"
    return process.returncode, errors, log.read_text(), read_job_record(exit_record(log))


def test_what_a_job_prints_is_in_its_log_and_the_record_says_that_it_finished(tmp_path):
    status, errors, log, record = finished(
        tmp_path, "print('one'); print('two', file=sys.stderr); os.system('echo three')"
    )
    assert (status, errors) == (0, "")
    assert {"one", "two", "three"} <= set(log.split())
    assert (record.title, record.study, record.state, record.error) == ("train lora", "study 1", "finished", None)
    assert has_ended(record.process)


@pytest.mark.parametrize(
    "code",
    [
        "import atexit; atexit.register(os.abort)",
        "import atexit; atexit.register(sys.exit, 3)",
        "import atexit; atexit.register(os.kill, os.getpid(), signal.SIGKILL)",
        "import threading; threading.Thread(target=time.sleep, args=(600,)).start()",
        "sys.stdout.close()",
        "sys.stdout = open('/dev/full', 'w'); sys.stdout.write('to a log on a full disk')",
    ],
)
def test_a_job_that_says_that_it_is_finished_is_not_failed_by_what_comes_after(tmp_path, code):
    process = run_job(tmp_path, code)
    process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0
    assert read_job_record(tmp_path / "logs" / "a.json").state == "finished"


def test_no_signal_ends_a_job_that_is_finished(tmp_path):
    kill = "[os.kill(os.getpid(), number) for number in (signal.SIGTERM, signal.SIGINT)]"
    code = f"from lora_core import job; job.shorten_paths_in = lambda log: {kill}"
    process = run_job(tmp_path, code)
    process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0
    assert read_job_record(tmp_path / "logs" / "a.json").state == "finished"


def test_a_finished_job_records_the_size_of_every_file_that_it_made(tmp_path):
    made = {"a.csv": "12345", "weights/a": "1", "weights/below/b": "", "elsewhere": "no output"}
    for name, content in made.items():
        file = tmp_path / "results" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    outputs = ["results/a.csv", "results/weights", "results/missing"]
    process = run_job(tmp_path, "pass", log="results/logs/train/a.log", outputs=outputs)
    _, errors = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, errors) == (0, "")
    record = read_job_record(tmp_path / "results/logs/train/a.json")
    assert record.outputs == {"a.csv": 5, "weights/a": 1, "weights/below/b": 0}


def test_a_record_of_an_earlier_version_has_no_outputs(tmp_path):
    run_job(tmp_path, "pass").communicate(timeout=HANG_SECONDS)
    content = read_json(tmp_path / "logs/a.json")
    del content["outputs"]
    write_json(tmp_path / "logs/a.json", content)
    assert read_job_record(tmp_path / "logs/a.json").outputs is None


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("raise ValueError('the loss is nan;  lower it')", JobError("ValueError", "the loss is nan; lower it")),
        ("raise KeyError('x')", JobError("KeyError", "KeyError: 'x'")),
        ("raise MemoryError", JobError("MemoryError", "MemoryError")),
        ("raise KeyboardInterrupt", JobError("KeyboardInterrupt", "interrupted")),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", JobError("SystemExit", "stopped by SIGTERM")),
        (
            "raise OSError(28, 'No space left on device')",
            JobError("OSError", "OSError: [Errno 28] No space left on device", 28),
        ),
        (
            "raise RuntimeError('I/O error: File too large (os error 27)')",
            JobError("RuntimeError", "RuntimeError: I/O error: File too large (os error 27)", 27),
        ),
        (
            "raise FileNotFoundError(2, 'No such file', str(Path('x').absolute()))",
            JobError("FileNotFoundError", "FileNotFoundError: [Errno 2] No such file: './x'", 2),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value.type,
)
def test_a_failure_is_one_line_on_the_terminal_and_the_whole_story_in_the_log(tmp_path, code, error):
    status, errors, log, record = finished(tmp_path, code)
    assert status == 1
    assert errors == f"train lora failed: {error.message} (log: logs/a.log)\n"
    assert "Traceback" in log
    assert str(tmp_path) not in log  # results may be shared
    assert (record.state, record.error) == ("failed", error)


def test_a_killed_job_leaves_a_record_that_says_running_of_a_process_that_has_ended(tmp_path):
    process = run_job(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    process.communicate(timeout=HANG_SECONDS)
    record = read_job_record(tmp_path / "logs" / "a.json")
    assert process.returncode == -signal.SIGKILL
    assert record.state == "running"
    assert has_ended(record.process)


def test_a_job_that_waits_for_a_lock_says_so(tmp_path):
    record = tmp_path / "logs" / "a.json"
    code = "from lora_core.device import file_lock\n    with file_lock(Path('lock'), 'this run'): print('there')"
    with FileLock(tmp_path / "lock"):
        process = run_job(tmp_path, code)
        try:
            wait_until(lambda: record.exists() and read_job_record(record).state == "waiting", process)
        except AssertionError:
            process.kill()
            raise
    process.communicate(timeout=HANG_SECONDS)
    log = (tmp_path / "logs" / "a.log").read_text()
    assert "waiting: another measured job is using this run" in log
    assert "there" in log
    assert read_job_record(record).state == "finished"


def test_a_job_ends_with_the_snakemake_that_started_it(tmp_path):
    script = tmp_path / "snakemake"
    code = "import time; time.sleep(2); print('ready', flush=True); time.sleep(60)"  # by then its parents are known
    program = f"from lora_core.job import job_log\nwith job_log('a.log', 'a job'):\n    {code}\n"
    script.write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {program!r}])\n")
    snakemake = subprocess.Popen(
        [sys.executable, script], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
    )
    log = tmp_path / "a.log"
    wait_until(lambda: log.exists() and "ready" in log.read_text(), snakemake)
    snakemake.kill()
    snakemake.wait()
    process = read_job_record(tmp_path / "a.json").process
    deadline = time.monotonic() + HANG_SECONDS
    while not has_ended(process):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert read_job_record(tmp_path / "a.json").error.type == "SnakemakeEnded"


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "a.json").write_text('{"title": "a"}')
    with pytest.raises(ValueError, match=r"a\.json is damaged"):
        read_job_record(tmp_path / "a.json")


class Terminal(io.StringIO):
    def __init__(self, tty):
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


@pytest.mark.parametrize("tty", [True, False])
def test_a_terminal_has_one_live_line_and_a_log_has_many(tty, monkeypatch, capfd):
    terminal = Terminal(tty)
    console = Console(terminal)
    monkeypatch.setattr(job, "console", lambda: console)
    progress = Progress("lora cola seed 1")
    progress.report("epoch 1")
    progress.report("epoch 2")
    console.close_line()
    shown = terminal.getvalue()
    assert shown.count("\n") == 1
    assert shown.count("\r") == (2 if tty else 0)
    assert capfd.readouterr().err.count("lora cola seed 1: epoch 2\n") == 1


def test_a_terminal_without_a_live_line_has_the_first_line_and_one_a_minute(monkeypatch):
    terminal = Terminal(False)
    monkeypatch.setattr(job, "console", lambda: Console(terminal))
    clock = [100.0]
    monkeypatch.setattr("lora_core.training.progress.time.monotonic", lambda: clock[0])
    progress = Progress("fft rte seed 1")
    for seconds in (1, 40, 60.9, 61, 100, 121):
        clock[0] = 100.0 + seconds
        progress.report(f"after {seconds} s")
    assert terminal.getvalue().splitlines() == [f"fft rte seed 1: after {seconds} s" for seconds in (1, 61, 121)]


def test_progress_between_reports_goes_to_the_live_line_alone(monkeypatch, capfd):
    terminal = Terminal(True)
    console = Console(terminal)
    monkeypatch.setattr(job, "console", lambda: console)
    clock = [100.0]
    monkeypatch.setattr("lora_core.training.progress.time.monotonic", lambda: clock[0])
    progress = Progress("scaling")
    for seconds, line in ((0.5, "too soon"), (1.5, "live"), (2.0, "too soon"), (11.0, "logged")):
        clock[0] = 100.0 + seconds
        progress.update(line)
    assert capfd.readouterr().err == "scaling: logged\n"
    assert [part.split("\x1b")[0] for part in terminal.getvalue().split("\r")[1:]] == [
        "scaling: live",
        "scaling: logged",
    ]


def test_a_line_on_the_console_ends_the_live_line_first():
    terminal = Terminal(True)
    console = Console(terminal)
    console.overwrite("step 1")
    console.print("failed")
    assert terminal.getvalue().endswith("\x1b[K\nfailed\n")


def test_outside_of_a_job_there_is_no_console_and_waiting_does_nothing():
    assert job.console() is None
    with job.waiting():
        pass
    assert exit_record(Path("logs/train/a.log")) == Path("logs/train/a.json")


def test_a_log_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "logs").touch()
    with pytest.raises(SystemExit), job.job_log(tmp_path / "logs" / "job.log", "a title"):
        pass
    assert f"a title failed: its log {tmp_path / 'logs' / 'job.log'} cannot be written (" in capsys.readouterr().err
