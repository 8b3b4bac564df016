"""What surrounds a study goes wrong: full and read-only disks, links, limits, Python's flags, files in the way.

Each is one sentence with the cause and what to do, from every command, and never a traceback.
"""

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import pytest
from builders import HANG_SECONDS, ROOT, ended_jobs
from faults import TABLE
from project import Project, glue

from lora_core.commands import cli, environment, status
from lora_core.commands.studies import read_study
from lora_core.config import params
from lora_core.config.results_folder import obstacle
from lora_core.processes import this_process
from lora_core.sealed import seal, unseal

RUN = "results/runs/lora/cola/seed1"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
SENTENCES = {
    "dangling link": "'results' is a link to 'nowhere/at/all', which is no folder",
    "loop": "'results' is a link to 'results', which is no folder",
    "file": "'results' is not a folder; move it away, or name another one",
    "pipe": "'results' is not a folder; move it away, or name another one",
}


@pytest.fixture
def small(tmp_path) -> Project:
    """A project without results."""
    return Project(tmp_path / "project")


@contextmanager
def mounted(folder: Path, *, options: str = "size=64k", full: bool = False):
    """Mount a small file system at a folder, filled if it is to be full."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        if full:
            subprocess.run(["dd", "if=/dev/zero", f"of={folder / 'filled'}"], stderr=subprocess.DEVNULL)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def replace_results(kind: str, results: Path) -> None:
    shutil.rmtree(results, ignore_errors=True)
    if kind == "file":
        results.touch()
    elif kind == "pipe":
        os.mkfifo(results)
    else:
        results.symlink_to({"dangling link": "nowhere/at/all", "loop": "results"}[kind])


def make(project: Project, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit status and output of a target of the Makefile, with the environment that runs this test."""
    shutil.copy(ROOT / "Makefile", project.folder)
    if not (project.folder / ".venv").exists():
        (project.folder / ".venv").symlink_to(sys.prefix)
    command = ["make", "--no-print-directory", "--old-file", ".venv/installed", *arguments]
    result = subprocess.run(
        command, cwd=project.folder, capture_output=True, text=True, timeout=HANG_SECONDS,
        env=os.environ | {"PYTHONPATH": str(project.folder)} | (env or {}),
    )  # fmt: skip
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("kind", SENTENCES)
def test_a_results_folder_that_is_none_is_refused_by_every_command(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    for name in ("config.yaml", "requirements.lock", "Snakefile"):
        shutil.copy(ROOT / name, tmp_path)
    replace_results(kind, tmp_path / "results")
    commands = (["compare", "results", "results"], ["glue-submission", "results", "out"])
    for command in (["status"], ["estimate"], ["bundle", "x.zip"], *commands):
        assert cli.main(command) == 1, command
        assert SENTENCES[kind] in capsys.readouterr().err.splitlines()[-1], command
    assert SENTENCES[kind] in obstacle("results/paper")


@pytest.mark.faults
@pytest.mark.parametrize("kind", SENTENCES)
def test_a_results_folder_that_is_none_is_refused_by_snakemake(small, kind):
    replace_results(kind, small.folder / "results")
    status, output = small.run(TABLE)
    assert status != 0
    assert SENTENCES[kind] in output
    assert "Traceback" not in output
    assert output.count('File "') <= 1  # where the workflow raises it


@pytest.mark.faults
@AS_ROOT
@pytest.mark.parametrize("options", ["size=64k", "size=64k,ro"], ids=["full", "read-only"])
@pytest.mark.parametrize("folder", [".snakemake", "results", "temporary"])
def test_a_folder_that_cannot_be_written_is_named_before_any_job(small, folder, options):
    cause = "Read-only file system" if "ro" in options else "No space left on device"
    path = small.folder / folder
    with mounted(path, options=options, full="ro" not in options):
        status, output = small.run(TABLE, env=os.environ | {"TMPDIR": str(path)} if folder == "temporary" else None)
    assert status != 0
    assert f"{folder}' cannot be written ({cause}); " in output
    assert "Traceback" not in output
    assert output.count("\n") < 10


@pytest.mark.faults
@AS_ROOT
@pytest.mark.parametrize("options", ["size=64k", "size=64k,ro"], ids=["full", "read-only"])
def test_logs_that_cannot_be_written_are_named_before_any_job(project, options):
    with mounted(project.results / "logs", options=options, full="ro" not in options):
        status, output = project.run("results/counts.json")
    assert status != 0
    assert "the folder of logs 'results/logs' cannot be written (" in output
    assert "Traceback" not in output
    assert not ended_jobs(output)


@pytest.mark.faults
@AS_ROOT
@pytest.mark.parametrize("home", ["read-only", "missing", "empty"])
def test_without_a_home_folder_make_keeps_caches_next_to_the_results(project, home):
    folder = project.folder.parent / "home"
    settings = {"HOME": "/proc/none" if home == "missing" else str(folder), "XDG_CACHE_HOME": ""}
    if home == "empty":
        settings["HOME"] = ""
    dry_run = ".venv/bin/snakemake --cores 1 -n results/counts.json --configfile tiny.yaml"
    with mounted(folder, options="ro"):
        _, output = make(project, "tables", "CONFIG=tiny.yaml", f"SNAKEMAKE={dry_run}", env=settings)
    assert "Traceback" not in output
    assert "count_parameters" in output
    assert (project.folder / ".snakemake/cache/snakemake").is_dir()


@pytest.mark.parametrize("name", ["random.py", "torch.py", "json/__init__.py", "lora_core.py"])
def test_a_file_that_hides_a_module_is_named(tmp_path, name):
    (tmp_path / "lora_core").mkdir()
    for harmless in ("lora_core/__init__.py", "my_notes.py"):
        (tmp_path / harmless).touch()
    environment.check_hidden_modules(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("raise RuntimeError")
    with pytest.raises(ValueError, match=f"{tmp_path}/{name.partition('/')[0]} hides the Python module"):
        environment.check_hidden_modules(tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize("name", ["random", "torch", "logging"])
def test_snakemake_and_make_name_a_file_that_hides_a_module(small, name):
    (small.folder / f"{name}.py").write_text("raise RuntimeError('a file of the user')")
    status, output = small.run(TABLE)
    assert status != 0
    assert f"{name}.py hides the Python module '{name}' from every job; rename or move it" in output
    assert "Traceback" not in output
    for target in ("doctor", "status"):
        _, output = make(small, target, env={"PYTHONPATH": ""})
        assert "a file of the user" not in output


@pytest.mark.faults
def test_python_without_docstrings_is_refused(small):
    environment_variables = os.environ | {"PYTHONOPTIMIZE": "2"}
    status, output = small.run(TABLE, env=environment_variables)
    assert status != 0
    assert "unset PYTHONOPTIMIZE and run the same command again" in output
    for command in ("status", "doctor"):
        result = subprocess.run(
            [sys.executable, "-m", "lora_core.commands.cli", command],
            cwd=small.folder, capture_output=True, text=True, env=environment_variables,
        )  # fmt: skip
        assert "unset PYTHONOPTIMIZE" in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.faults
def test_a_limit_on_processor_time_is_named(project, finish):
    limit = 6  # enough for snakemake, not for a job that imports torch and trains
    process = project.begin(
        "busy 2", f"{RUN}/run.json", before=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    )
    output, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode != 0
    assert "stopped by SIGXCPU; raise the limit on processor time (ulimit -t), then run the same command" in output
    finish()


@pytest.mark.faults
def test_cleaning_a_linked_results_folder_empties_it_and_keeps_the_link(tmp_path):
    disk = tmp_path / "big disk"
    (disk / "runs").mkdir(parents=True)
    (disk / "README.md").touch()
    (tmp_path / "results").symlink_to(disk)
    shutil.copy(ROOT / "Makefile", tmp_path)
    result = subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert f"results is a link to {disk}: what is in that folder is removed, the link stays" in result.stdout
    assert [file.name for file in (tmp_path / "results").iterdir()] == ["README.md"]
    (tmp_path / "results").unlink()
    (tmp_path / "results").symlink_to("nowhere")
    result = subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, text=True)
    assert "results is not a folder: nothing is removed" in result.stdout


def harms(content: dict) -> dict[str, bytes]:
    """Ways in which a record may be malformed, by name: the whole file, and each field with values of other types."""
    harmed = {
        "empty": b"", "null": b"null", "list": b"[1]", "no object": b"{}", "not UTF-8": b"\xff\xfe{", "NUL": b"\0" * 64,
        "cut off": json.dumps(content).encode()[:-20], "deep": b"[" * 100_000, "text": b'"run"',
    }  # fmt: skip
    for section, fields in content.items():
        for value in (None, [], "x", {}, -1):
            harmed[f"{section}={value!r}"] = json.dumps(content | {section: value}).encode()
        for field in fields if isinstance(fields, dict) else ():
            for value in (None, [], "x", {}, 10**400, float("nan")):
                harmed[f"{section}.{field}={value!r}"] = json.dumps(
                    content | {section: fields | {field: value}}
                ).encode()
    return harmed


def specials(path: Path):
    """Put what is not a regular file at a path, one kind after the other; yields its name."""
    for kind in ("pipe", "socket", "folder", "dangling link", "loop"):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as server:
            if kind == "pipe":
                os.mkfifo(path)
            elif kind == "socket":
                os.chdir(path.parent)  # names of sockets may not be long
                server.bind(path.name)
            elif kind == "folder":
                path.mkdir()
            else:
                path.symlink_to("nowhere" if kind == "dangling link" else path.name)
            yield kind


@pytest.fixture
def results(lora_run, tmp_path, monkeypatch) -> Path:
    """The results folder of a study with two runs of one method, in a working directory with its configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(status, "code_of_training", lambda *_: None)  # it parses the package without a cache
    shutil.copy(ROOT / "config.yaml", tmp_path)
    (tmp_path / "two.yaml").write_text("{methods: [lora], tasks: [cola], seeds: [1, 2]}")
    record = unseal(json.loads((lora_run / "run.json").read_text()), lora_run)
    study = read_study(["two.yaml"])
    for seed in (1, 2):
        folder = tmp_path / f"results/runs/lora/cola/seed{seed}"
        folder.mkdir(parents=True)
        record["run"] |= params.run_params(study, "lora", "cola", seed)
        (folder / "run.json").write_text(json.dumps(seal(record)))
    (tmp_path / "results/study.json").write_text("{}")
    return tmp_path / "results"


def check_status_and_compare(results: Path, damaged: Path, harm: str, capsys) -> None:
    """Both commands must go on with what is whole, and name what is damaged unless it does not matter to them."""
    top = results.parent
    for command in (
        ["status", "--configfile", str(top / "two.yaml")],
        ["compare", str(results), str(results)],
    ):
        os.chdir(top)
        assert cli.main(command) == 0, (harm, command)
        printed = capsys.readouterr()
        assert printed.err == ""
        if "=" not in harm:
            assert damaged.name in printed.out, (harm, command, printed.out)
        assert "1/2" in printed.out or "2/2" in printed.out or command[0] == "compare", harm
        assert "lora" in printed.out.lower(), harm


def test_status_and_compare_name_a_malformed_record_and_go_on(results, capsys):
    damaged = results / "runs/lora/cola/seed2/run.json"
    for harm, content in harms(json.loads(damaged.read_text())).items():
        damaged.write_bytes(content)
        check_status_and_compare(results, damaged, harm, capsys)


def test_status_and_compare_do_not_wait_for_a_pipe_in_place_of_a_record(results, capsys):
    damaged = results / "runs/lora/cola/seed2/run.json"
    for kind in specials(damaged):
        link = "link" in kind or kind == "loop"  # the run is then not there
        check_status_and_compare(results, damaged, f"{kind}=" if link else kind, capsys)


def test_status_names_a_malformed_exit_record_and_progress(results, capsys):
    folder = results / "runs/lora/cola/seed2"
    (folder / "run.json").unlink()
    log = results / "logs/train/lora/cola/seed2.json"
    log.parent.mkdir(parents=True)
    process = asdict(this_process())
    job = {"title": "x", "study": "", "state": "running", "process": process, "error": None}
    numbers = {"epoch": 1, "epochs": 2, "step": 1, "steps": 2, "tokens_per_second": 1.0, "seconds_left": 2.0}
    progress = {"method": "lora", "task": "cola", "seed": 2, "metric": "mcc", "score": 0.5} | numbers
    progress |= {"process": process, "updated": "now"}
    for file, content, other in (
        (log, job, (folder / "progress.json", progress)),
        (folder / "progress.json", progress, (log, job)),
    ):
        other[0].write_text(json.dumps(other[1]))
        for harm, text in harms(content).items():
            file.write_bytes(text)
            assert cli.main(["status", "--configfile", "two.yaml"]) == 0, (file, harm)
            printed = capsys.readouterr().out
            assert "1/2" in printed
            if "=" not in harm:
                assert f"{file.name} " in printed, (harm, printed)


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
def test_a_special_file_in_a_data_folder_is_refused(small, kind):
    folder = glue(small.folder / "glue")
    small.configure(data={"source": "local", "path": "glue"})
    for made in specials(folder / "cola/train-00000-of-00001.parquet"):
        if made == kind:
            break
    status, output = small.run(TABLE)
    assert status != 0
    assert "has 'train-00000-of-00001.parquet', which is not a regular file; replace it by one" in output
    assert "Traceback" not in output


def test_a_command_whose_reader_has_ended_or_that_is_interrupted_prints_no_traceback(small, monkeypatch, capsys):
    command = f"{sys.executable} -m lora_core.commands.cli schema | true"
    result = subprocess.run(["sh", "-c", command], cwd=small.folder, capture_output=True, text=True)
    assert result.stderr == ""
    monkeypatch.setattr(cli, "_doctor", lambda options: (_ for _ in ()).throw(KeyboardInterrupt))
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_to_a_full_disk_is_one_sentence(small):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "lora_core.commands.cli", "schema"]
        result = subprocess.run(command, cwd=small.folder, stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode != 0
    assert result.stderr == "No space left on device; free some disk space\n"


@pytest.mark.skipif(find_spec("snakemake_executor_plugin_slurm") is not None, reason="installed: it asks at each start")
def test_no_command_asks_slurm(small):
    commands, asked = small.folder / "slurm", small.folder / "asked"
    commands.mkdir()
    for name in ("sacct", "sbatch", "scontrol", "sinfo", "squeue"):
        (commands / name).write_text(f"#!/bin/sh\necho {name} >> {asked}\nexit 1\n")
        (commands / name).chmod(0o755)
    variables = os.environ | {"PATH": f"{commands}:{os.environ['PATH']}"}
    status, output = small.run("-n", "--quiet", "all", env=variables)
    assert status == 0, output
    subprocess.run([sys.executable, "-m", "lora_core.commands.cli", "status"], cwd=small.folder, env=variables)
    assert not asked.exists()
