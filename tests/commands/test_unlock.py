"""A lock is stale only where its owner has certainly ended."""

import os
import subprocess
import sys

import pytest

from lora_core.commands import unlock
from lora_core.records import write_json

HERE = {"host": "here", "machine": "m", "boot": "b", "namespace": "n"}


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setattr(unlock, "place", lambda: HERE)


def owner(pid=None, **changes):
    pid = pid or os.getpid()
    return {"pid": pid, "born": unlock.born(pid), **HERE} | changes


def test_a_process_that_lives_is_not_gone_and_one_that_ended_is():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    note = owner(child.pid)
    assert not unlock.gone(note)
    child.communicate(b"\n")
    assert unlock.gone(note)


def test_another_process_of_the_same_number_is_not_the_owner():
    assert unlock.gone(owner(born="1"))


def test_another_boot_ended_it_and_what_runs_elsewhere_cannot_be_seen():
    assert unlock.gone(owner(boot="another"))
    for place in ("host", "machine", "namespace"):
        assert not unlock.gone(owner(born="1", **{place: "another"}))
    assert not unlock.gone(owner(boot="another", host="another"))


def test_a_system_that_does_not_tell_where_a_process_is_unlocks_nothing(monkeypatch):
    monkeypatch.setattr(unlock, "place", lambda: HERE | {"machine": None})
    assert not unlock.gone(owner(born="1"))


def test_this_system_tells_where_a_process_is(monkeypatch):
    monkeypatch.undo()
    if unlock.born(os.getpid()) is None:
        pytest.skip("no /proc: not Linux")
    told = unlock.place()
    assert set(told) == set(HERE)
    assert told["boot"]
    assert told["namespace"].startswith("pid:[")


def test_a_lock_newer_than_every_note_is_that_of_a_snakemake_that_has_not_noted_itself_yet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json(unlock.OWNERS / "1.json", owner(born="1"))
    os.utime(unlock.OWNERS / "1.json", (1, 1))
    unlock.LOCKS.mkdir(parents=True)
    (unlock.LOCKS / "0.input.lock").write_text("a\n")
    assert unlock.main([]) == 0
    assert list(unlock.LOCKS.iterdir())


@pytest.mark.parametrize(("lives", "said"), [(True, ""), (False, "unlocking: ")])
def test_only_a_stale_lock_is_removed(tmp_path, monkeypatch, capfd, lives, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").write_text("")
    unlock.LOCKS.mkdir(parents=True)
    (unlock.LOCKS / "0.input.lock").write_text("a\n")
    write_json(unlock.OWNERS / "1.json", owner() if lives else owner(born="1"))
    assert unlock.main([]) == 0
    assert capfd.readouterr().out.startswith(said)
    assert (unlock.LOCKS / "0.input.lock").exists() == lives


def test_a_lock_that_nobody_noted_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    unlock.LOCKS.mkdir(parents=True)
    (unlock.LOCKS / "0.input.lock").write_text("a\n")
    assert unlock.main([]) == 0
    assert list(unlock.LOCKS.iterdir())


def test_a_process_notes_itself_and_forgets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json(unlock.OWNERS / "1.json", owner(born="1"))
    unlock.remember()
    assert [note.stem for note in unlock._notes()] == [str(os.getpid())]
    unlock.forget()
    assert not unlock._notes()
