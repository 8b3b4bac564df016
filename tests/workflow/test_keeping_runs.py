"""A study after an upgrade: what is made again and why, and runs that are kept although other code made them."""

import os
import shutil

import pytest
from builders import ROOT
from project import Project, rules

from lora_core.records import read_json

OPTIONS = ("--configfile", "tiny.yaml")
LAYERS = "lora_core/methods/layers.py"
BECAUSE = "only a zero was added"


@pytest.fixture
def upgraded(study, tmp_path):
    """A copy of the finished study in which the code of LoRA's layer and of tokenizing is another."""
    project = Project(tmp_path / "upgraded", study.folder)
    project.edit(LAYERS, "down = rows @ a.T", "down = 0 + rows @ a.T")
    project.edit("lora_core/data/datasets.py", "\n\n\n", "\n\n\nA_STATEMENT = 1\n\n\n")
    return project


def trained(project):
    return {job for job in project.plan() if job.startswith("train")}


def keep(project, *arguments):
    result = project.lora_core("keep", "results/runs", *arguments, *OPTIONS)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_runs_of_other_code_are_explained_kept_and_made_again_when_that_is_taken_back(upgraded):
    assert LAYERS in read_json(upgraded.folder / "results/runs/lora/cola/seed1/run.json")["provenance"]["code_files"]
    why = upgraded.lora_core("status", "--why", *OPTIONS).stdout
    assert f"lora/cola/seed1, lora/cola/seed2\n  code: {LAYERS}\n" in why
    assert "fft/cola/seed1, fft/cola/seed2\n  input: tokenize_dataset/cola is made again, because the code" in why
    assert len(trained(upgraded)) == 4
    assert keep(upgraded, "--because", BECAUSE).count(": kept") == 4
    plan = upgraded.plan()
    # Their data is made again, and what names the runs that are kept.
    assert {"tokenize_dataset", "render_table", "draw_figure", "judge_claims", "write_report"} <= rules(plan)
    assert not {job for job in plan if job.startswith("train")}
    keep(upgraded, "--undo")
    assert len(trained(upgraded)) == 4


def test_a_changed_setting_of_data_is_named_with_both_values_as_snakemake_does(study, tmp_path):
    project = Project(tmp_path / "changed", study.folder)
    project.configure(data__max_train_examples=30)
    reason = "settings differ (max_train_examples 32 -> 30)"
    why = project.lora_core("status", "--why", *OPTIONS).stdout
    assert f"  input: tokenize_dataset/cola is made again, because {reason}\n" in why
    assert "lora-core keep" not in why
    assert f"rerun because {reason}: results/data/cola/card.json" in project.run("-n")[1]
    project.configure(model__seed=1)
    _, refusal = project.run("-n")
    assert project.lora_core("status", "--why", *OPTIONS).stderr.strip() in refusal


@pytest.mark.slow
def test_tables_and_bundles_name_the_runs_that_are_kept(upgraded):
    upgraded.edit("lora_core/data/datasets.py", "A_STATEMENT = 1", "")
    keep(upgraded, "--because", BECAUSE)
    assert "train" not in rules(upgraded.plan())
    status, output = upgraded.run()
    assert status == 0, output
    cells = [cell for cell in upgraded.table("table2") if cell["text"].endswith("†")]
    assert {cell["method"] for cell in cells} == {"lora"}
    for file in ("tables/table2.md", "tables/table5.md", "claims.md", "report.html"):
        text = (upgraded.folder / "results" / file).read_text()
        assert (f"because “{BECAUSE}”" in text) == (file != "tables/table5.md")  # of full fine-tuning alone
    assert "†" not in (upgraded.folder / "results/tables/table1.md").read_text()
    assert f"because “{BECAUSE}”: LoRA (own) CoLA seed 1, " in upgraded.lora_core("summary", *OPTIONS).stdout
    assert upgraded.plan() == set()
    assert upgraded.lora_core("bundle", "kept.zip", *OPTIONS).returncode == 0
    shutil.copyfile(ROOT / LAYERS, upgraded.folder / LAYERS)  # whatever code verifies
    assert "came out the same" in upgraded.lora_core("verify-bundle", "kept.zip").stdout
    upgraded.edit(LAYERS, "down = rows @ a.T", "down = 0 + rows @ a.T")
    for file in upgraded.folder.glob("results/runs/*/*/*/kept.json"):
        os.unlink(file)
    assert len({job for job in trained(upgraded) if "lora" in job}) == 2
