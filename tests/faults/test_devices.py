"""Jobs that want one device: several GPUs, jobs that die while they hold one, two studies on one CPU."""

import os
import signal
from itertools import combinations
from pathlib import Path

import pytest
from filelock import FileLock

from lora_core.device import label_of
from lora_core.job_records import read_job_record
from lora_core.records import PowerRow, read_json, read_rows

GPUS = {f"GPU-fake-{number}": 100.0 * (number + 1) for number in range(2)}  # the power of each in watts


@pytest.fixture
def gpus(fake_driver, project, tmp_path):
    """The environment of a machine with two GPUs, and a project of four runs."""
    project.configure(train={"threads": None}, method_settings={}, measure__idle_seconds=0.1)
    project.jobs = tmp_path / "jobs"
    project.jobs.mkdir()
    hooks = Path(__file__).parent / "gpu_hooks"
    return os.environ | {
        "LD_LIBRARY_PATH": str(fake_driver), "PYTHONPATH": str(hooks), "GPU_JOBS": str(project.jobs),
        "FAKE_NVML_DEVICES": "2", "FAKE_NVML_CUDA": "99000", "FAKE_NVML_WATTS": "100",
    }  # fmt: skip


RUNS = [f"results/runs/{method}/cola/seed{seed}/run.json" for method in ("fft", "lora") for seed in (1, 2)]


@pytest.mark.faults
def test_two_gpus_train_two_runs_at_once_each_alone_while_a_third_gets_ready(project, gpus):
    process = project.start("--cores", "4", *RUNS, env=gpus, cores=False)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    held = [line.split() for line in (project.jobs / "held").read_text().splitlines()]
    spans = [(gpu, float(began), float(ended)) for gpu, began, ended in held]
    assert len(spans) == len(RUNS)
    assert {gpu for gpu, *_ in spans} == set(GPUS)
    ready = [float(file.read_text()) for file in project.jobs.glob("ready *")]
    assert sum(at < min(ended for *_, ended in spans) for at in ready) == 1  # three jobs at once, not four
    overlaps = [a[0] != b[0] for a, b in combinations(spans, 2) if a[1] < b[2] and b[1] < a[2]]
    assert overlaps
    assert all(overlaps)
    watts = {label_of(gpu): power for gpu, power in GPUS.items()}
    for file in RUNS:
        run = read_json(project.folder / file)
        rows = read_rows((project.folder / file).with_name("power.csv"), PowerRow)
        assert {row.device for row in rows} == {run["provenance"]["device"]}
        assert {row.power_watts for row in rows} == {watts[run["provenance"]["device"]]}
        assert run["provenance"]["threads"] == 1  # four cores for two GPUs


@pytest.mark.faults
def test_a_killed_job_gives_its_gpu_to_the_next(project, gpus):
    process = project.start("--cores", "4", *RUNS, env=gpus, cores=False)
    project.wait(lambda: list(project.jobs.glob("training *")))
    os.kill(int(next(project.jobs.glob("training *")).name.split()[1]), signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == 1
    assert "killed (SIGKILL" in output
    held = (project.jobs / "held").read_text().splitlines()
    assert {line.split()[0] for line in held} == set(GPUS)  # of those that ended by themselves: two at once
    assert sum((project.folder / file).exists() for file in RUNS) == len(RUNS) - 1


@pytest.mark.faults
def test_a_job_of_the_cpu_imports_nothing_while_another_study_is_measured(project, tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    log = project.results / "logs/train/lora/cola/seed1.json"
    environment = os.environ | {"TMPDIR": str(folder)}
    with FileLock(folder / f"lora-core-{os.getuid()}-cpu.lock"):
        process = project.start(RUNS[2], env=environment)
        project.wait(lambda: log.exists() and read_job_record(log).state == "waiting")
        maps = Path(f"/proc/{read_job_record(log).process.pid}/maps").read_text()
        assert "libtorch" not in maps
    output, _ = process.communicate()
    assert process.returncode == 0, output
