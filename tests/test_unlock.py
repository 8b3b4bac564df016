"""A lock is stale only where its owner has certainly ended."""

import os
import subprocess
import sys

import psutil
import pytest

from lora_core import unlock
from lora_core.records import write_json

HERE = unlock._machine()


def owner(pid=None, created=None, machine=None):
    process = psutil.Process(pid)
    return {
        "pid": process.pid, "created": process.create_time() if created is None else created,
        "machine": HERE if machine is None else machine,
    }  # fmt: skip


def test_a_process_that_lives_is_not_gone_and_one_that_ended_is():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    note = owner(child.pid)
    assert not unlock.gone(note)
    child.communicate(b"\n")
    assert unlock.gone(note)


def test_another_process_of_the_same_number_is_not_the_owner():
    assert unlock.gone(owner(created=psutil.Process().create_time() - 60))


@pytest.mark.skipif(len(HERE) < 2, reason="this system tells neither machine nor boot")
def test_another_boot_ended_it_and_another_machine_cannot_be_seen():
    assert unlock.gone(owner(machine=[HERE[0], "another boot"]))
    assert not unlock.gone(owner(machine=["another machine", HERE[1]]))
    assert not unlock.gone(owner(machine=[]))


@pytest.mark.parametrize(("lives", "said"), [(True, ""), (False, "unlocking: ")])
def test_only_a_stale_lock_is_removed(tmp_path, monkeypatch, capfd, lives, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").write_text("")
    unlock.LOCKS.mkdir(parents=True)
    (unlock.LOCKS / "0.input.lock").write_text("a\n")
    write_json(unlock.OWNERS / "1.json", owner(created=None if lives else 0.0))
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
    unlock.remember()
    assert [file.stem for file in unlock.OWNERS.iterdir()] == [str(os.getpid())]
    unlock.forget()
    assert not list(unlock.OWNERS.iterdir())
