"""What would change the precision unnoticed: variables, torch's settings, devices. It is overruled or refused."""

import pytest
import torch
from builders import FULL, LORA, changed, ended_jobs, log_until_torch, trained

from lora_core import precision
from lora_core.config import preflight
from lora_core.config.study import load
from lora_core.evaluation.latency import LatencyPlan, TimedMethod, TimingInputs, TimingOutputs, time_inference
from lora_core.methods.registry import settings_from_params

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
BACKENDS = torch.backends


@pytest.fixture(autouse=True)
def settings_of_torch():
    """Torch's settings are those of this process: afterwards they are the default ones."""
    yield
    for section in (BACKENDS, BACKENDS.cudnn, BACKENDS.mkldnn):
        section.fp32_precision = "none"
    precision.allow_tf32(False)


def by_old_names():
    torch.set_float32_matmul_precision("medium")
    BACKENDS.cudnn.allow_tf32 = True


def by_the_general_name():
    BACKENDS.fp32_precision = "tf32"


def by_names_of_operations():
    BACKENDS.cuda.matmul.fp32_precision = BACKENDS.cudnn.conv.fp32_precision = "tf32"
    BACKENDS.cudnn.fp32_precision = "tf32"
    BACKENDS.mkldnn.matmul.fp32_precision = BACKENDS.mkldnn.conv.fp32_precision = "bf16"


def set_precisions():
    """What torch says about every kind of product, by its older and its newer names."""
    operations = [BACKENDS.cuda.matmul]
    operations += [getattr(part, name) for part in (BACKENDS.cudnn, BACKENDS.mkldnn) for name in ("conv", "rnn")]
    operations.append(BACKENDS.mkldnn.matmul)
    names = {operation.fp32_precision for operation in operations}
    return torch.get_float32_matmul_precision(), BACKENDS.cuda.matmul.allow_tf32, BACKENDS.cudnn.allow_tf32, names


@pytest.mark.parametrize("earlier", [by_old_names, by_the_general_name, by_names_of_operations])
def test_float32_is_float32_whatever_was_set_before(earlier):
    earlier()
    precision.allow_tf32(True)
    assert set_precisions() == ("high", True, True, {"tf32"})
    earlier()
    precision.allow_tf32(False)
    assert set_precisions() == ("highest", False, False, {"ieee"})


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_a_run_turns_tf32_off(name, bert, cola, tmp_path):
    by_old_names()
    trained(LORA, bert, cola, tmp_path / "run", precision=name, hyperparameters={"epochs": 1})
    assert set_precisions() == ("highest", False, False, {"ieee"})


@pytest.mark.parametrize("name", precision.VARIABLES)
@pytest.mark.parametrize("value", ["0", "1", ""])
def test_a_variable_that_overrides_the_precision_is_removed_and_named(name, value, capsys):
    environment = {name: value, "HOME": "/"}
    precision.ignore_environment(environment)
    assert environment == {"HOME": "/"}
    assert capsys.readouterr().err == f"{name} is ignored: train.precision decides the precision\n"


@pytest.mark.parametrize("script", ["train", "time_inference"])
def test_a_measured_job_removes_them_before_torch_is_imported(script, tmp_path):
    variable = "NVIDIA_TF32_OVERRIDE"
    log = log_until_torch(f"{script}.py", tmp_path / "job.log", variable, device="cpu", **{variable: "1"})
    assert f"{variable}: None" in log
    assert f"{variable} is ignored" in log


def rounded(factors, others):
    """A product as tensor cores compute it: of rounded factors."""
    return factors.bfloat16().float().mm(others.bfloat16().float())


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_a_device_that_rounds_products_of_float32_is_refused(name, monkeypatch):
    precision.check_products(name, CPU)
    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    with pytest.raises(ValueError, match=f"train.precision is '{name}', but products of float32 are rounded here"):
        precision.check_products(name, CPU)
    precision.check_products("tf32", CPU)


