"""`make doctor`: it runs before anything is installed, and says what each thing makes possible."""

import subprocess
import sys
import sysconfig

import pytest
from builders import ROOT

from lora_core.commands import doctor


def test_it_runs_on_a_bare_python():
    # No site-packages at all: what a clone has before `make setup`.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
         "from lora_core.commands.doctor import main; sys.exit(main())"],
        capture_output=True, text=True, cwd=ROOT, env={"HF_HUB_OFFLINE": "1", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "not installed yet" in done.stdout
    assert "make setup" in done.stdout
    for name in ("Python", "disk", "memory", "GPU", "meter", "hub", "Slurm"):
        assert name in done.stdout
    assert sysconfig.get_paths()["purelib"] not in done.stdout


def test_here_it_finds_the_environment_and_no_closed_hub(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert doctor.environment().fine
    assert doctor.hub().fine is None
    assert "refused" in doctor.hub().found


@pytest.mark.parametrize(("gigabytes", "fine"), [(1000, True), (0.1, False)])
def test_too_small_a_disk_is_the_end(monkeypatch, capsys, gigabytes, fine):
    usage = type("usage", (), {"free": gigabytes * 1e9})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(doctor, "CHECKS", (doctor.disk,))
    assert doctor.main() == (0 if fine else 1)
    assert ("Not enough for the embedded study: disk" in capsys.readouterr().out) is not fine


def test_old_python_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 1))
    assert "3.11 or newer" in doctor.python().means
    assert doctor.python().fine is False
