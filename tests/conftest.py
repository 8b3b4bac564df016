"""Fixtures that tests share: a real two-layer model with random weights, a task's data, finished runs, a driver."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from builders import BERT, FAULTS, FULL, LORA, ROBERTA, ROOT, own_task, prepared, tokenized, trained


def pytest_configure(config):
    """Give each worker a temporary folder, and with it a lock for its measured jobs: no test looks at their times."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        folder = Path(tempfile.gettempdir()) / f"lora-core-tests-{os.getppid()}-{worker}"
        folder.mkdir(exist_ok=True)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_sessionfinish(session):
    """Tell the main process how many faults this worker tried."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = FAULTS


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Add the faults that a worker tried."""
    for name, count in getattr(node, "workeroutput", {}).get("faults", {}).items():
        FAULTS[name] += count


def pytest_terminal_summary(terminalreporter):
    if FAULTS["tried"]:
        summary = "faults tried: {tried}, results lost: {lost}, results wrong: {wrong}".format(**FAULTS)
        terminalreporter.write_line(summary)


def pytest_collection_modifyitems(items):
    """Put the files that run the workflow first: with several workers, the longest file must not begin last.

    The first makes the study that others of its folder share; until it is there, another worker tries faults.
    """
    folders = ("faults", "workflow")
    items.sort(key=lambda item: (item.path.name != "test_bad_input.py", item.path.parent.name not in folders))


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> Path:
    """A prepared two-layer BERT with random weights."""
    return prepared(tmp_path_factory.mktemp("models") / "bert", BERT)


@pytest.fixture(scope="session")
def roberta(tmp_path_factory) -> Path:
    """A prepared two-layer RoBERTa with random weights."""
    return prepared(tmp_path_factory.mktemp("models") / "roberta", ROBERTA)


@pytest.fixture(scope="session")
def cola(bert, tmp_path_factory) -> Path:
    """Some tens of tokenized mini-CoLA examples."""
    return tokenized(bert, tmp_path_factory.mktemp("data") / "cola", "cola")


@pytest.fixture(scope="session")
def own_data(bert, tmp_path_factory) -> Path:
    """A tokenized task of one's own with a test split."""
    from lora_core.data.datasets import TokenizedFiles, tokenize_task

    folder = tmp_path_factory.mktemp("own")
    source, task = own_task(folder / "files")
    tokenize_task(source, task, bert, 128, TokenizedFiles.in_folder(folder / "own", test=True))
    return folder / "own"


@pytest.fixture(scope="session")
def own_run(bert, own_data, tmp_path_factory) -> Path:
    """A finished run of own LoRA on a task with a test split."""
    return trained(LORA, bert, own_data, tmp_path_factory.mktemp("runs") / "own", task="own")


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
def fake_nvml(fake_driver, monkeypatch, tmp_path_factory):
    """The stand-in driver in this process, found by the real pynvml; gives a function that scripts it.

    What is kept about its devices is kept for this test alone.
    """
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
    library = ctypes.CDLL(str(fake_driver / "libnvidia-ml.so.1"), mode=ctypes.RTLD_GLOBAL)
    for name in [name for name in os.environ if name.startswith("FAKE_NVML_")]:
        monkeypatch.delenv(name)

    def script(**settings) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"FAKE_NVML_{name.upper()}", str(value))

    yield script
    for _ in range(100):  # as often as any test may have opened it: the next one's time starts at 0
        library.nvmlShutdown()
