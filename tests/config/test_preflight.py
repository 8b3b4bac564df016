"""Checks before the first job: what a study needs is there, and its results folder and targets are its own."""

import os
import subprocess
import sys

import pytest
from builders import HANG_SECONDS, ROOT, changed

from lora_core.config import data_files, preflight
from lora_core.config.study import ConfigError, load
from lora_core.measuring import gpus
from lora_core.records import read_json


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def users_task(folder, labels):
    """A study of one task of a user, in CSV files with these labels."""
    (folder / "mine").mkdir()
    for split in ("train", "validation"):
        rows = "".join(f"a text,{label}\n" for label in labels)
        (folder / "mine" / f"{split}.csv").write_text("text,label\n" + rows)
    task = {"path": "mine", "texts": ["text"], "labels": ["no", "yes"]}
    return load(changed(task_settings={"mine": task}, tasks=["mine"]))


def test_a_results_folder_of_another_study_is_refused():
    preflight.check_results_folder(load(changed()))
    preflight.write_identity(load(changed()))
    assert read_json(preflight.Path("results/study.json"))["data"] == {"source": "mini", "seed": 0}
    preflight.check_results_folder(load(changed(seeds=[7], data__max_train_examples=3)))
    message = r"holds results for other data \(source mini, seed 0; this study has source mini, seed 1\)"
    with pytest.raises(ConfigError, match=message):
        preflight.check_results_folder(load(changed(data__seed=1)))


AT_ONCE = """
import sys
from builders import changed
from lora_core.config import preflight
from lora_core.config.study import load
study = load(changed(data__seed=int(sys.argv[1])))
preflight.check_results_folder(study)  # nobody has marked the folder yet
print("ready", flush=True)
sys.stdin.readline()
try:
    preflight.write_identity(study)
except ValueError as error:
    sys.exit(str(error))
"""


def test_of_studies_that_start_at_the_same_moment_one_gets_the_folder(folder):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    studies = [
        subprocess.Popen([sys.executable, "-c", AT_ONCE, str(seed)], env=environment, text=True, **pipes)
        for seed in range(4)
    ]
    assert [study.stdout.readline() for study in studies] == ["ready\n"] * 4
    for study in studies:
        study.stdin.write("\n")
        study.stdin.flush()
    errors = [study.communicate(timeout=HANG_SECONDS)[1] for study in studies]
    (winner,) = [seed for seed, study in enumerate(studies) if study.returncode == 0]
    assert read_json(preflight.Path("results/study.json"))["data"]["seed"] == winner
    for seed, error in enumerate(errors):
        assert seed == winner or "holds results for other data" in error
    assert [file.name for file in (folder / "results").iterdir()] == ["study.json"]


def test_the_identity_of_the_first_study_stays():
    preflight.write_identity(load(changed()))
    preflight.write_identity(load(changed(seeds=[7])))
    with pytest.raises(ConfigError, match="holds results for other data"):
        preflight.write_identity(load(changed(data__seed=1)))
    assert read_json(preflight.Path("results/study.json"))["data"]["seed"] == 0


def test_files_that_a_task_is_read_from_must_exist(folder):
    with pytest.raises(ValueError, match=r"data\.path: there is no folder 'glue'"):
        preflight.check_paths(load(changed(), {"data": {"source": "local", "path": "glue"}}))
    study = users_task(folder, ["no", "yes"])
    preflight.check_paths(study)
    assert data_files.data_files(study, "mine") == ["mine/train.csv", "mine/validation.csv"]
    assert data_files.data_files(load(changed()), "cola") == []


def test_a_model_without_a_tokenizer_is_refused_before_the_first_job(folder):
    (folder / "model").mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / "model" / name).write_text("{}")
    with pytest.raises(ValueError, match=r"model\.path: 'model' has no tokenizer"):
        preflight.check_paths(load(changed(), {"model": {"source": "local", "path": "model"}}))


def test_labels_that_a_task_does_not_have_are_refused_before_the_first_job(folder):
    study = users_task(folder, ["no", "yes"])
    preflight.check_content(study)
    (folder / "mine" / "train.csv").write_text("text,label\na text,maybe\n")
    with pytest.raises(ValueError, match=r"train\.csv: unknown label 'maybe' in row 0; expected 0\.\.1 \(no, yes\)"):
        preflight.check_content(study)


