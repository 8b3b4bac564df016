"""Where a result comes from: enough to repeat it, and nothing that names a user, a host or a path."""

import getpass
import os
import subprocess
from importlib import metadata

import torch

from lora_core import provenance


def test_a_record_names_commit_versions_and_device_and_no_place():
    record = provenance.collect(torch.device("cpu"), threads=2)
    assert record.packages["torch"] == metadata.version("torch")
    assert (record.device, record.threads) == ("cpu", 2)
    text = str(record)
    private = {os.uname().nodename, str(provenance.ROOT), os.path.expanduser("~"), getpass.getuser()}
    assert not [name for name in private if len(name) > 4 and name in text]


def test_the_commit_is_gits_and_a_changed_file_shows(tmp_path, monkeypatch):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("one")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *arguments], cwd=tmp_path, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True).stdout.strip()
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    for text, is_dirty in (("one", False), ("two", True)):
        (tmp_path / "file").write_text(text)
        provenance.git_state.cache_clear()
        assert provenance.git_state() == provenance.GitState(head, is_dirty)
    provenance.git_state.cache_clear()


def test_outside_a_checkout_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    provenance.git_state.cache_clear()
    assert provenance.git_state() == provenance.GitState(None, None)
    provenance.git_state.cache_clear()
