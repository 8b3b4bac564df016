"""Bundles: what stands in for a local model when a study is drawn again, and which runs do not belong to it."""

import pytest
from builders import changed, run_content, write_run

from lora_core.commands.bundle import _kept_names
from lora_core.commands.bundle_archive import RAW, RESULTS, matches
from lora_core.commands.bundle_config import without_local_paths
from lora_core.commands.verify_bundle import _create_placeholders, _outdated
from lora_core.config import params, preflight
from lora_core.config.study import load
from lora_core.kept_runs import KeptRun, write_kept
from lora_core.models.pretrained import check_local
from lora_core.records import sha256, write_json


def test_a_study_of_a_local_model_passes_the_checks_of_a_start_when_it_is_drawn_again(tmp_path):
    _create_placeholders(tmp_path, {"model": {"source": "local", "path": "absent/model"}})
    assert check_local(str(tmp_path / "absent/model")) == tmp_path / "absent/model"


@pytest.mark.parametrize("path", ["absent/reviews.jsonl.gz", "absent/folder"])
def test_a_study_of_data_that_is_split_passes_the_checks_of_a_start_when_it_is_drawn_again(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    task = {"path": path, "texts": ["text"], "validation_fraction": 0.1}
    config = changed(tasks=["mine"], task_settings={"mine": task})
    _create_placeholders(tmp_path, config)
    preflight.check_paths(load(config))


@pytest.mark.parametrize("test", ["held_out", "data of Ann/held.jsonl.gz", "/home/ann/held.csv"])
def test_a_study_with_a_test_split_passes_the_checks_of_a_start_without_naming_its_folder(tmp_path, monkeypatch, test):
    monkeypatch.chdir(tmp_path)
    task = {"path": "/home/ann/mine", "texts": ["text"], "test": test}
    config = without_local_paths(changed(tasks=["mine"], task_settings={"mine": task}))
    assert "ann" not in str(config["task_settings"]).lower()
    _create_placeholders(tmp_path, config)
    preflight.check_paths(load(config))


@pytest.mark.parametrize("rank", [8, 2])
def test_a_run_with_other_settings_than_the_bundles_configuration_shows(tmp_path, rank):
    config = changed(tasks=["cola"], methods=["lora"], seeds=[1])
    run = params.run_params(load(changed(method_settings__lora__rank=rank)), "lora", "cola", 1)
    name = f"{RESULTS}/runs/lora/cola/seed1/run.json"
    write_run(tmp_path / name, run_content() | {"run": run | {"data": run_content()["run"]["data"]}})
    differs = {name: f"is not of its configuration: settings differ (rank {rank} -> 8)"}
    assert _outdated(tmp_path, load(config)) == ({} if rank == 8 else differs)


def test_a_decision_to_keep_a_run_is_packed_if_it_is_about_that_run(tmp_path):
    study = load(changed(results_dir=str(tmp_path), tasks=["cola"], methods=["lora"], seeds=[1, 2]))
    for seed in study.seeds:
        record = tmp_path / f"runs/lora/cola/seed{seed}/run.json"
        write_json(record, {})
        digest = sha256(record) if seed == 1 else "0"
        time = "2026-11-27T05:00:00+00:00"
        write_kept(record, KeptRun("lora", "cola", seed, "no matter", time, digest, "c0de", ["code: a.py"]))
    (name,) = _kept_names(study)
    assert name == "runs/lora/cola/seed1/kept.json"
    assert matches(name, RAW)