def test_data_that_was_tokenized_before_is_not_read_again(folder):
    study = users_task(folder, ["maybe"])
    with pytest.raises(ValueError, match="unknown label 'maybe'"):
        preflight.check_content(study)
    (folder / "results" / "data" / "mine").mkdir(parents=True)
    (folder / "results" / "data" / "mine" / "card.json").write_text("{}")
    preflight.check_content(study)  # whose unknown label is not seen


def test_every_method_that_cannot_be_trained_as_configured_is_reported():
    plus = {"loraplus_lr_ratio": 4}
    study = load(
        changed(
            method_settings__fft__hyperparameters=plus,
            method_settings__lora__hyperparameters=plus,
            method_settings__x={"kind": "bitfit", "task_hyperparameters": {"rte": plus}},
            methods=["fft", "lora", "x"],
        )
    )
    with pytest.raises(ValueError, match="trains no LoRA matrix B") as caught:
        preflight.check_content(study)
    keys = [line.split(": ")[0] for line in str(caught.value).splitlines()]
    assert keys == [f"method_settings.{method}.hyperparameters.loraplus_lr_ratio" for method in ("fft", "x")]


@pytest.mark.parametrize(
    ("target", "suggested"),
    [
        ("results/tables/tabel2.md", "results/tables/table2.md"),
        ("results/table2.md", "results/tables/table2.md"),
        ("table2.md", "results/tables/table2.md"),
        ("results/table2", "results/tables/table2.md"),
        ("reslts/runs.csv", "results/runs.csv"),
        ("results/run.json", "results/runs/lora/cola/seed1/run.json"),
        ("results/score.svg", "results/figures/scores.svg"),
    ],
)
def test_a_target_that_no_rule_makes_is_refused_with_the_nearest_that_one_makes(target, suggested):
    products = {"results/runs.csv", "results/runs/lora/cola/seed1/run.json", "results/scores/cola.csv"}
    products |= {"results/figures/scores.svg", "results/figures/scores-narrow.svg"}
    products |= {f"results/tables/table{number}.{suffix}" for number in (1, 2) for suffix in ("md", "csv", "json")}
    with pytest.raises(ValueError, match=f"no target '{target}'") as caught:
        preflight.check_targets([target], products)
    assert str(caught.value).endswith(f"; did you mean {suggested!r}?")


def test_a_target_that_a_rule_makes_or_that_exists_is_accepted(tmp_path):
    preflight.check_targets(
        ["results/a.md", "results/folder/", "./results/a.md", str(tmp_path)], {"results/a.md", "results/folder"}
    )


LACKS = r"is '{}', which Fake GPU lacks \(its compute capability is 7\.5, 8\.0 is needed\); set 'fp32' or 'fp16'"


@pytest.mark.parametrize(
    ("devices", "chosen", "device", "hint"),
    [
        (1, "0", "auto", "$"),
        (2, "0,1", "cuda:0", "$"),
        (2, "0,1", "cuda", ", or name the other GPUs alone in CUDA_VISIBLE_DEVICES$"),
        (2, "0,1", "cuda:1", None),
        (2, "1", "auto", None),
        (1, "0", "cpu", None),
    ],
)
def test_a_precision_that_a_gpu_here_lacks_is_refused_before_the_start(
    devices, chosen, device, hint, fake_nvml, monkeypatch
):
    fake_nvml(devices=devices, cuda=99000, capability=7.5)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    monkeypatch.setattr(gpus, "driver_gpus", gpus.driver_gpus.__wrapped__)  # asks again
    for name in ("fp32", "fp16") if device != "cpu" else ("fp32", "bf16"):
        preflight.check_precision(load(changed(train__precision=name, train__device=device)), is_local=True)
    for name in ("tf32", "bf16") if device != "cpu" else ():
        study = load(changed(train__precision=name, train__device=device))
        preflight.check_precision(study, is_local=False)  # a cluster: its nodes have other GPUs
        if hint is None:
            preflight.check_precision(study, is_local=True)
            continue
        with pytest.raises(ValueError, match=LACKS.format(name) + hint):
            preflight.check_precision(study, is_local=True)


def test_a_driver_that_does_not_say_what_its_gpus_can_leaves_the_check_to_the_jobs(fake_nvml, monkeypatch):
    fake_nvml(cuda=99000, capability=7.5, error=15)  # the GPU is lost
    monkeypatch.setattr(gpus, "driver_gpus", gpus.driver_gpus.__wrapped__)
    assert gpus.visible_gpus() == ["GPU-fake-0"]
    preflight.check_precision(load(changed(train__precision="bf16")), is_local=True)
