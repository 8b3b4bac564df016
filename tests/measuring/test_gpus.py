"""Which GPUs a job may use, and that no two jobs are on one."""

import os
import subprocess
import sys
import time

import pytest
import torch
from builders import HANG_SECONDS, ROOT

from lora_core import device as devices
from lora_core.measuring import exclusive, gpus
from lora_core.measuring.exclusive import exclusive_device, expects_gpu, starting

FOUR = [[f"GPU-{letter}"] for letter in "abcd"]


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """Locks of its own, no GPU chosen yet, and a driver that is asked again."""
    monkeypatch.setattr(exclusive.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(devices, "_only_gpu", None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    gpus.driver_gpus.cache_clear()
    yield
    gpus.driver_gpus.cache_clear()


@pytest.fixture
def two_gpus(fake_nvml, monkeypatch):
    """Two GPUs of the stand-in driver, on which CUDA seems to start."""
    fake_nvml(devices=2, cuda=99000, watts=100)
    monkeypatch.setattr(exclusive, "_start", lambda device: device)
    return ["GPU-fake-0", "GPU-fake-1"]


# --- Which GPUs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chosen",
    ["0", "2,0", " 1 , 3", "0,9,1", "-1", "0,-1,1", "0,0", "1,1,2", "NoDevFiles", "none", "", "+1", "1gpu", "3,x,2"],
)  # fmt: skip
def test_numbers_are_read_as_torch_reads_them(monkeypatch, chosen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    numbers = torch.cuda._parse_visible_devices()
    valid = numbers[: next((i for i, n in enumerate(numbers) if n >= len(FOUR)), len(numbers))]  # CUDA stops there
    assert gpus.choose(FOUR, chosen) == [FOUR[n][0] for n in valid]


@pytest.mark.parametrize(
    ("chosen", "uuids"),
    [
        ("GPU-11", ["GPU-11aa"]), ("GPU-12bb,GPU-11aa", ["GPU-12bb", "GPU-11aa"]), ("GPU-7", []),
        ("MIG-5", ["MIG-5"]), ("2", ["MIG-5", "MIG-6"]), ("GPU-11aa,GPU-11aa", []), ("11aa", []),
        ("GPU-1", []), ("GPU-11,GPU-1,GPU-12", ["GPU-11aa"]), ("MIG-", []), ("GPU-11aa,GPU-1", ["GPU-11aa"]),
    ],
)  # fmt: skip
def test_names_are_those_of_gpus_and_of_slices(chosen, uuids):
    assert gpus.choose([["GPU-11aa"], ["GPU-12bb"], ["MIG-5", "MIG-6"]], chosen) == uuids


@pytest.mark.parametrize(
    "chosen", ["GPU-11", "GPU-12bb,GPU-11aa", "GPU-1", "GPU-12,GPU-1,GPU-11", "GPU-11,GPU-11aa", "GPU-7,GPU-11", "GPU-"]
)
def test_names_are_read_as_torch_reads_them(monkeypatch, chosen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    uuids = ["GPU-11aa", "GPU-12bb"]
    numbers = torch.cuda._transform_uuid_to_ordinals(torch.cuda._parse_visible_devices(), uuids)
    assert gpus.choose([[uuid] for uuid in uuids], chosen) == [uuids[number] for number in numbers]


def test_all_gpus_of_the_driver_are_visible_without_a_choice(two_gpus):
    assert gpus.visible_gpus() == two_gpus


def test_the_choice_of_a_scheduler_is_respected(two_gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")  # as Slurm sets it for a job with one GPU
    assert gpus.visible_gpus() == [two_gpus[1]]
    with exclusive_device("auto", "auto") as held:
        assert held.meter.read().power_watts == 200  # device 1 draws twice as much as device 0
        held.meter.close()


# By a value of CUDA_VISIBLE_DEVICES, the power of the GPU that is measured: the first draws 100 W, the second 200 W.
MEASURED = {
    "0": 100, "1": 200, "1,0": 200, "0,-1,1": 100, "1,7": 200, "1,x": 200, "+1": 200,
    "GPU-fake-1": 200, "GPU-fake-0": 100, "GPU-fake-1,GPU-fake-0": 200, "GPU-fake-1,GPU-other": 200,
    " GPU-fake-1 ": 200,
    "": None, " ": None, "-1": None, "-1,0": None, "7": None, "7,0": None, "1,1": None, "none": None,
    "NoDevFiles": None,
    "GPU-other": None, "GPU-other,GPU-fake-0": None, "GPU-": None, "fake-1": None, "MIG-fake-0-0": None,
}  # fmt: skip


@pytest.mark.parametrize("chosen", MEASURED)
def test_the_gpu_that_cuda_visible_devices_leaves_is_the_one_that_is_measured(two_gpus, monkeypatch, chosen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    watts = MEASURED[chosen]
    with exclusive_device("auto", "auto") as held:
        try:
            if watts is None:
                assert held.device == torch.device("cpu")
                assert held.meter.name != "nvml"
            else:
                gpu = two_gpus[watts == 200]
                assert held.meter.name == "nvml"
                assert held.meter.device_id == devices.label(held.device) == devices.label_of(gpu)
                first, second = held.meter.read(), held.meter.read()
                assert (first.power_watts, first.memory_used_mb) == (watts, 10 * watts)
                assert first.counter_millijoules < second.counter_millijoules
                assert os.environ["CUDA_VISIBLE_DEVICES"] == gpu
        finally:
            held.meter.close()


@pytest.mark.parametrize("chosen", [chosen for chosen, watts in MEASURED.items() if watts is None])
def test_no_gpu_is_measured_for_a_study_that_asks_for_one_and_may_use_none(two_gpus, monkeypatch, chosen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    with pytest.raises(ValueError, match="'cuda', but torch sees no CUDA device"), exclusive_device("cuda", "auto"):
        pass


def test_a_gpu_is_known_by_the_start_of_its_uuid_if_no_other_has_it(fake_nvml, monkeypatch):
    fake_nvml(devices=1, cuda=99000, watts=100)
    monkeypatch.setattr(exclusive, "_start", lambda device: device)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-fa")
    with exclusive_device("auto", "auto") as held:
        assert held.meter.read().power_watts == 100
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-fake-0"
        held.meter.close()


@pytest.mark.parametrize(("chosen", "gpu"), [("MIG-fake-0-1", "MIG-fake-0-1"), ("1", "MIG-fake-1-0")])
def test_a_slice_is_used_and_the_energy_of_its_gpu_is_not_taken_for_its_own(fake_nvml, monkeypatch, chosen, gpu):
    fake_nvml(devices=2, cuda=99000, mig=2)
    monkeypatch.setattr(exclusive, "_start", lambda device: device)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    with exclusive_device("auto", "auto") as held:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == gpu
        assert held.device.type == "cuda"
        assert held.meter.reason == "the device is a MIG slice: NVML measures no energy for a part of a GPU"
        assert held.meter.read().power_watts is held.meter.read().counter_millijoules is None


def test_slices_of_a_divided_gpu_are_devices(fake_nvml):
    fake_nvml(devices=2, cuda=99000, mig=2)
    assert gpus.visible_gpus() == ["MIG-fake-0-0", "MIG-fake-0-1", "MIG-fake-1-0", "MIG-fake-1-1"]


@pytest.mark.parametrize(
    "script", [{"cuda": 0}, {"cuda": 11080}, {"devices": 0, "cuda": 99000}, {"bad_name": 1, "cuda": 99000}]
)
def test_a_driver_that_torch_cannot_use_leaves_the_cpu(fake_nvml, script):
    fake_nvml(**script)
    assert gpus.visible_gpus() == []
    assert not expects_gpu("auto")
    assert gpus.gpu_count("auto") == 0


def test_a_driver_that_does_not_answer_says_nothing(fake_nvml, monkeypatch):
    fake_nvml(cuda=99000, hang="uuid", hang_seconds=1)
    monkeypatch.setattr(gpus.nvml, "OPEN_SECONDS", 0.1)
    assert gpus.visible_gpus() is None
    assert gpus.gpu_count("auto") == 0


def test_without_a_driver_a_start_loads_nothing():
    code = (
        "import sys; from lora_core.measuring.gpus import gpu_count; print(gpu_count('auto'), 'pynvml' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    if result.stdout.startswith("0"):  # a machine without a GPU
        assert result.stdout == "0 False\n", result.stderr


@pytest.mark.parametrize(
    ("device", "count"), [("auto", 2), ("cuda", 2), ("cuda:0", 1), ("cuda:1", 1), ("cpu", 0)]
)  # fmt: skip
def test_the_number_of_gpus_follows_the_configuration(two_gpus, device, count):
    assert gpus.gpu_count(device) == count


@pytest.mark.parametrize(("cores", "count", "threads"), [(16, 0, 16), (16, 1, 8), (16, 4, 2), (2, 4, 1), (1, 1, 1)])
def test_threads_leave_room_for_jobs_that_get_ready(cores, count, threads):
    assert gpus.threads_of_a_job(cores, count) == threads


# --- One job on each ------------------------------------------------------------------------------------------------

HOLD = """
import sys
from lora_core.measuring import exclusive, gpus
exclusive._start = lambda device: device
with exclusive.exclusive_device("auto", "auto") as held:
    print(held.meter.read().power_watts, flush=True)
    sys.stdin.read(1)
"""


def start_holder(fake_driver, tmp_path, **script):
    """Another process that holds a device until it is written to; a line says the power of the one it has."""
    script = {f"FAKE_NVML_{name.upper()}": str(value) for name, value in script.items()}
    environment = os.environ | script | {"LD_LIBRARY_PATH": str(fake_driver), "TMPDIR": str(tmp_path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", HOLD], cwd=ROOT, text=True, env=environment, **pipes)


def test_each_job_takes_a_free_gpu_and_a_job_too_many_waits_for_any(fake_driver, tmp_path):
    script = {"devices": 2, "cuda": 99000, "watts": 100}
    jobs = [start_holder(fake_driver, tmp_path, **script) for _ in range(2)]
    try:
        assert sorted(float(job.stdout.readline()) for job in jobs) == [100, 200]
        jobs.append(start_holder(fake_driver, tmp_path, **script))
        assert "waiting: another measured job is using gpu-" in jobs[2].stderr.readline()
        jobs[1].kill()  # the lock of a job that dies is free
        jobs[1].wait(HANG_SECONDS)
        assert float(jobs[2].stdout.readline()) in (100, 200)
        assert jobs[0].poll() is None
    finally:
        for job in jobs:
            job.kill()
            job.communicate(timeout=HANG_SECONDS)


def test_a_held_gpu_is_the_only_one_that_cuda_will_see(two_gpus):
    with exclusive_device("auto", "auto") as held:
        assert held.device == torch.device("cuda", 0)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == two_gpus[0]
        assert devices.label(held.device) == devices.label_of(two_gpus[0])
        assert not torch.cuda.is_initialized()
        held.meter.close()


def test_a_named_gpu_is_the_one_that_is_held(two_gpus):
    with exclusive_device("cuda:1", "auto") as held:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == two_gpus[1]
        assert held.meter.read().power_watts == 200
        held.meter.close()


@pytest.mark.parametrize(("name", "seen"), [("cuda:2", "only 2 CUDA devices"), ("cuda:7", "only 2 CUDA devices")])
def test_a_gpu_that_is_not_there_is_refused(two_gpus, name, seen):
    with pytest.raises(ValueError, match=f"'{name}', but torch sees {seen} here"), exclusive_device(name, "none"):
        pass


def test_a_gpu_is_refused_where_there_is_none(fake_nvml):
    fake_nvml(cuda=0)
    with (
        pytest.raises(ValueError, match="'cuda', but torch sees no CUDA device here"),
        exclusive_device("cuda", "none"),
    ):
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA starts here")
def test_a_gpu_on_which_cuda_does_not_start_is_named(fake_nvml):
    fake_nvml(cuda=99000)
    with (
        pytest.raises(ValueError, match=r"CUDA does not start on it \(.+\); set train.device"),
        exclusive_device("auto", "none"),
    ):
        pass


# --- The start of a job ---------------------------------------------------------------------------------------------


def test_a_job_of_the_cpu_starts_when_the_machine_is_free_and_may_hold_it_twice(fake_nvml, tmp_path):
    fake_nvml(cuda=0)
    lock = exclusive._lock_file("cpu")
    code = f"from filelock import FileLock; FileLock({str(lock)!r}, timeout=0).acquire()"
    with starting("auto"):
        with exclusive_device("auto", "none") as held:
            assert held.device == torch.device("cpu")
        assert b"Timeout" in subprocess.run([sys.executable, "-c", code], capture_output=True).stderr
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_job_of_a_gpu_gets_ready_while_all_are_held(two_gpus, tmp_path):
    with exclusive_device("cuda:0", "none"), starting("auto"):
        assert not exclusive._lock_file("cpu").exists()


class LeavingMeter:
    """A meter whose device another process leaves after some looks."""

    def __init__(self, looks):
        self.shared, self.looks = None, looks

    def begin(self):
        self.looks -= 1
        self.shared = True if self.looks > 0 else None


def test_a_process_that_is_just_leaving_the_gpu_does_not_share_it():
    meter = LeavingMeter(looks=4)
    exclusive._wait_until_alone(meter)
    assert meter.shared is None


def test_a_process_that_stays_on_the_gpu_shares_it(monkeypatch):
    monkeypatch.setattr(exclusive, "LEAVING_SECONDS", 0.2)
    meter, started = LeavingMeter(looks=10**6), time.monotonic()
    exclusive._wait_until_alone(meter)
    assert meter.shared
    assert time.monotonic() - started < 2
