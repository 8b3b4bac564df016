"""The code that a job really runs."""

import sys

import pytest

from lora_core.code_digest import CodeDigests
from lora_core.running_code import RunningCode


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two modules, the second imported when the first one's function runs, and a script that uses it."""
    folder = tmp_path / "lora_core"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "first.py").write_text("def run():\n    import lora_core.second\n")
    (folder / "second.py").write_text("VALUE = 1\n")
    (tmp_path / "script.py").write_text("import lora_core.first\n")
    for name in ("first", "second"):
        monkeypatch.delitem(sys.modules, f"lora_core.{name}", raising=False)

    def imported(*names):
        for name in names:
            monkeypatch.setitem(sys.modules, f"lora_core.{name}", object())

    return tmp_path, imported


def test_the_digest_is_that_of_the_files_when_the_job_starts(package):
    root, _ = package
    code = RunningCode(root / "script.py", root=root)
    assert code.digest == CodeDigests(root).digest(root / "script.py")
    (root / "lora_core/second.py").write_text("VALUE = 2\n")
    assert code.digest != CodeDigests(root).digest(root / "script.py")


def test_an_edit_after_the_import_changes_nothing(package):
    root, imported = package
    code = RunningCode(root / "script.py", root=root)
    imported("first", "second")
    code.check()
    (root / "lora_core/second.py").write_text("VALUE = 2\n")
    code.check()


def test_an_edit_of_a_file_that_is_imported_later_is_refused_by_name(package):
    root, imported = package
    code = RunningCode(root / "script.py", root=root)
    imported("first")
    code.check()
    (root / "lora_core/second.py").write_text("VALUE = 2\n")
    code.check()  # nothing has imported it
    imported("second")
    with pytest.raises(ValueError, match=r"lora_core/second\.py was edited while this job .*same command again"):
        code.check()


def test_words_may_be_edited_at_any_time(package):
    root, imported = package
    code = RunningCode(root / "script.py", root=root)
    (root / "lora_core/second.py").write_text('"""A docstring."""\nVALUE = 1  # a comment\n')
    imported("first", "second")
    code.check()
