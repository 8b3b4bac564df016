"""Why jobs failed: one sentence with what to do, and the command that runs a failed job again."""

import errno
import json
import shlex
import sys
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pytest
import torch

from lora_core.commands import failures
from lora_core.job_records import JobError, JobRecord
from lora_core.layout import exit_record
from lora_core.processes import this_process
from lora_core.records import write_json


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (JobError("ValueError", "the loss is nan at step 3"), "the loss is nan at step 3"),
        (JobError("KeyError", "KeyError: 'a'"), "KeyError: 'a'"),
        (JobError("KeyboardInterrupt", "interrupted"), "interrupted; run the same command again"),
        (JobError("SystemExit", "stopped by SIGTERM"), "stopped by SIGTERM; run the same command again"),
        (JobError("MemoryError", "MemoryError"), "out of memory (MemoryError); free some"),
        (JobError("OutOfMemoryError", "OutOfMemoryError: CUDA"), "out of memory (OutOfMemoryError: CUDA); free some"),
        (JobError("OSError", "OSError: fork", errno.ENOMEM), "out of memory (OSError: fork); free some"),
        (JobError("AcceleratorError", "AcceleratorError: CUDA error: out of memory"), "out of memory (AcceleratorErr"),
        (JobError("RuntimeError", "RuntimeError: CUDA out of memory. Tried"), "out of memory (RuntimeError: CUDA"),
        (JobError("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cub"), "out of memory (CUDA"),
        (JobError("RuntimeError", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out of memory (cuDNN error"),
        (JobError("OSError", "OSError: no space", errno.ENOSPC), "OSError: no space; free some disk space, then run"),
        (JobError("SafetensorError", "no room (os error 28)", errno.ENOSPC), "no room (os error 28); free some disk"),
        (JobError("OSError", "OSError: too large", errno.EFBIG), "raise the limit on file sizes"),
        (JobError("PermissionError", "PermissionError: x", errno.EACCES), "PermissionError: x; make the folder"),
        (
            JobError("SafetensorError", "SafetensorError: header"),
            "a file of tensors is damaged (SafetensorError",
        ),
        (None, "killed (SIGKILL; possibly out of memory"),
    ],
)
def test_an_error_is_reported_with_what_to_do(error, sentence):
    state = "running" if error is None else "failed"
    text = failures.reason(JobRecord("a title", "a study", state, this_process(), error))
    assert sentence in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "error", [JobError("OutOfMemoryError", "OutOfMemoryError: CUDA"), None], ids=["error", "killed"]
)
def test_a_job_that_runs_out_of_memory_is_told_which_settings_need_less(error):
    def advice(title):
        return failures.reason(JobRecord(title, "a study", "failed", this_process(), error))

    of_training = advice("train lora rte seed 1")
    assert "micro_batch_size (half of batch_size, then a quarter) or gradient_checkpointing: true" in of_training
    assert "measure.latency_batch_size" in advice("time_inference rte seed 1")
    assert "micro_batch_size" not in advice("time_inference rte seed 1") + advice("write_report")


FITS = 10**6


@pytest.mark.parametrize(
    ("prediction", "limit_mb", "advice"),
    [
        (
            {},
            FITS,
            "{micro_batch_size: 16} or {gradient_checkpointing: true}",
        ),
        (
            {},
            None,
            "{micro_batch_size: 16} or {gradient_checkpointing: true}",
        ),
        ({"checkpointed_mb": None}, FITS, "{micro_batch_size: 16}"),
        # The bounds of 32 rows are 4,820 and 7,760 MB; surely fit 10 rows, and with checkpointing 40 or 17.
        (
            {"state_mb": 2000.0},
            5000,
            "{micro_batch_size: 10} or {gradient_checkpointing: true}",
        ),
        (
            {"state_mb": 2000.0, "checkpointed_mb": 1920.0},
            5000,
            "{micro_batch_size: 10} or {gradient_checkpointing: true, micro_batch_size: 17}",
        ),
        ({"rows": 1}, FITS, "{gradient_checkpointing: true}"),
    ],
)
def test_a_run_out_of_memory_is_told_settings_below_its_batch(prediction, limit_mb, advice, tmp_path):
    """Bounds: 0.85 and 1.3 times the state and 32 rows of 100 MB (with checkpointing 25), and 400 and 1,000 MB."""
    made = {"rows": 32, "tokens": 64, "state_mb": 100.0, "saved_mb": 3200.0, "checkpointed_mb": 800.0} | prediction
    write_json(tmp_path / "memory" / "rte.json", {"kind": "cuda", "limit_mb": limit_mb, "methods": {"fft": made}})
    log = tmp_path / "logs" / "train" / "fft" / "rte" / "seed1.log"
    error = JobError("OutOfMemoryError", "OutOfMemoryError: CUDA")
    for problem in (error, None):
        text = failures.reason(JobRecord("train Full FT rte seed 1", "a study", "failed", this_process(), problem), log)
        assert f"add {advice} to its hyperparameters, or lower data.max_length" in text


