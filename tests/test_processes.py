"""A process has ended only where that is certain."""

import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from lora_core import processes
from lora_core.processes import Place, ProcessIdentity, has_ended, start_time, this_process

HERE = Place(host="here", machine="m", boot="b", namespace="n")


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(processes, "current_place", lambda: HERE)


def identity(pid=None, **changes):
    pid = pid or os.getpid()
    return replace(ProcessIdentity(pid=pid, started=start_time(pid), **vars(HERE)), **changes)


@pytest.mark.usefixtures("here")
def test_a_running_process_has_not_ended_and_one_that_exited_has():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = identity(child.pid)
    assert not has_ended(process)
    child.communicate(b"\n")
    assert has_ended(process)


@pytest.mark.usefixtures("here")
def test_a_later_process_with_the_same_number_is_another():
    assert has_ended(identity(started="1"))


@pytest.mark.usefixtures("here")
def test_a_reboot_ended_it_and_what_runs_elsewhere_cannot_be_seen():
    assert has_ended(identity(boot="another"))
    for place in ("host", "machine", "namespace"):
        assert not has_ended(identity(started="1", **{place: "another"}))
    assert not has_ended(identity(boot="another", host="another"))


def test_on_a_system_that_does_not_say_where_processes_run_none_has_ended(monkeypatch):
    monkeypatch.setattr(processes, "current_place", lambda: replace(HERE, machine=None))
    assert not has_ended(identity(started="1"))


def test_this_process_is_identified_without_the_names_of_host_and_machine():
    if start_time(os.getpid()) is None:
        pytest.skip("no /proc: not Linux")
    process = this_process()
    assert process.pid == os.getpid()
    assert process.boot
    assert process.namespace.startswith("pid:[")
    assert os.uname().nodename not in asdict(process).values()
    assert not has_ended(process)
