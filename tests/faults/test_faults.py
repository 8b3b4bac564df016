"""Faults injected into the real workflow. After each, the same command finishes the work: nothing lost or wrong."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys

import pytest
from builders import FAULTS, HANG_SECONDS, ROOT
from faults import STEPS, TABLE
from project import glue

from lora_core.processes import start_time
from lora_core.records import read_json

RUN = "results/runs/{}/cola/seed1"
UNLOCKING = "unlocking: the snakemake that locked this folder was killed"
RERUN = "run the same command again: it continues with what is left"
WITHOUT_STATE = ("before the first checkpoint", "in the middle of an epoch")  # no earlier part has saved a state
# In an order in which one study can be stopped at all of them, one after the other.
POINTS = {
    "before the first checkpoint": "step 2",
    "in the middle of an epoch": f"step {STEPS + 2}",
    "while a checkpoint is written": "write state.safetensors",
    "while the weights are written": "write weights",
    "while the history is written": "write history.csv",
    "while the record is written": "write run.json",
}


@pytest.mark.faults
def test_kill_9_of_snakemake_ends_its_job_too_and_the_next_command_removes_the_lock(project, finish):
    *_, last = POINTS
    for point in POINTS:
        process = project.begin(POINTS[point])
        job = project.reached()
        process.kill()
        process.wait()
        project.wait(lambda job=job: start_time(job) is None)
        if point != last:
            FAULTS["tried"] += 1
            assert UNLOCKING in project.unlock(), point
    assert UNLOCKING in project.make_tables()
    finish()


@pytest.mark.faults
def test_kill_9_of_a_job_is_named_and_it_resumes_after_its_last_epoch(project, finish):
    for point in POINTS:
        process = project.begin(POINTS[point])
        os.kill(project.reached(), signal.SIGKILL)
        output, _ = process.communicate(timeout=HANG_SECONDS)
        assert process.returncode != 0
        assert "on CoLA, seed 1: killed (SIGKILL; possibly out of memory" in output, point
        assert ("resuming after epoch" in output) == (point not in WITHOUT_STATE), point
    FAULTS["tried"] += len(POINTS) - 1
    assert "resuming after epoch 3 (part 7)" in finish()


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_job_and_is_named(project, finish, kind):
    process = project.begin(POINTS["in the middle of an epoch"])
    job = project.reached()
    if kind == "SIGINT":  # as Ctrl-C: to snakemake and to the job
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(job, signal.SIGTERM)
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode != 0
    sentence = {"SIGINT": "interrupted", "SIGTERM": "stopped by SIGTERM"}[kind]
    assert f"on CoLA, seed 1 failed: {sentence} (log: " in output
    if kind == "SIGTERM":  # after Ctrl-C, snakemake prints no summary
        assert f"on CoLA, seed 1: {sentence}; {RERUN}" in output
    finish()


@pytest.mark.faults
def test_sigterm_to_snakemake_lets_the_running_job_end(project, finish):
    process = project.begin(POINTS["in the middle of an epoch"], seconds=3)
    project.reached()
    process.terminate()
    process.communicate(timeout=HANG_SECONDS)
    assert process.returncode != 0
    project.note()
    assert len(project.whole) == 1
    finish()


def limited(size: int):
    """In the child: files may not grow beyond `size` bytes, as on a disk that is full."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.faults
def test_a_full_disk_stops_a_run_with_advice(project, finish):
    process = project.begin("", before=limited(60_000))  # less than a model's weights
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode != 0
    assert "on CoLA, seed 1 failed: " in output
    assert f"raise the limit on file sizes (ulimit -f), then {RERUN}" in output
    log = (project.results / "logs/train/fft/cola/seed1.log").read_text()
    assert "no further checkpoints are written to" in log  # which did not end the run
    left = {file.name for file in (project.folder / RUN.format("fft")).rglob("*")}
    assert left <= {".lock", "progress.json"}
    finish()


@pytest.mark.faults
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
@pytest.mark.parametrize("state", ["full", "read-only"])
def test_a_full_or_read_only_file_system_stops_a_run_with_its_reason(project, finish, state):
    runs = project.results / "runs"
    runs.mkdir()
    size = "64k" if state == "full" else "64m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", runs], check=True)
    try:
        if state == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", runs], check=True)
        status, output = project.run(TABLE)
        assert status != 0
        reason = "No space left on device" if state == "full" else "Read-only file system"
        assert reason in output
    finally:
        subprocess.run(["umount", runs], check=True)
    finish()


@pytest.mark.faults
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; make test-faults mounts read-only")
def test_a_read_only_results_folder_stops_the_study_with_its_reason(project, finish):
    project.results.chmod(0o555)
    status, output = project.run(TABLE)
    project.results.chmod(0o755)
    assert status != 0
    assert "Permission denied" in output
    finish()


HARMS = {  # that leave the size as it is; test_unfinished.py has the others
    "zeroed": lambda content: content[:8] + bytes(len(content) - 8),  # with zeros alone it is found at the start
    "bit-flipped": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
}


