"""The records of a small study that never ran, in agreement with its configuration, for tests that change one."""

import json
import os
from dataclasses import fields
from pathlib import Path

from builders import changed, merged, run_content, write_run

from lora_core.config import params
from lora_core.config.study import load
from lora_core.data.overlap import RepeatsInTest
from lora_core.layout import Layout
from lora_core.records import sha256, write_digests

WEIGHTS = "weights/adapter_model.safetensors"
METHODS, TASK = ("fft", "lora"), "cola"


def study_in(folder, **changes):
    values = {"results_dir": str(folder), "tasks": [TASK], "methods": list(METHODS), "seeds": [1]} | changes
    return load(changed(**values))


def agreeing_results(folder):
    """A folder with the records of a finished study, all in agreement with its configuration."""
    study, layout = study_in(folder), Layout(str(folder))
    card = run_content()["run"]["data"] | {"max_length": study.max_length(TASK)}
    dataset = json.loads(json.dumps(params.data_params(study, TASK)))
    write(layout.data_card, card, task=TASK)
    write(layout.data_sources, {"files": {}, "made_from": {"dataset": dataset}}, task=TASK)
    write(layout.model_record, {"files": {"model.safetensors": {"bytes": 1, "sha256": "a"}}}, model=study.model.name)
    for method in METHODS:
        run = params.run_params(study, method, TASK, 1) | {"data": card, "model_files": {"model.safetensors": "a"}}
        record = run_content(method, provenance={"code": "c0de"}) | {"run": run, "files": {WEIGHTS: "a"}}
        write(layout.run_record, record, method=method, task=TASK, seed=1)
    runs = {method: sha256(path(folder, "run_record", method=method)) for method in METHODS}
    write(layout.merged_record, {"files": {}, "made_from": {WEIGHTS: "a"}}, method="lora", task=TASK, seed=1)
    plan = params.latency_params(study)
    write(layout.latency_record, {"made_from": {"plan": plan, "runs": runs}}, task=TASK, seed=1)
    return folder


def study_of_files(data, folder):
    """A finished study of a user's task in three files, which are newer than its records."""
    task = {"path": str(data), "texts": ["says"], "label": "mood", "labels": ["sad", "happy"], "test": "test"}
    study, layout = study_in(folder, tasks=["mood"], task_settings={"mood": task}), Layout(str(folder))
    data.mkdir()
    files = [data / f"{split}.csv" for split in ("train", "validation", "test")]
    for file in files:
        file.write_text("says,mood\nI am glad,happy\nWhat a pity,sad\n")
    card = run_content()["run"]["data"] | {"task": "mood", "max_length": study.max_length("mood")}
    none = dict.fromkeys((field.name for field in fields(RepeatsInTest)), 0)
    card |= {"test": card["validation"], "test_overlap": {"exact": none, "normalized": none}}
    dataset = json.loads(json.dumps(params.data_params(study, "mood")))
    dataset["source"] = study.source("mood").without_folders()
    write(layout.data_card, card, task="mood")
    write_digests(files, Path(layout.data_sources.format(task="mood")), {"dataset": dataset})
    for pattern in (layout.train_data, layout.validation_data, layout.test_data):
        Path(pattern.format(task="mood")).write_text("tokens")
    for method in METHODS:
        record = run_content(method, provenance={"code": "c0de"})
        record["run"] |= params.run_params(study, method, "mood", 1) | {"data": card}
        write(layout.run_record, record, method=method, task="mood", seed=1)
    for file in files:
        later = file.stat().st_mtime + 10
        os.utime(file, (later, later))
    return study


def write(pattern, content, **wildcards):
    write_run(Path(pattern.format(**wildcards)), content)


def path(folder, name, method="lora"):
    pattern = getattr(Layout, name)
    return folder / pattern.format(method=method, task=TASK, seed=1)


def edit(file, changes):
    write_run(file, merged(json.loads(file.read_text()), changes))
