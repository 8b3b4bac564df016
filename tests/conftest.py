"""What the tests share: a real two-layer model with random weights, a task's tokenised data, and finished runs."""

import csv
import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lora_core.job import QUIET
from lora_core.records import MEASURED

os.environ.update(QUIET)
os.environ["HF_HUB_OFFLINE"] = "1"

ROOT = Path(__file__).resolve().parent.parent
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 130,
    "vocab_size": 300,
}
BERT = SHAPE | {"model_type": "bert"}
ROBERTA = SHAPE | {"model_type": "roberta", "pad_token_id": 1, "type_vocab_size": 1}
LOW_RANK = {"rank": 4, "alpha": 8.0, "targets": ["query", "value"]}
LORA = {"kind": "lora", "freeze_a": False} | LOW_RANK
LORALIB = {"kind": "loralib"} | LOW_RANK
FULL = {"kind": "full"}


# What tests/faults counts.
FAULTS = {"tried": 0, "lost": 0, "wrong": 0}


def pytest_terminal_summary(terminalreporter):
    if FAULTS["tried"]:
        told = "faults tried: {tried}, results lost: {lost}, results wrong: {wrong}".format(**FAULTS)
        terminalreporter.write_line(told)


def without_measured(record: dict) -> dict:
    """A record, or a row, without the fields that differ from one execution to the next."""
    return {name: value for name, value in record.items() if name not in MEASURED}


def unmeasured_rows(file: Path) -> list[dict]:
    """The rows of a CSV file, what is measured left out."""
    with file.open(newline="", encoding="utf-8") as stream:
        return [without_measured(row) for row in csv.DictReader(stream)]


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> Path:
    """A prepared two-layer BERT with random weights."""
    return prepared(tmp_path_factory.mktemp("models") / "bert", BERT)


@pytest.fixture(scope="session")
def roberta(tmp_path_factory) -> Path:
    """A prepared two-layer RoBERTa with random weights."""
    return prepared(tmp_path_factory.mktemp("models") / "roberta", ROBERTA)


def prepared(folder: Path, config: dict) -> Path:
    from lora_core.models.pretrained import prepare

    prepare({"source": "random", "config": config, "seed": 7}, folder)
    return folder


@pytest.fixture(scope="session")
def cola(bert, tmp_path_factory) -> Path:
    """Some tens of tokenised mini-CoLA examples."""
    return tokenized(bert, tmp_path_factory.mktemp("data") / "cola", "cola")


def tokenized(model: Path, out: Path, name: str, train: int = 64, validation: int = 40) -> Path:
    from lora_core.data.datasets import tokenize_task
    from lora_core.data.tasks import TASKS

    task = TASKS[name]
    source = {"source": "mini", "seed": 0, "max_train_examples": train, "max_validation_examples": validation}
    tokenize_task(source, name, metrics=task.metrics, model=model, max_length=128, out=out, **task.layout)
    return out


def spec(settings: dict, **changes):
    """A run of two epochs, by default of own LoRA."""
    from lora_core.training.run import Spec

    hyper = {
        "optimizer": "adamw", "schedule": "linear", "batch_size": 8, "epochs": 2, "learning_rate": 1e-3,
        "weight_decay": 0.01, "warmup_ratio": 0.1, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8,
        "max_grad_norm": 1.0, "dropout": None, "head_bias": "zero", "loraplus_lr_ratio": 1.0,
        "gradient_checkpointing": False,
    }  # fmt: skip
    hyper |= changes.pop("hyperparameters", {})
    values = {
        "method": settings["kind"], "task": "cola", "seed": 1, "settings": settings, "hyperparameters": hyper,
        "precision": "fp32", "batching": "bucketed", "evaluation_batch_size": 16, "device": "cpu", "meter": "none",
        "simulated": False, "sample_seconds": 0.5, "idle_seconds": 0.0, "base_model": "base",
    }  # fmt: skip
    return Spec(**(values | changes))


def trained(settings: dict, model: Path, data: Path, out: Path, **changes) -> Path:
    from lora_core.training.run import train

    train(spec(settings, base_model=model.name, **changes), model, data, out, threads=1)
    return out


@pytest.fixture(scope="session")
def lora_run(bert, cola, tmp_path_factory) -> Path:
    """A finished run of own LoRA."""
    return trained(LORA, bert, cola, tmp_path_factory.mktemp("runs") / "lora")


@pytest.fixture(scope="session")
def full_run(bert, cola, tmp_path_factory) -> Path:
    """A finished run of full fine-tuning."""
    return trained(FULL, bert, cola, tmp_path_factory.mktemp("runs") / "full")


@pytest.fixture(scope="session")
def fake_driver(tmp_path_factory) -> Path:
    """A folder with a stand-in libnvidia-ml.so.1, for LD_LIBRARY_PATH."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the stand-in driver")
    folder = tmp_path_factory.mktemp("driver")
    library = "libnvidia-ml.so.1"
    source = ROOT / "tests" / "fixtures" / "fake_nvml.c"
    command = [compiler, "-Wall", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", folder / library]
    subprocess.run([*command, source, "-lm"], check=True)
    return folder


@pytest.fixture
def fake_nvml(fake_driver, monkeypatch):
    """The stand-in driver in this process, found by the real pynvml; gives a function that scripts it."""
    library = ctypes.CDLL(str(fake_driver / "libnvidia-ml.so.1"), mode=ctypes.RTLD_GLOBAL)
    for name in [name for name in os.environ if name.startswith("FAKE_NVML_")]:
        monkeypatch.delenv(name)

    def script(**settings) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"FAKE_NVML_{name.upper()}", str(value))

    yield script
    for _ in range(100):  # as often as any test may have opened it: the next one's time starts at 0
        library.nvmlShutdown()


def shared_glue() -> Path:
    """Real GLUE beside the project; a user has none, and the test skips."""
    folder = ROOT.parent / "shared" / "glue"
    if not folder.is_dir():
        pytest.skip("real GLUE data is not beside the project (../shared/glue)")
    return folder