def test_a_run_on_a_device_that_rounds_leaves_no_result(bert, cola, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    with pytest.raises(ValueError, match="products of float32 are rounded here"):
        trained(LORA, bert, cola, tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize(("name", "needed"), [("fp32", False), ("fp16", False), ("tf32", True), ("bf16", True)])
def test_a_gpu_that_lacks_a_precision_is_refused_by_name(name, needed, monkeypatch):
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "Tesla V100")
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (8, 0))
    precision.check_device(name, CUDA)
    precision.check_device(name, CPU)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (7, 5))
    if not needed:
        precision.check_device(name, CUDA)
        return
    text = rf"'{name}', which Tesla V100 lacks \(its compute capability is 7.5, 8.0 is needed\); set 'fp32' or 'fp16'$"
    with pytest.raises(ValueError, match=text):
        precision.check_device(name, CUDA)


@pytest.mark.parametrize("name", ["tf32", "fp16"])
def test_a_run_in_a_precision_of_gpus_on_a_cpu_is_refused_before_anything_is_read(name, tmp_path):
    message = rf"train\.precision is '{name}', which only GPUs have"
    with pytest.raises(ValueError, match=f"{message}; set 'fp32' or 'bf16'"):
        trained(LORA, tmp_path / "no model", tmp_path / "no data", tmp_path / "run", precision=name)
    plan = LatencyPlan(1, 0.0, 0.03, 16, 1, 1, "cpu", 1, None, name)
    inputs = TimingInputs(tmp_path / "no model", tmp_path / "card.json", tmp_path / "validation.safetensors")
    methods = [TimedMethod("fft", settings_from_params(FULL), tmp_path / "no weights")]
    with pytest.raises(ValueError, match=message):
        time_inference(methods, inputs, plan, TimingOutputs(tmp_path / "a.csv", tmp_path / "a.json"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("device", "is_local", "gpus", "refused"),
    [
        ("cpu", True, ["GPU-1"], True),
        ("cpu", False, [], True),
        ("auto", True, [], True),
        ("auto", True, ["GPU-1"], False),
        ("auto", True, None, False),  # the driver does not say; the job checks it
        ("auto", False, [], False),  # a cluster, whose nodes are unknown here
    ],
)
def test_a_study_in_a_precision_of_gpus_is_refused_before_it_starts_where_it_would_run_on_a_cpu(
    device, is_local, gpus, refused, monkeypatch
):
    monkeypatch.setattr(preflight, "visible_gpus", lambda: gpus)
    for name in ("fp32", "bf16"):
        preflight.check_precision(load(changed(train__precision=name, train__device=device)), is_local=is_local)
    for name in ("tf32", "fp16"):
        study = load(changed(train__precision=name, train__device=device))
        if not refused:
            preflight.check_precision(study, is_local=is_local)
            continue
        with pytest.raises(ValueError, match=rf"train\.precision is '{name}', which only GPUs have"):
            preflight.check_precision(study, is_local=is_local)


def test_timing_turns_tf32_off_too(bert, cola, full_run, tmp_path):
    by_the_general_name()
    methods = [TimedMethod("fft", settings_from_params(FULL), full_run / "weights")]
    inputs = TimingInputs(bert, cola / "card.json", cola / "validation.safetensors")
    plan = LatencyPlan(1, 0.0, 0.03, 16, 1, 1, "cpu", 1, None)
    time_inference(methods, inputs, plan, TimingOutputs(tmp_path / "a.csv", tmp_path / "a.json"))
    assert set_precisions() == ("highest", False, False, {"ieee"})


@pytest.mark.faults
def test_a_study_in_tf32_is_refused_on_a_cpu_before_any_job_unless_it_only_draws(project):
    project.configure(train__precision="tf32")
    status, output = project.run()
    assert status != 0
    assert "train.precision is 'tf32', which only GPUs have; set 'fp32' or 'bf16' to run on a CPU" in output
    assert "Traceback" not in output
    assert not ended_jobs(output)
    assert not (project.results / "runs").exists()
    status, output = project.run("results/tables/table7.md")  # what measures nothing needs no GPU
    assert status == 0, output