@pytest.mark.parametrize(
    "content", [None, "{", {"kind": None, "methods": {"fft": None}}, {"methods": []}, {"methods": {"fft": {"rows": 1}}}]
)
def test_without_a_prediction_that_can_be_read_the_advice_has_no_numbers(content, tmp_path):
    file = tmp_path / "memory" / "rte.json"
    file.parent.mkdir()
    if content is not None:
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    record = JobRecord("train Full FT rte seed 1", "a study", "failed", this_process(), None)
    text = failures.reason(record, tmp_path / "logs" / "train" / "fft" / "rte" / "seed1.log")
    assert "micro_batch_size (half of batch_size, then a quarter)" in text


@pytest.mark.parametrize(
    "allocate",
    [lambda: torch.empty(10**15), lambda: np.empty(10**15), lambda: pa.allocate_buffer(10**15)],
    ids=["torch", "numpy", "pyarrow"],
)
def test_an_allocation_that_fails_is_out_of_memory(allocate):
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        allocate()
    name = type(raised.value).__name__
    assert failures.advise(JobError(name, f"{name}: {raised.value}")).startswith(f"out of memory ({name}: ")


def test_an_error_that_mentions_memory_and_allocation_is_not_out_of_memory():
    error = JobError("ValueError", "the memory of 'lora' has no key 'peak_allocated_mb'")
    assert failures.advise(error) == error.message


def test_only_the_jobs_of_this_snakemake_that_did_not_finish_have_failed(tmp_path):
    error = JobError("ValueError", "a reason")
    jobs = {
        "train/a": ("mine", "failed", error), "train/b": ("mine", "running", None), "c": ("mine", "finished", None),
        "train/d": ("another", "failed", error), "e": ("mine", "waiting", None),
    }  # fmt: skip
    for name, (study, state, problem) in jobs.items():
        record = JobRecord(name, study, state, this_process(), problem)
        log = tmp_path / f"{name}.log"
        write_json(exit_record(log), asdict(record))
        log.touch()
    (tmp_path / "no job of ours.log").touch()
    killed = failures.KILLED.format(less_memory="")
    assert failures.failed_jobs(tmp_path, "mine") == [
        failures.FailedJob(tmp_path / "e.log", "e", killed),
        failures.FailedJob(tmp_path / "train" / "a.log", "train/a", "a reason"),
        failures.FailedJob(tmp_path / "train" / "b.log", "train/b", killed),
    ]


@pytest.mark.parametrize(
    ("invocation", "rest"),
    [
        (failures.Invocation(2, [], {}), ["--cores", "2", "a target"]),
        (
            failures.Invocation(2, ["my file.yaml"], {"seeds": [1, 2]}),
            ["--cores", "2", "a target", "--configfile", "my file.yaml", "--config", "seeds=[1, 2]"],
        ),
        (failures.Invocation(1, [], {}, "profiles/slurm"), ["--profile", "profiles/slurm", "a target"]),
    ],
)
def test_a_job_runs_again_as_snakemake_was_called(monkeypatch, invocation, rest):
    monkeypatch.setattr(sys, "argv", ["bin/snakemake"])
    assert shlex.split(failures.rerun_command("a target", invocation)) == ["bin/snakemake", *rest]


def test_a_job_runs_again_by_the_python_that_ran_snakemake_as_a_module(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lib/snakemake/__main__.py"])
    monkeypatch.setattr(sys, "orig_argv", ["bin/python", "-m", "snakemake"])
    command = failures.rerun_command("a target", failures.Invocation(2, [], {}))
    assert shlex.split(command) == ["bin/python", "-m", "snakemake", "--cores", "2", "a target"]
