"""Files and folders that appear complete or not at all, also after a loss of power.

They are written under a temporary name, written through to the disk, and then renamed. Whatever wrote them, others may
read them if the umask says so: safetensors makes files that only their owner can read.
"""

import errno
import glob
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lora_core.processes import start_time

# The end of a temporary name: the writer's process id and start time. Earlier versions wrote the process id alone.
_WRITER = re.compile(r"\.(?P<pid>\d+)(-(?P<started>\w+)-\w+)?\.part$")
# What a file system reports that cannot write a file or folder through to the disk.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


@contextmanager
def atomic_file(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; the file takes its final name only if the block ends without an error.

    Without `sync` a loss of power may leave an empty file: for what is soon written again.
    """
    _remove_leftovers(path)
    temp_path = _temporary_path(path)
    temp_path.touch()
    mode = temp_path.stat().st_mode
    temp_path.unlink()
    try:
        yield temp_path
        temp_path.chmod(mode)
        if sync:
            write_through(temp_path)
        temp_path.replace(path)
        if sync:
            write_through(path.parent)
    finally:
        temp_path.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; it replaces `path` only if the block ends without an error."""
    _remove_leftovers(path)
    temp_path = _temporary_path(path)
    temp_path.mkdir()
    mode = temp_path.stat().st_mode & 0o666
    try:
        yield temp_path
        for content in (*temp_path.rglob("*"), temp_path):
            if content.is_file() and not content.is_symlink():
                content.chmod(mode)
            if content.is_dir() or content.is_file():
                write_through(content)
        if path.exists():
            shutil.rmtree(path)
        temp_path.replace(path)
        write_through(path.parent)
    finally:
        shutil.rmtree(temp_path, ignore_errors=True)


def create_file(path: Path, text: str) -> bool:
    """Write a file unless there is one; return whether there was none.

    The check and the creation are one step: of several processes that try at once, one gets True.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temp_path = _temporary_path(path)
    try:
        temp_path.write_text(text, encoding="utf-8")
        write_through(temp_path)
        _create(path, temp_path)
        write_through(path.parent)
        return True
    except FileExistsError:
        return False
    finally:
        temp_path.unlink(missing_ok=True)


def _create(path: Path, complete: Path) -> None:
    """Create a file from a complete one. Raise FileExistsError if it exists."""
    try:
        os.link(complete, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links; for a moment, others see a file that is not complete
        with path.open("xb") as stream:
            stream.write(complete.read_bytes())


def _temporary_path(path: Path) -> Path:
    """Return a new hidden path in the same folder, named after this process."""
    pid = os.getpid()
    return path.with_name(f".{path.name}.{pid}-{start_time(pid)}-{secrets.token_hex(4)}.part")


def _remove_leftovers(path: Path) -> None:
    """Make the folder of `path`, and remove temporary files of `path` whose writers were killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        if _is_abandoned(leftover):
            with suppress(OSError):
                remove(leftover)


def remove(path: Path) -> None:
    """Remove a file, a link, a pipe, or a folder with all that is in it, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_abandoned(leftover: Path) -> bool:
    """Whether the process that wrote a temporary file has ended, even if another one has its process id now."""
    writer = _WRITER.search(leftover.name)
    if writer is None:
        return False
    pid = int(writer["pid"])
    if start_time(os.getpid()) is None:  # a system that does not say when a process started
        return pid != os.getpid() and not _is_running(pid)
    return start_time(pid) != writer["started"]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        pass
    return True


def write_through(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk, where the file system can tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder that may be written but not listed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)
