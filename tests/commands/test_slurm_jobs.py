"""What `lora-core status` says of jobs that wait in Slurm's queue, from a stand-in squeue."""

import os
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml
from builders import changed

from lora_core.commands import cli, programs, slurm_jobs
from lora_core.layout import Layout
from lora_core.processes import this_process
from lora_core.records import write_json

NAME = "prefix_3f2b7a52-5f0e-4d0b-9f4c-6f9a2f1f7b10"
QUEUE = "".join(
    f"{number}|short|12:00:00|{features}|{reason}|rule_{job}\n"
    for number, features, reason, job in [
        (41, "(null)", "PartitionTimeLimit", "train_wildcards_lora_ref_cola_1"),
        (42, "(null)", "PartitionTimeLimit", "time_inference_wildcards_cola_1"),
        (43, "a100", "ReqNodeNotAvail, UnavailableNodes:node[1-2]", "train_wildcards_fft_cola_1"),
        (44, "(null)", "QOSMaxWallDurationPerJobLimit", "predict_memory"),
        (45, "(null)", "a reason of its own", "predict_memory"),
    ]
)


@pytest.fixture
def layout(tmp_path):
    return Layout(str(tmp_path / "results"))


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A function that puts a squeue on PATH; returns the file of the arguments that it was called with."""

    def install(script):
        folder, asked = tmp_path / "programs", tmp_path / "asked"
        folder.mkdir()
        (folder / "squeue").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> "{asked}"\n{script}\n')
        (folder / "squeue").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return asked

    return install


def printing(text):
    return f"cat <<'END'\n{text}END"


def test_pending_jobs_are_named_with_what_slurm_waits_for_and_what_to_do(layout, squeue):
    asked = squeue(printing(QUEUE))
    slurm_jobs.note_jobs(layout, NAME)
    slurm_jobs.note_jobs(layout, "another")
    assert slurm_jobs.format_pending(layout) == [
        "pending in Slurm: train lora_ref_cola_1 (job 41), time_inference cola_1 (job 42)",
        "  because of PartitionTimeLimit (partition short, time limit 12:00:00): "
        + slurm_jobs.ADVICE["PartitionTimeLimit"],
        "pending in Slurm: train fft_cola_1 (job 43)",
        "  because of ReqNodeNotAvail, UnavailableNodes:node[1-2] (partition short, time limit 12:00:00, constraint "
        "a100): " + slurm_jobs.ADVICE["ReqNodeNotAvail"],
        "pending in Slurm: predict_memory (job 44)",
        "  because of QOSMaxWallDurationPerJobLimit (partition short, time limit 12:00:00): a limit of your account or "
        "its quality of service",
        "pending in Slurm: predict_memory (job 45)",
        "  because of a reason of its own (partition short, time limit 12:00:00)",
    ]
    arguments = asked.read_text().split("\n")
    assert "--states=PENDING" in arguments
    assert f"--name=another,{NAME}" in arguments


def test_many_jobs_with_one_reason_are_counted(layout, squeue):
    squeue(printing("".join(f"{n}|debug|10:00|(null)|Priority|rule_train_wildcards_lora_cola_{n}\n" for n in range(8))))
    slurm_jobs.note_jobs(layout, NAME)
    first, second = slurm_jobs.format_pending(layout)
    assert first.endswith("train lora_cola_4 (job 4) and 3 more")
    assert second == "  because of Priority (partition debug, time limit 10:00): other jobs go first"


def test_slurm_is_not_asked_before_jobs_are_submitted_and_after_they_have_ended(layout, squeue):
    asked = squeue(printing(QUEUE))
    assert slurm_jobs.format_pending(layout) == []
    slurm_jobs.note_jobs(layout, NAME)
    slurm_jobs.remove_note(layout, NAME)
    slurm_jobs.remove_note(layout, NAME)
    assert slurm_jobs.format_pending(layout) == []
    assert not asked.exists()


def test_what_a_killed_snakemake_has_left_is_asked_about_until_a_later_one_has_ended(layout, squeue):
    asked = squeue("true")
    for name, process in {
        "killed": replace(this_process(), started="1"),
        "working": this_process(),
        "elsewhere": replace(this_process(), host="another host"),
    }.items():
        slurm_jobs.note_jobs(layout, name)
        write_json(Path(layout.log(f"slurm/{name}")).with_suffix(".json"), asdict(process))
    (Path(layout.results) / "logs/slurm/damaged.json").write_text("{}")
    slurm_jobs.note_jobs(layout, NAME)
    slurm_jobs.format_pending(layout)
    assert f"--name=damaged,elsewhere,killed,{NAME},working" in asked.read_text()
    slurm_jobs.remove_note(layout, NAME)
    slurm_jobs.format_pending(layout)
    assert "--name=damaged,elsewhere,working\n" in asked.read_text()


def test_nothing_is_said_of_jobs_that_run(layout, squeue):
    squeue("true")
    slurm_jobs.note_jobs(layout, NAME)
    assert slurm_jobs.format_pending(layout) == []


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("echo 'slurm_load_jobs error: Unable to contact' >&2\necho 'slurm controller' >&2\nexit 1",
         "but squeue fails: slurm_load_jobs error: Unable to contact slurm controller"),
        ("echo 'squeue 99'", "but squeue fails: its line 'squeue 99' is not understood"),
        # Its child lives on and holds what the stand-in prints to.
        ("sleep 30", "which has not answered within 0.3 s"),
        ("trap '' TERM\nsleep 30 &\nwait", "which has not answered within 0.3 s"),
    ],
)  # fmt: skip
def test_a_slurm_that_does_not_answer_is_one_sentence_within_the_time_limit(layout, squeue, monkeypatch, script, line):
    squeue(script)
    monkeypatch.setattr(slurm_jobs, "TIMEOUT_SECONDS", 0.3)
    slurm_jobs.note_jobs(layout, NAME)
    before = time.monotonic()
    (printed,) = slurm_jobs.format_pending(layout)
    assert printed == f"Jobs were submitted to Slurm, {line}."
    assert time.monotonic() - before < 10


def test_a_missing_squeue_is_one_sentence(layout, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    slurm_jobs.note_jobs(layout, NAME)
    (line,) = slurm_jobs.format_pending(layout)
    assert line.endswith("is known where squeue is installed.")


def test_status_ends_with_the_pending_jobs_of_its_own_results_folder(tmp_path, squeue, monkeypatch, capsys):
    asked = squeue(printing(QUEUE))
    monkeypatch.chdir(tmp_path)
    for name in ("one", "other"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(changed(results_dir=name)))
    slurm_jobs.note_jobs(Layout("other"), NAME)
    assert cli.main(["status", "--configfile", "one.yaml"]) == 0
    assert "Slurm" not in capsys.readouterr().out
    assert not asked.exists()
    assert cli.main(["status", "--configfile", "other.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-9:-7] == ["", "pending in Slurm: train lora_ref_cola_1 (job 41), time_inference cola_1 (job 42)"]


def test_a_program_that_takes_too_long_ends_with_all_that_it_started(tmp_path):
    script = tmp_path / "slow"
    script.write_text(f'#!/bin/sh\n(sleep 1; touch "{tmp_path}/alive") &\nwait\n')
    script.chmod(0o755)
    with pytest.raises(subprocess.TimeoutExpired):
        programs.output_of(str(script), seconds=0.3)
    time.sleep(1.2)
    assert not (tmp_path / "alive").exists()
