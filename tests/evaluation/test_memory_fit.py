"""Whether a study's batches fit into memory: predicted before training, compared with a limit, and what to do."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import psutil
import pytest
from builders import FULL, LORA, ROOT, changed, encoder, prepared, spec, tokenized

from lora_core.config import params, preflight
from lora_core.config.study import load
from lora_core.data.card import read_data_card
from lora_core.evaluation import memory_check
from lora_core.evaluation.memory_check import check_memory
from lora_core.evaluation.memory_fit import Prediction, fit, read_predictions, remedies_after_failure
from lora_core.layout import Layout
from lora_core.measuring import gpus, memory_limit
from lora_core.measuring.memory_limit import MemoryLimit
from lora_core.records import read_json, write_json
from lora_core.sealed import seal

LARGE = Prediction(rows=32, tokens=128, state_mb=1000.0, saved_mb=8000.0, checkpointed_mb=1600.0)
RUN = ("lora", "rte")


def limit(mb, kind="cpu", name="this machine"):
    return MemoryLimit(kind, mb, name)


def bounds(prediction=LARGE, kind="cpu", **changes):
    return prediction.peak_mb(kind, **changes)


def test_what_surely_fits_is_neither_refused_nor_warned_of():
    low, high = bounds()
    assert fit({RUN: LARGE}, limit(high)).refusals == fit({RUN: LARGE}, limit(high)).warnings == []
    assert fit({RUN: LARGE}, None).refusals == []
    assert low < 9000 < high


def test_what_cannot_fit_is_refused_with_the_largest_micro_batch_that_surely_does():
    low, _ = bounds()
    found = fit({RUN: LARGE}, limit(low - 1))
    (refusal,) = found.refusals
    assert found.warnings == []
    rows = int(re.search(r"\{micro_batch_size: (\d+)\}", refusal)[1])
    assert bounds(rows=rows)[1] <= low - 1 < bounds(rows=rows + 1)[1]
    assert refusal.startswith("lora on rte needs ")
    assert f"for 32 × 128 tokens at once, and this machine has {low - 1:,.0f} MB" in refusal
    assert "or {gradient_checkpointing: true}" in refusal
    with pytest.raises(ValueError, match="lora on rte needs"):
        found.check()


def test_what_may_not_fit_is_a_warning_with_the_same_remedies():
    low, high = bounds()
    found = fit({RUN: LARGE}, limit((low + high) / 2))
    assert found.refusals == []
    assert "and may not fit; if it does not, add {micro_batch_size: " in found.warnings[0]
    found.check()


def test_checkpointing_is_advised_with_micro_batches_where_it_needs_them_and_not_where_there_is_none():
    both = limit(bounds(rows=8, checkpointing=True)[1])
    assert "{gradient_checkpointing: true, micro_batch_size: 8}" in fit({RUN: LARGE}, both).refusals[0]
    without = Prediction(32, 128, 1000.0, 8000.0, None)
    assert "checkpointing" not in fit({RUN: without}, both).refusals[0]


def test_a_model_too_large_for_one_example_says_what_else_to_do():
    assert "not even one example fits, so use a smaller model" in fit({RUN: LARGE}, limit(1000)).refusals[0]


def test_settings_with_which_one_example_may_fit_are_named_where_none_surely_makes_it_fit():
    low, high = bounds(rows=1)
    assert low < high
    less = "use a smaller model, a smaller data.max_length, or more memory"
    (refusal,) = fit({RUN: LARGE}, limit(low)).refusals
    settings = "{micro_batch_size: 1} or {gradient_checkpointing: true, micro_batch_size: 1}"
    assert refusal.endswith(f"; add {settings} to its hyperparameters, which may fit, or {less}")
    one = replace(LARGE, rows=1, saved_mb=LARGE.saved_mb / 32, checkpointed_mb=None)
    assert fit({RUN: one}, limit(low)).warnings[0].endswith(f"may not fit; if it does not, {less}")


def test_of_many_that_do_not_fit_the_first_are_described():
    runs = {(f"m{i}", task): LARGE for i, task in product(range(20), ("cola", "rte"))}
    with pytest.raises(ValueError, match="and 20 more do not fit") as refused:
        fit(runs, limit(2000)).check()
    assert str(refused.value).count("needs") == 20


# --- What is predicted ----------------------------------------------------------------------------------------------


def checked(bert, cola, out, hyperparameters=None, mb=1e6, kind="cpu", settings=LORA, **changes):
    run = spec(settings, hyperparameters=hyperparameters or {}, **changes)
    check_memory(bert, read_data_card(cola / "card.json"), {"lora": run}, limit(mb, kind), out)
    return read_predictions([out], kind)[RUN[0], out.stem]


@pytest.fixture
def out(tmp_path):
    return Path(Layout(str(tmp_path)).memory.format(task="cola"))


@pytest.mark.parametrize("micro", [None, 3])
def test_the_prediction_is_what_the_run_of_the_largest_batch_counts(micro, bert, cola, out, full_run):
    longest = read_data_card(cola / "card.json").train.longest
    found = checked(bert, cola, out, {"micro_batch_size": micro}, settings=FULL)
    assert (found.rows, found.tokens) == (micro or 8, longest)
    assert remedies_after_failure(out, RUN[0]).startswith(
        f"add {{micro_batch_size: {(micro or 8) // 2}}} or {{gradient_checkpointing: true}} to its hyperparameters"
    )
    assert read_json(out)["limit_mb"] == 1e6
    memory = read_json(full_run / "run.json")["measurement"]["memory"]
    assert memory["largest_batch"] == [8, longest]
    assert found.saved_mb == pytest.approx(memory["saved_for_backward_mb"] * found.rows / 8, rel=0.01)
    assert found.state_mb == pytest.approx(sum(memory[f"{p}_mb"] for p in ("weights", "gradients", "optimizer")))
    assert found.checkpointed_mb < found.saved_mb


def test_on_a_gpu_lengths_are_rounded_up_and_bf16_is_predicted_without_one(bert, cola, out):
    single, half = (checked(bert, cola, out, kind="cuda", precision=name) for name in ("fp32", "bf16"))
    assert single.tokens == half.tokens == -(-read_data_card(cola / "card.json").train.longest // 8) * 8
    assert half.saved_mb < 0.8 * single.saved_mb


def test_dropout_of_the_run_counts_and_checkpointing_is_not_advised_twice(bert, cola, out):
    assert checked(bert, cola, out, {"dropout": 0.0}).saved_mb < checked(bert, cola, out).saved_mb
    found = checked(bert, cola, out, {"gradient_checkpointing": True})
    assert found.checkpointed_mb is None
    assert found.saved_mb < checked(bert, cola, out).saved_mb


def test_an_architecture_without_checkpointing_has_no_prediction_with_it(bert, cola, out, monkeypatch):
    def refuse(model):
        raise ValueError("does not support it")

    monkeypatch.setattr(memory_check.registry.models, "enable_checkpointing", refuse)
    assert checked(bert, cola, out).checkpointed_mb is None


def test_a_batch_that_does_not_fit_is_refused_before_anything_is_written(bert, cola, out):
    with pytest.raises(ValueError, match=r"lora on cola needs .* and this machine has 100 MB"):
        checked(bert, cola, out, mb=100)
    assert not out.exists()


def test_without_a_known_limit_nothing_is_predicted(bert, cola, out):
    run = {"lora": spec(LORA)}
    check_memory(bert, read_data_card(cola / "card.json"), run, None, out)
    assert read_predictions([out], "cpu") == {}
    assert read_json(out)["methods"] == {"lora": None}


UNSUPPORTED = {
    "albert": (
        spec(LORA, hyperparameters={"gradient_checkpointing": True}),
        r"^hyperparameters\.gradient_checkpointing: AlbertForSequenceClassification does not support it; set it to f",
    ),
    "distilbert": (spec(LORA), r"no linear module is called \['query', 'value'\]"),
}


@pytest.mark.parametrize("mb", [None, 1e6])
@pytest.mark.parametrize("architecture", UNSUPPORTED)
def test_what_the_architecture_does_not_support_is_refused_whatever_the_limit(architecture, mb, out, tmp_path):
    model = prepared(tmp_path / "model", encoder(architecture))
    card = read_data_card(tokenized(model, tmp_path / "data", "cola", 8, 8) / "card.json")
    run, problem = UNSUPPORTED[architecture]
    with pytest.raises(ValueError, match=problem):
        check_memory(model, card, {"fft": spec(FULL), "lora": run}, mb and limit(mb), out)
    assert not out.exists()


# --- The limit ------------------------------------------------------------------------------------------------------


def test_the_limit_of_a_local_run_is_the_machines_or_the_containers_or_the_one_that_was_given(monkeypatch, tmp_path):
    monkeypatch.setattr(memory_limit, "CGROUP_LIMIT", tmp_path / "memory.max")
    machine = memory_limit.memory_limit("cpu", True, None, False)
    assert machine.mb == pytest.approx(psutil.virtual_memory().total / 1e6, rel=0.01)
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_limit.memory_limit("cpu", True, None, False) == machine
    (tmp_path / "memory.max").write_text("500000000\n")
    assert memory_limit.memory_limit("cpu", True, None, False).mb == 500
    given = memory_limit.memory_limit("cpu", True, 300, False)
    assert (given.mb, given.name) == (300, "a job (mem_mb)")


def test_on_a_cluster_the_limit_is_what_a_job_asks_for_and_its_gpu_is_not_known():
    assert memory_limit.memory_limit("cpu", False, 300, True).mb == 300
    assert memory_limit.memory_limit("auto", False, 10**9, False).mb == 10**9
    assert memory_limit.memory_limit("auto", False, 300, True) is None
    assert memory_limit.memory_limit("cuda", False, 300, False) is None


def test_the_limit_of_a_gpu_is_what_its_driver_says(fake_nvml, monkeypatch):
    fake_nvml(devices=2)
    monkeypatch.setattr(gpus, "visible_gpus", lambda: ["GPU-fake-0", "GPU-fake-1"])
    for device in ("auto", "cuda", "cuda:1"):
        assert memory_limit.memory_limit(device, True, 300, False) == limit(12000, "cuda", "the GPU")
    assert memory_limit.memory_limit("cuda:2", True, 300, False) is None
    assert memory_limit.memory_limit("cpu", True, 300, False).kind == "cpu"
    assert gpus.memory_mb(["GPU-gone"]) is None


# --- At the start, without torch ------------------------------------------------------------------------------------


def study_of(folder, **changes):
    return load(changed(results_dir=str(folder), tasks=["cola", "rte"], methods=["fft", "lora"], **changes))


def planned(study, *tasks):
    layout = Layout(study.results_dir)
    runs = product(study.methods, tasks, study.seeds)
    return {layout.run_record.format(method=method, task=task, seed=seed) for method, task, seed in runs}


def write_predictions(study, task, kind="cpu"):
    file = Path(Layout(study.results_dir).memory.format(task=task))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, seal({"kind": kind, "methods": {method: vars(LARGE) for method in study.methods}}))
    return str(file)


def test_planned_runs_are_compared_with_what_was_predicted_for_them(tmp_path):
    study = study_of(tmp_path)
    file = write_predictions(study, "rte")
    small = limit(5000)
    with pytest.raises(ValueError, match=r"fft on rte needs .*\nlora on rte needs"):
        preflight.check_fit(study, planned(study, "cola", "rte"), small)
    assert preflight.check_fit(study, planned(study, "cola"), small) == []  # nothing is predicted yet
    assert preflight.check_fit(study, {*planned(study, "rte"), file}, small) == []  # it is predicted again
    assert preflight.check_fit(study, set(), small) == preflight.check_fit(study, planned(study, "rte"), None) == []
    assert preflight.check_fit(study, planned(study, "rte"), limit(5000, "cuda")) == []  # another kind of device
    assert len(preflight.check_fit(study, planned(study, "rte"), limit(9000))) == 2


def test_a_task_that_runs_start_from_is_predicted_for_the_methods_that_are_trained_on_it(tmp_path):
    study = study_of(tmp_path, method_settings__lora__task_hyperparameters={"rte": {"start_from": "mnli"}})
    assert study.trained_tasks == ["cola", "rte", "mnli"]
    assert params.memory_params(study, "mnli").keys() == {"lora"}
    assert params.memory_params(study, "rte").keys() == {"fft", "lora"}


def test_an_edited_prediction_is_named(tmp_path):
    study = study_of(tmp_path)
    file = Path(write_predictions(study, "rte"))
    file.write_text(file.read_text().replace("8000", "8"))
    with pytest.raises(ValueError, match=r"rte\.json was edited"):
        preflight.check_fit(study, planned(study, "rte"), limit(5000))


START = """
import sys, time
from pathlib import Path
sys.path.insert(0, "tests")
from lora_core.config import preflight, study
from lora_core.measuring.memory_limit import MemoryLimit
config = eval(Path(sys.argv[1]).read_text())
study = study.load(config)
planned = set(Path(sys.argv[2]).read_text().split("\\n"))
started = time.process_time()
limit = preflight.memory_limit(study, is_local=True)
assert preflight.check_fit(study, planned, MemoryLimit("cpu", 1e9, "this machine")) == []
print(time.process_time() - started, "torch" in sys.modules, len(planned))
"""


def test_the_check_of_a_thousand_runs_takes_less_than_a_second_without_torch(tmp_path):
    config = changed(results_dir=str(tmp_path), seeds=list(range(1, 101)))
    study = load(config)
    for task in study.tasks:
        write_predictions(study, task)
    records = planned(study, *study.tasks)
    (tmp_path / "config").write_text(repr(config))
    (tmp_path / "planned").write_text("\n".join(records))
    command = [sys.executable, "-c", START, str(tmp_path / "config"), str(tmp_path / "planned")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    seconds, with_torch, runs = done.stdout.split()
    assert (float(seconds) < 1, with_torch, int(runs) >= 900) == (True, "False", True)
