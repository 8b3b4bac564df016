"""Resuming after a kill -9: the same weights, scores and predictions, bit for bit."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from builders import FULL, HANG_SECONDS, LORA, ROOT, run_inputs, run_outputs, spec, unmeasured_rows, without_measured

from lora_core import provenance
from lora_core.measuring import power_trace as trace
from lora_core.records import PowerRow, read_json, read_rows
from lora_core.training.checkpoint import CheckpointSettings, open_checkpoint
from lora_core.training.inputs import digest_inputs
from lora_core.training.run import _dependencies, train

EPOCHS = 3
STEPS = 8  # an epoch: 64 examples in batches of 8
DISTURBED = """
import os, signal, sys
from pathlib import Path
import torch
sys.path.insert(0, {tests!r})
from builders import run_inputs, run_outputs, spec
from lora_core.training.checkpoint import CheckpointSettings
from lora_core.training.run import train
steps, plain = 0, torch.optim.AdamW.step
def step(self, *rest):
    global steps
    steps += 1
    if steps == {at}:
        {what}
    return plain(self, *rest)
torch.optim.AdamW.step = step
train(spec({settings!r}, **{changes!r}), run_inputs(Path({model!r}), Path({data!r})), run_outputs(Path({out!r})),
      checkpoints=CheckpointSettings(Path({folder!r}), 0, "code"))
