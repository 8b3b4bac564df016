"""What the tests share: a real two-layer model with random weights, a task's tokenised data, and finished runs."""

import os
from pathlib import Path

import pytest

from lora_core.joblog import QUIET

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
LORA = {"kind": "lora", "rank": 4, "alpha": 8.0, "targets": ["query", "value"]}
LORALIB = LORA | {"kind": "loralib"}
FULL = {"kind": "full"}


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> Path:
    """A prepared two-layer BERT with random weights."""
    return prepared(tmp_path_factory.mktemp("models") / "bert", BERT)


@pytest.fixture(scope="session")
def roberta(tmp_path_factory) -> Path:
    """A prepared two-layer RoBERTa with random weights."""
    return prepared(tmp_path_factory.mktemp("models") / "roberta", ROBERTA)


def prepared(folder: Path, config: dict) -> Path:
    from lora_core.models import prepare

    prepare({"source": "random", "config": config, "seed": 7}, folder)
    return folder


@pytest.fixture(scope="session")
def cola(bert, tmp_path_factory) -> Path:
    """Some tens of tokenised mini-CoLA examples."""
    return tokenized(bert, tmp_path_factory.mktemp("data") / "cola", "cola")


def tokenized(model: Path, out: Path, name: str, train: int = 64, validation: int = 40) -> Path:
    from lora_core.data import tokenize_task
    from lora_core.tasks import TASKS

    task = TASKS[name]
    source = {"source": "mini", "seed": 0, "max_train_examples": train, "max_validation_examples": validation}
    tokenize_task(source, name, task.columns, task.labels, task.metrics, model, 128, out)
    return out


def spec(settings: dict, **changes):
    """A run of two epochs, by default of own LoRA."""
    from lora_core.train import Spec

    hyper = {
        "optimizer": "adamw", "schedule": "linear", "batch_size": 8, "epochs": 2, "learning_rate": 1e-3,
        "weight_decay": 0.01, "warmup_ratio": 0.1, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8,
        "max_grad_norm": 1.0, "dropout": None, "head_bias": "zero",
    }  # fmt: skip
    hyper |= changes.pop("hyperparameters", {})
    values = {
        "method": settings["kind"], "task": "cola", "seed": 1, "settings": settings, "hyperparameters": hyper,
        "precision": "fp32", "batching": "bucketed", "evaluation_batch_size": 16, "device": "cpu", "meter": "none",
        "simulated": False, "sample_seconds": 0.5, "base_model": "base",
    }  # fmt: skip
    return Spec(**(values | changes))


def trained(settings: dict, model: Path, data: Path, out: Path, **changes) -> Path:
    from lora_core.train import train

    train(spec(settings, **changes), model, data, out, threads=1)
    return out


@pytest.fixture(scope="session")
def lora_run(bert, cola, tmp_path_factory) -> Path:
    """A finished run of own LoRA."""
    return trained(LORA, bert, cola, tmp_path_factory.mktemp("runs") / "lora")


@pytest.fixture(scope="session")
def full_run(bert, cola, tmp_path_factory) -> Path:
    """A finished run of full fine-tuning."""
    return trained(FULL, bert, cola, tmp_path_factory.mktemp("runs") / "full")


def shared_glue() -> Path:
    """Real GLUE beside the project; a user has none, and the test skips."""
    folder = ROOT.parent / "shared" / "glue"
    if not folder.is_dir():
        pytest.skip("real GLUE data is not beside the project (../shared/glue)")
    return folder
