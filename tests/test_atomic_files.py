"""Files and folders appear complete or not at all, and survive a loss of power."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lora_core import atomic_files
from lora_core.atomic_files import atomic_file, atomic_folder, create_file
from lora_core.processes import start_time
from lora_core.records import write_json


def fill(path):
    """Write a file or a folder at `path`, which says "new"."""
    if path.suffix:
        with atomic_file(path) as temp_path:
            temp_path.write_text("new")
    else:
        with atomic_folder(path) as temp_path:
            (temp_path / "a").write_text("new")
            (temp_path / "below").mkdir()
            (temp_path / "below" / "b").write_text("new")


@pytest.fixture
def steps(monkeypatch):
    """What is written through to the disk and what is renamed, in order."""
    taken = []
    sync, replace = os.fsync, Path.replace

    def fsync(descriptor):
        status = os.fstat(descriptor)
        taken.append(("folder" if stat.S_ISDIR(status.st_mode) else "file", status.st_ino))
        sync(descriptor)

    def rename(self, target):
        taken.append(("rename", self.stat().st_ino))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", rename)
    return taken


def inode(path):
    return path.stat().st_ino


def test_a_file_is_on_the_disk_before_it_has_its_name_and_then_the_name_is(tmp_path, steps):
    fill(tmp_path / "a.json")
    file = inode(tmp_path / "a.json")
    assert steps == [("file", file), ("rename", file), ("folder", inode(tmp_path))]


def test_every_file_of_a_folder_is_on_the_disk_before_it_has_its_name(tmp_path, steps):
    fill(tmp_path / "weights")
    before, after = steps[: steps.index(("rename", inode(tmp_path / "weights")))], steps[-1]
    folder = tmp_path / "weights"
    expected = {("file", inode(folder / "a")), ("file", inode(folder / "below" / "b"))}
    assert set(before) == expected | {("folder", inode(folder)), ("folder", inode(folder / "below"))}
    assert after == ("folder", inode(tmp_path))


def test_what_is_soon_written_again_is_not_waited_for(tmp_path, steps):
    write_json(tmp_path / "progress.json", {}, sync=False)
    assert steps == [("rename", inode(tmp_path / "progress.json"))]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
@pytest.mark.parametrize("name", ["a.json", "weights"])
def test_a_file_system_that_cannot_sync_is_no_error(tmp_path, monkeypatch, number, name):
    def fsync(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    fill(tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("name", ["a.json", "weights"])
def test_what_does_not_reach_the_disk_replaces_nothing(tmp_path, monkeypatch, number, name):
    fill(tmp_path / name)
    before = inode(tmp_path / name)

    def fsync(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=os.strerror(number)):
        fill(tmp_path / name)
    assert [(file.name, inode(file)) for file in tmp_path.iterdir()] == [(name, before)]


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("name", ["weights", "a.json"])
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
@pytest.mark.parametrize("writer", ["an ended process", "this process id", "this process id before", "a running one"])
def test_only_a_running_writer_keeps_its_temporary_file(tmp_path, name, kind, writer):
    if start_time(os.getpid()) is None:
        pytest.skip("this system does not say when a process started")
    ends = {
        "an ended process": f"{ended_process()}-5-abc",
        "this process id": str(os.getpid()),  # as an earlier version named it, in a container that was started again
        "this process id before": f"{os.getpid()}-5-abc",
        "a running one": f"{os.getppid()}-{start_time(os.getppid())}-abc",
    }
    leftover = tmp_path / f".{name}.{ends[writer]}.part"
    if kind == "folder":
        leftover.mkdir()
        (leftover / "model.safetensors").write_text("cut o")
    elif kind == "link":
        leftover.symlink_to(tmp_path.parent)
    else:
        leftover.write_text("cut o")
    fill(tmp_path / name)
    kept = {leftover.name} if writer == "a running one" else set()
    assert {file.name for file in tmp_path.iterdir()} == {name} | kept


def test_two_writers_in_one_process_do_not_meet(tmp_path):
    with atomic_folder(tmp_path / "weights") as one, atomic_folder(tmp_path / "weights") as two:
        assert one != two
        assert one.is_dir()
        assert two.is_dir()


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o077, 0o600)])
def test_the_umask_decides_who_reads_weights(tmp_path, umask, mode):
    tensors = {"weight": np.zeros(2)}
    before = os.umask(umask)
    try:
        with atomic_file(tmp_path / "state.safetensors") as temp_path:
            save_file(tensors, temp_path)
        with atomic_folder(tmp_path / "weights") as temp_path:
            save_file(tensors, temp_path / "model.safetensors")
    finally:
        os.umask(before)
    files = [tmp_path / "state.safetensors", tmp_path / "weights" / "model.safetensors"]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [mode] * 2


def test_a_link_in_a_folder_leaves_what_it_points_to_as_it_is(tmp_path):
    private = tmp_path / "private"
    private.touch(0o600)
    with atomic_folder(tmp_path / "folder") as temp_path:
        (temp_path / "link").symlink_to(private)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_files_of_users_are_left_alone(tmp_path):
    (tmp_path / ".weights.mine.part").write_text("mine")
    fill(tmp_path / "weights")
    assert (tmp_path / ".weights.mine.part").read_text() == "mine"


@pytest.mark.parametrize("links", [True, False], ids=["with hard links", "without hard links"])
def test_a_file_is_created_once(tmp_path, monkeypatch, links):
    def link(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(atomic_files.os, "link", link)
    file = tmp_path / "below" / "study.json"
    assert create_file(file, "first")
    assert not create_file(file, "second")
    assert file.read_text() == "first"
    assert [each.name for each in file.parent.iterdir()] == ["study.json"]
