"""Snakemake's lock is removed only if every process that took it has certainly ended."""

import os
from dataclasses import asdict, replace

import pytest

from lora_core.commands import unlock
from lora_core.processes import has_ended, this_process
from lora_core.records import write_json

ENDED = replace(this_process(), started="1")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    if not has_ended(ENDED):
        pytest.skip("this system does not say where a process runs")
    monkeypatch.chdir(tmp_path)


def lock_folder():
    unlock.LOCKS.mkdir(parents=True)
    (unlock.LOCKS / "0.input.lock").write_text("a\n")


def leave_note(process, name="1"):
    write_json(unlock.OWNERS / f"{name}.json", asdict(process))


def notes():
    return sorted(file.stem for file in unlock.OWNERS.glob("*.json"))


def test_a_lock_newer_than_every_note_belongs_to_a_snakemake_without_a_note_yet():
    leave_note(ENDED)
    os.utime(unlock.OWNERS / "1.json", (1, 1))
    lock_folder()
    assert unlock.remove_stale_lock() == 0
    assert list(unlock.LOCKS.iterdir())


@pytest.mark.parametrize(
    ("process", "is_removed"),
    [(this_process(), False), (ENDED, True), (replace(this_process(), host="another", started="1"), False)],
    ids=["a living owner", "an owner that ended", "an owner on another machine"],
)
def test_only_the_lock_of_a_process_that_has_ended_is_removed(tmp_path, capfd, process, is_removed):
    (tmp_path / "Snakefile").write_text("")
    lock_folder()
    leave_note(process)
    assert unlock.remove_stale_lock() == 0
    assert capfd.readouterr().out.startswith("unlocking: ") == is_removed
    assert (unlock.LOCKS / "0.input.lock").exists() is not is_removed
    assert notes() == ([] if is_removed else ["1"])


@pytest.mark.parametrize("note", [None, {"pid": 1, "born": "1"}], ids=["no note", "a note in another form"])
def test_a_lock_of_an_unknown_owner_stays(note):
    lock_folder()
    if note:
        write_json(unlock.OWNERS / "1.json", note)
    assert unlock.remove_stale_lock() == 0
    assert list(unlock.LOCKS.iterdir())


DAMAGED = ["", "{", "[]", "null", "\0" * 40, "\udcff"]  # what a loss of power leaves


def leave_damaged_note(content):
    unlock.OWNERS.mkdir(parents=True, exist_ok=True)
    (unlock.OWNERS / "1.json").write_bytes(content.encode(errors="surrogateescape"))


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_note_is_that_of_a_process_that_has_ended(content):
    lock_folder()
    leave_damaged_note(content)
    unlock.note_owner()
    assert notes() == [str(os.getpid())]
    leave_damaged_note(content)
    assert unlock.remove_stale_lock() == 0
    assert list(unlock.LOCKS.iterdir())  # of this process, which is running


def test_a_lock_with_a_damaged_note_alone_is_removed(tmp_path):
    (tmp_path / "Snakefile").write_text("")
    lock_folder()
    leave_damaged_note("")
    assert unlock.remove_stale_lock() == 0
    assert not unlock.LOCKS.exists()
    assert notes() == []


def test_a_folder_among_the_notes_blocks_nothing():
    (unlock.OWNERS / "1.json").mkdir(parents=True)
    unlock.note_owner()
    unlock.remove_note()


def test_a_failing_snakemake_is_reported(tmp_path, capfd):
    (tmp_path / "Snakefile").write_text("raise ValueError('no study')")
    lock_folder()
    leave_note(ENDED)
    assert unlock.remove_stale_lock() != 0
    assert "no study" in capfd.readouterr().err
    assert notes() == ["1"]


def test_a_process_leaves_a_note_and_removes_it_and_those_of_ended_processes():
    leave_note(ENDED)
    unlock.note_owner()
    assert notes() == [str(os.getpid())]
    unlock.remove_note()
    assert notes() == []
