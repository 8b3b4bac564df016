"""`lora-core doctor`: it runs before anything is installed, and says what each part of a machine makes possible."""

import re
import subprocess
import sys
import sysconfig

import pytest

from lora_core.code_digest import ROOT
from lora_core.commands import doctor


def test_it_runs_on_a_plain_python_without_packages():
    # No site-packages at all: what a clone has before `make setup`.
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from lora_core.commands.doctor import main; sys.exit(main())"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True, text=True, cwd=ROOT, env={"HF_HUB_OFFLINE": "1", "PATH": ""},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "not installed yet" in result.stdout
    assert "make setup" in result.stdout
    for name in ("Python", "disk", "memory", "GPU", "meter", "hub", "Slurm"):
        assert name in result.stdout
    assert sysconfig.get_paths()["purelib"] not in result.stdout


HIDING = ("random", "torch", "subprocess", "shutil", "urllib", "dataclasses", "json", "socket")


def test_before_setup_no_file_of_the_working_folder_runs_in_place_of_a_module(tmp_path):
    (tmp_path / "lora_core").symlink_to(ROOT / "lora_core")
    for name in HIDING:
        (tmp_path / f"{name}.py").write_text("open('ran', 'a').write(__name__)\n")
    result = subprocess.run(
        [sys.executable, "-S", "-m", "lora_core.commands.doctor"],  # as in the Makefile
        capture_output=True, text=True, cwd=tmp_path, env={"HF_HUB_OFFLINE": "1", "PATH": ""},
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    assert not (tmp_path / "ran").exists()


def test_make_asks_torch_for_a_gpu_without_running_a_file_of_the_working_folder(tmp_path):
    (recipe,) = re.findall(r"@\$\(BIN\)/python (.*? -c|-c) 'import sys, torch; (.*?)'", (ROOT / "Makefile").read_text())
    (tmp_path / "torch.py").write_text("open('ran', 'a').write(__name__)\n")
    subprocess.run([sys.executable, *recipe[0].split(), "import sys, torch"], cwd=tmp_path, check=True)
    assert not (tmp_path / "ran").exists()


def test_the_installed_environment_is_seen_and_a_closed_hub_is_no_failure(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert doctor.check_environment().ok
    assert doctor.check_hub().ok is None
    assert "refused" in doctor.check_hub().result


@pytest.mark.parametrize(("gigabytes", "ok"), [(1000, True), (0.1, False)])
def test_too_small_a_disk_is_a_failure(monkeypatch, capsys, gigabytes, ok):
    usage = type("usage", (), {"free": gigabytes * 1e9})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(doctor, "CHECKS", (doctor.check_disk,))
    assert doctor.main() == (0 if ok else 1)
    assert ("cannot run the embedded study; not sufficient: disk" in capsys.readouterr().out) is not ok


def test_an_old_python_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 1))
    assert "3.11 or newer" in doctor.check_python().note
    assert doctor.check_python().ok is False
