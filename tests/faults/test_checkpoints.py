"""A checkpoint that is damaged in whatever way costs the checkpoint, never the run: one warning, and a new start."""

import csv
import os
import shutil

import pytest
import torch

from lora_core.records import PowerRow
from lora_core.training.checkpoint import CheckpointSettings, open_checkpoint
from lora_core.training.state_file import State, write_state

STATE, SAMPLES, KEY = "state.safetensors", "power.csv", "key"
SAMPLE = PowerRow(0.0, 0, "train", "cpu", None, None, None, None)


@pytest.fixture
def folder(tmp_path):
    """What a run has saved after an epoch with one sample, and one sample later."""
    path = tmp_path / "checkpoints" / "lora+cola+seed1"
    _save(_open(path))
    return path


def _open(path):
    return open_checkpoint(CheckpointSettings(path, 0.0, "code"), {})


def _save(checkpoint):
    checkpoint.keep_sample(SAMPLE)
    checkpoint.save(State({"epoch": 1}, {"weight": torch.ones(2)}), 1)
    checkpoint.keep_sample(SAMPLE)


def _gone(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def a_folder(path):
    _gone(path)
    (path / "below").mkdir(parents=True)
    (path / "below" / "file").write_text("x")


def a_pipe(path):
    _gone(path)
    os.mkfifo(path)


def a_link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def a_link_to_nothing(path):
    _gone(path)
    path.symlink_to("nothing")


def a_link_to_itself(path):
    _gone(path)
    path.symlink_to(path.name)


def a_file(path):
    _gone(path)
    path.write_text("x")


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def no_text(path):
    path.write_bytes(b"\xff\xfe" * 100)


def a_long_cell(path):
    path.write_text("seconds\n" + "9" * (csv.field_size_limit() + 1) + "\n")


def values_of_another_kind(path):
    write_state(path, State({"samples": 3}, {}))


def no_values(path):
    write_state(path, State([1], {}))


DAMAGES = [
    *((name, harm) for name in (STATE, SAMPLES, KEY) for harm in (a_folder, a_pipe, a_link, a_link_to_nothing)),
    *((name, harm) for name in (STATE, SAMPLES, KEY) for harm in (a_link_to_itself, zeros, no_text)),
    (SAMPLES, a_long_cell), (STATE, values_of_another_kind), (STATE, no_values),
    *((".", harm) for harm in (a_file, a_pipe, a_link_to_nothing, a_link_to_itself)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "harm"), DAMAGES)
def test_a_damaged_checkpoint_costs_one_warning_and_the_next_one_is_resumed(folder, capfd, name, harm):
    harm(folder / name)
    checkpoint = _open(folder)
    assert (checkpoint.state, list(checkpoint.rows), checkpoint.part) == (None, [], 0)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"{folder} cannot be resumed: ")
    assert line.endswith("; the run starts from the beginning")
    _save(checkpoint)
    resumed = _open(folder)
    assert resumed.state.values == {"epoch": 1}
    assert [row.phase for row in resumed.rows] == ["train", "lost"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("harm", [a_long_cell, a_folder])
def test_samples_that_cannot_be_read_cost_no_run_without_a_state(folder, capfd, harm):
    (folder / STATE).unlink()
    harm(folder / SAMPLES)
    assert _open(folder).part == 0
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_kill_in_the_first_line_of_the_samples_costs_no_warning(folder, capfd):
    (folder / STATE).unlink()
    (folder / SAMPLES).write_text("seconds,pa")
    checkpoint = _open(folder)
    assert (checkpoint.part, capfd.readouterr().err) == (0, "")
    _save(checkpoint)
    assert _open(folder).part == 1


@pytest.mark.parametrize("harm", [a_file, a_pipe, a_link_to_nothing])
def test_a_file_in_place_of_the_folder_of_all_checkpoints_costs_the_checkpoint(folder, capfd, harm):
    harm(folder.parent)
    checkpoint = _open(folder)
    assert (checkpoint.state, checkpoint.part, checkpoint.applies_to(1e9)) == (None, 0, False)
    checkpoint.keep_sample(SAMPLE)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"no further checkpoints are written to {folder}: ")


@pytest.mark.parametrize("harm", [a_pipe, a_folder, a_link_to_nothing])
def test_samples_that_something_replaces_while_the_run_trains_cost_the_checkpoint(folder, capfd, harm):
    checkpoint = _open(folder)
    harm(folder / SAMPLES)
    checkpoint.save(State({"epoch": 2}, {}), 2)
    assert not checkpoint.applies_to(1e9)
    assert "no further checkpoints are written" in capfd.readouterr().err