"""
CHANGES = {"hyperparameters": {"epochs": EPOCHS, "dropout": 0.1}, "sample_seconds": 0.05}


class Study:
    def __init__(self, settings: dict, model: Path, data: Path, folder: Path) -> None:
        self.settings, self.model, self.data = settings, model, data
        self.out, self.folder = folder / "run", folder / "checkpoints"

    def command(self, at: int, what: str) -> list[str]:
        """A part that does `what` in its step number `at`."""
        code = DISTURBED.format(tests=str(ROOT / "tests"), at=at, what=what, settings=self.settings, changes=CHANGES,
                                model=str(self.model), data=str(self.data), out=str(self.out),
                                folder=str(self.folder))  # fmt: skip
        return [sys.executable, "-c", code]

    def kill(self, at: int) -> None:
        """A part that is killed in its step number `at`."""
        command = self.command(at, "os.kill(os.getpid(), signal.SIGKILL)")
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not (self.out / "run.json").exists()

    def train(self, run, seconds, code="code"):
        checkpoints = CheckpointSettings(self.folder, seconds, code)
        train(run, run_inputs(self.model, self.data), run_outputs(self.out), checkpoints=checkpoints)

    def finish(self, **changes) -> Path:
        self.train(spec(self.settings, **CHANGES | changes), 0)
        assert not self.folder.exists()
        return self.out


@pytest.fixture(scope="module")
def killed(bert, cola, tmp_path_factory) -> Path:
    """What a run leaves that is killed in its second epoch."""
    study = Study(LORA, bert, cola, tmp_path_factory.mktemp("killed"))
    study.kill(STEPS + 3)
    return study.folder


@pytest.fixture
def study(bert, cola, killed, tmp_path) -> Study:
    study = Study(LORA, bert, cola, tmp_path)
    shutil.copytree(killed, study.folder)
    return study


@pytest.fixture(scope="module", params=[LORA, FULL], ids=["lora", "full"])
def undisturbed(request, bert, cola, tmp_path_factory) -> Study:
    study = Study(request.param, bert, cola, tmp_path_factory.mktemp("undisturbed"))
    study.finish()
    return study


def same(one: Path, two: Path) -> None:
    """All that is not measured is the same, byte for byte."""
    weights = {p.name for p in (one / "weights").iterdir()}
    assert weights == {p.name for p in (two / "weights").iterdir()}
    for file in (*(f"weights/{name}" for name in weights), "predictions.safetensors"):
        assert (one / file).read_bytes() == (two / file).read_bytes(), file
    assert unmeasured_rows(one / "history.csv") == unmeasured_rows(two / "history.csv")
    records = [read_json(out / "run.json") for out in (one, two)]
    assert records[0]["run"] == records[1]["run"]
    assert without_measured(records[0]["measurement"]) == without_measured(records[1]["measurement"])


def test_a_run_killed_in_an_epoch_ends_as_if_it_had_not_been(undisturbed, tmp_path):
    study = Study(undisturbed.settings, undisturbed.model, undisturbed.data, tmp_path)
    study.kill(STEPS + 3)  # in the second epoch
    study.kill(STEPS + 2)  # in the third, by a part that went on from the first
    same(study.finish(), undisturbed.out)
    history = list(csv.DictReader((study.out / "history.csv").open()))
    assert [row["part"] for row in history] == ["0", "1", "2"]
    measured = read_json(study.out / "run.json")["measurement"]
    assert measured["parts"] == 3
    assert measured["train_seconds"] == sum(float(row["train_seconds"]) for row in history)
    rows = read_rows(study.out / "power.csv", PowerRow)
    assert len(trace.windows(rows, "train")) == EPOCHS
    lost = trace.windows(rows, "lost")
    assert [window[0].part for window in lost] == [0, 1]
    assert measured["lost"] == {"seconds": sum(map(trace.seconds, lost)), "energy_joules": None}


def test_a_run_killed_before_its_first_checkpoint_starts_again_and_says_what_was_lost(undisturbed, tmp_path):
    study = Study(undisturbed.settings, undisturbed.model, undisturbed.data, tmp_path)
    study.kill(3)
    same(study.finish(), undisturbed.out)
    assert read_json(study.out / "run.json")["measurement"]["parts"] == 2


@pytest.mark.parametrize(
    ("changes", "files"),
    [
        ({"seed": 2}, []),
        ({"hyperparameters": CHANGES["hyperparameters"] | {"learning_rate": 2e-3}}, []),
        ({}, ["data"]),
    ],
    ids=["seed", "learning rate", "data"],
)
def test_a_checkpoint_with_other_settings_or_data_is_discarded(study, capfd, tmp_path, changes, files):
    if files:
        study.data = Path(shutil.copytree(study.data, tmp_path / "other"))
        with (study.data / "card.json").open("a") as stream:
            stream.write("\n")
    study.finish(**changes)
    assert (
        "cannot be resumed: it belongs to other settings, code, data or another machine; the run starts from "
        "the beginning" in capfd.readouterr().err
    )
    assert read_json(study.out / "run.json")["measurement"]["parts"] == 1


@pytest.mark.parametrize("file", ["state.safetensors", "power.csv"])
@pytest.mark.parametrize("harm", ["truncated", "empty", "bit-flipped"])
def test_a_damaged_checkpoint_is_discarded(study, capfd, file, harm):
    path = study.folder / file
    content = path.read_bytes()
    middle = len(content) // 4 if file == "power.csv" else len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    path.write_bytes({"truncated": content[:middle], "empty": b"", "bit-flipped": flipped}[harm])
    study.finish()
    assert f"cannot be resumed: {file} is damaged" in capfd.readouterr().err
    assert read_json(study.out / "run.json")["measurement"]["parts"] == 1


def test_only_a_run_planned_to_be_long_keeps_its_state(bert, cola, tmp_path, monkeypatch):
    from lora_core.training import checkpoint

    written = []
    monkeypatch.setattr(checkpoint, "write_state", lambda path, state: written.append(path))
    for seconds in (0, 3600, None):
        checkpoints = CheckpointSettings(tmp_path / "checkpoints", seconds, "code")
        train(spec(LORA), run_inputs(bert, cola), run_outputs(tmp_path / "run"), checkpoints=checkpoints)
        assert len(written) == (2 if seconds == 0 else 0), seconds
        written.clear()
        assert not (tmp_path / "checkpoints").exists()


def test_other_code_is_another_key(study, capfd):
    study.train(spec(LORA, **CHANGES), 0, code="other code")
    assert "cannot be resumed: it belongs to other settings, code" in capfd.readouterr().err


def test_other_threads_packages_libraries_or_processors_are_another_key(bert, cola, tmp_path):
    run, digests = spec(LORA), digest_inputs(run_inputs(bert, cola))
    started = replace(provenance.collect(torch.device("cpu"), 1), device_model="a CPU")
    changes = [
        {}, {"threads": 2}, {"packages": {"torch": "3"}}, {"device_model": "another CPU"}, {"cuda": "13.0"},
        {"cudnn": "9.20.0"}, {"precision": "tf32"}, {"commit": "5678"},
    ]  # fmt: skip
    keys = []
    for changed in changes:
        open_checkpoint(
            CheckpointSettings(tmp_path / "checkpoints", 0, "code"),
            _dependencies(run, digests, replace(started, **changed)),
        )
        keys.append((tmp_path / "checkpoints" / "key").read_text())
    assert len(set(keys)) == len(changes) - 1
    assert keys[-1] == keys[0]  # a commit decides nothing that the code's digest does not


def test_a_checkpoint_without_its_key_is_discarded(study, capfd):
    (study.folder / "key").unlink()
    study.finish()
    assert "cannot be resumed" in capfd.readouterr().err


def test_a_full_disk_while_resuming_costs_no_state(study, monkeypatch):
    with (study.folder / "power.csv").open("a") as stream:
        stream.write("torn")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        study.finish()
    assert (study.folder / "state.safetensors").exists()


@pytest.mark.parametrize("loss", ["the folder", "the folder above", "a file in its place", "the samples"])
def test_a_checkpoint_lost_while_the_run_trains_costs_no_run(undisturbed, tmp_path, capfd, monkeypatch, loss):
    from lora_core.training import training_step

    study = Study(undisturbed.settings, undisturbed.model, undisturbed.data, tmp_path)
    study.folder = study.folder / "this run"
    plain, steps = training_step.optimizer_step, []

    def step(*arguments):
        steps.append(1)
        if len(steps) == STEPS + 3:
            assert (study.folder / "state.safetensors").exists()
            if loss == "the samples":
                (study.folder / "power.csv").unlink()
            else:
                shutil.rmtree(study.folder.parent if loss == "the folder above" else study.folder)
            if loss == "a file in its place":
                study.folder.write_text("")
        return plain(*arguments)

    monkeypatch.setattr(training_step, "optimizer_step", step)
    study.train(spec(study.settings, **CHANGES), 0)
    same(study.out, undisturbed.out)
    line = f"no further checkpoints are written to {study.folder}: "
    assert capfd.readouterr().err.count(line) == 1


def test_samples_are_on_the_disk_before_the_state_that_counts_them(study, monkeypatch):
    from lora_core.training import checkpoint

    written = []
    monkeypatch.setattr(checkpoint, "write_through", lambda path: written.append(path.name))
    monkeypatch.setattr(checkpoint, "write_state", lambda path, state: written.append(path.name))
    study.finish()
    assert written == ["power.csv", "state.safetensors"] * (EPOCHS - 1)  # the first epoch is of an earlier part


def test_a_run_without_checkpoints_deletes_an_earlier_one(study):
    study.train(spec(LORA, **CHANGES), None)
    assert not study.folder.exists()
    assert read_json(study.out / "run.json")["measurement"]["parts"] == 1


def test_a_second_job_of_a_run_waits_for_the_first_and_keeps_what_that_made(study, tmp_path):
    """As an orphan on another machine: with another folder for temporary files, the device's lock is not shared."""
    command = study.command(3, "print('there', flush=True); sys.stdin.read(1)")

    def start(name: str) -> subprocess.Popen:
        (tmp_path / name).mkdir()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=ROOT, text=True,
                                env=os.environ | {"TMPDIR": str(tmp_path / name)}, **pipes)  # fmt: skip

    first = start("one")
    assert first.stdout.readline() == "there\n"
    second = start("two")
    assert "waiting: another measured job is using the files of this run" in second.stderr.readline()
    first.communicate("x", timeout=HANG_SECONDS)
    assert first.returncode == 0
    printed, log = second.communicate(timeout=HANG_SECONDS)
    assert (second.returncode, printed) == (0, ""), log
    assert not study.folder.exists()