@pytest.mark.faults
@pytest.mark.parametrize(
    ("files", "target"),
    [
        (("data/cola/train.safetensors", "data/cola/card.json"), TABLE),
        (("runs/lora/cola/seed1/weights/adapter_model.safetensors",), "results/merged/lora/cola/seed1"),
        (("runs/lora/cola/seed1/history.csv",), "results/energy/cola.csv"),
        (("runs/lora/cola/seed1/predictions.safetensors",), "results/scores/cola.csv"),
    ],
    ids=["dataset", "adapter", "history", "predictions"],
)
def test_a_damaged_file_is_named_before_anything_is_made_from_it(project, finished, finish, files, target):
    if target != TABLE:
        project.take(finished)
    made = project.folder / target
    if made.is_dir():
        shutil.rmtree(made)
    else:
        made.unlink(missing_ok=True)
    for file in files:
        path = project.results / file
        content = path.read_bytes()
        for harm, damage in HARMS.items():
            if harm == "bit-flipped" and path.suffix == ".json":
                continue  # one valid word for another
            path.write_bytes(damage(content))
            status, output = project.run(target)
            assert status != 0
            assert f"{file} is damaged" in output, harm
            assert "and run again" in output
            assert not made.exists()
            FAULTS["tried"] += file != files[0] or harm != "zeroed"
    folders = re.findall(r"delete the folder (\S+) and run again", output)
    shutil.rmtree(project.folder / (folders[-1] if folders else path.parent))
    finish(target)


@pytest.mark.faults
def test_a_second_snakemake_in_the_folder_is_refused_by_the_lock(project, finish):
    first = project.begin(POINTS["in the middle of an epoch"], seconds=8)
    project.reached()
    status, output = project.run(TABLE)
    assert status != 0
    assert "Directory cannot be locked" in output
    assert project.unlock() == ""  # the first is still running
    output, _ = first.communicate(timeout=HANG_SECONDS)
    assert first.returncode == 0, output
    assert "Nothing to be done" in finish()


@pytest.mark.faults
def test_out_of_memory_is_named(project, finish):
    process = project.begin("memory 3")
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode != 0
    assert "on CoLA, seed 1: out of memory (" in output
    assert "free some, or add {micro_batch_size: 4} or {gradient_checkpointing: true} to its hyperparameters" in output
    finish()


@pytest.mark.faults
def test_a_clock_set_back_changes_no_time(project, finish):
    process = project.begin("clock 6")
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0, output
    for path in project.results.glob("runs/*/*/*/run.json"):
        measured = read_json(path)["measurement"]
        assert 0 < measured["train_seconds"] < 120
        assert 0 < measured["eval_seconds"] < 120
    finish()


@pytest.mark.faults
def test_a_loss_that_is_not_finite_is_refused(project, finish):
    for value in ("nan", "inf"):
        process = project.begin(f"{value} 3", f"{RUN.format('lora')}/run.json")
        output, _ = process.communicate(timeout=HANG_SECONDS)
        assert process.returncode != 0
        assert "train LoRA (own) on CoLA, seed 1 failed: the loss is " in output
        assert not (project.folder / RUN.format("lora") / "run.json").exists()
    finish()


ODD = {
    "empty": "",
    "spaces": "   ",
    "right to left": "الكلب ينبح בלילה",
    "astral": "🐕 barks 𝔞𝔱 𐍈 🏳️‍🌈",
    "control": "a\x00b\tc\u202ed\ufeff",
}


@pytest.mark.faults
@pytest.mark.parametrize("data", ["odd characters", "one example", "one label", "100,000 characters"])
def test_odd_data_trains(project, data):
    texts = {
        "odd characters": [*ODD.values()] * 2,
        "one example": ["A dog barks."],
        "one label": ["A dog barks."] * 6,
        "100,000 characters": ["dog " * 25_000, "x" * 100_000, "A dog barks."],
    }[data]
    labels = [0] * len(texts) if data == "one label" else [i % 2 for i in range(len(texts))]
    glue(project.folder / "glue", sentence=texts, label=labels, idx=list(range(len(texts))))
    project.configure(**project.study, data={"source": "local", "path": "glue"}, results_dir="odd", methods=["lora"])
    status, output = project.run("odd/tables/table2.md", "odd/energy/cola.csv")
    assert status == 0, output
    record = read_json(project.folder / "odd/runs/lora/cola/seed1/run.json")
    assert record["run"]["data"]["train"]["examples"] == len(texts)
    assert record["run"]["data"]["train"]["longest"] <= record["run"]["data"]["max_length"]
    assert "nan" not in (project.folder / "odd/tables/table2.md").read_text().lower()


@pytest.mark.faults
def test_a_package_with_another_hash_than_the_lock_is_not_installed(tmp_path):
    lock = (ROOT / "requirements.lock").read_text()
    (entry,) = re.findall(r"^argparse-dataclass==.*?(?=^\S)", lock, re.MULTILINE | re.DOTALL)
    (tmp_path / "requirements.lock").write_text(
        re.sub(r"sha256:(.)", lambda m: f"sha256:{'0' if m[1] != '0' else '1'}", entry)
    )
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    command = ["make", f"PYTHON={sys.executable}", "setup"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    output = result.stdout + result.stderr
    if "No matching distribution" in output:
        pytest.skip("no package index can be reached from here")
    assert result.returncode != 0
    assert "DO NOT MATCH THE HASHES" in output
    assert not (tmp_path / ".venv/installed").exists()
