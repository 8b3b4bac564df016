"""The real snakemake on what goes beyond the paper: other methods, MNLI first, sweeps."""

import pandas as pd
import pytest
import yaml
from builders import ROBERTA, ROOT
from project import Project

from lora_core.records import read_json
from lora_core.reporting.table import read_table

pytestmark = pytest.mark.slow

EXTENDED = yaml.safe_load((ROOT / "config" / "extended.yaml").read_text())
# Those of extended.yaml that are trained, merged or timed each in a way of its own: lora_peft and rslora go DoRA's.
METHODS = ["fft", "lora", "pissa", "dora", "ia3", "vera", "prefix", "bitfit", "houlsby"]
MNLI_FIRST = ("fft", "lora")


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Project:
    """A tiny study of the extended configuration's methods that has run; two of them start from MNLI."""
    project = Project(tmp_path_factory.mktemp("extended") / "project")
    settings = {name: dict(EXTENDED["method_settings"].get(name, {})) for name in METHODS}
    for name in METHODS:
        start = {"start_from": "mnli"} if name in MNLI_FIRST else {}
        settings[name]["hyperparameters"] = settings[name].get("hyperparameters", {}) | {"epochs": 1} | start
    settings["ranks"] = {
        "kind": "lora", "hyperparameters": {"epochs": 1}, "sweep": {"rank": [1, 2], "targets": [["query"]]}
    }  # fmt: skip
    project.configure(
        model={"source": "random", "config": ROBERTA},  # the paper's model, whose head has two layers
        tasks=["rte"], methods=[*METHODS, "ranks"], seeds=[1], method_settings=settings,
        more_tables=["convergence", "sweep", "regimes"],
    )  # fmt: skip
    status, output = project.run()
    assert status == 0, output
    return project


def table(project, name):
    """The cells of a table by row."""
    return {cell.row: cell for cell in read_table(project.folder / f"results/tables/{name}.json").cells}


def test_every_method_takes_part_in_every_table(extended):
    for name in ("table1", "table2", "table3", "table4", "table7"):
        assert set(METHODS) <= methods(extended, name) <= methods(extended, f"{name}-details") | {""}, name
    swept = {"ranks-rank1-query", "ranks-rank2-query"}
    assert methods(extended, "table6") == methods(extended, "table6-details") == {*METHODS, *swept} - {"fft"}
    assert methods(extended, "table5") == {"fft"}


def test_steps_of_both_references_are_measured_on_the_batches_of_the_study(extended):
    cells = [cell for cell in extended.table("regimes") if cell["task"] == "rte"]
    assert {cell["method"] for cell in cells} == {"fft", "lora"}
    measured = {cell["quantity"]: cell["value"] for cell in cells}
    assert float(measured["time of a step relative to full fine-tuning"]) > 0
    assert float(measured["break-even in time, from single steps"]) > 0
    assert measured["waits for"] in ("launches", "bytes", "arithmetic", "random numbers")
    name = "break-even in time"
    (predicted,) = [c for c in extended.table("table6-details") if c["quantity"] == f"{name}, predicted"]
    assert predicted["value"] == measured[f"{name}, from single steps"]


def methods(project, name):
    """The methods that a table is about; empty for what is about none."""
    return {cell["method"] for cell in project.table(name)}


def test_what_does_not_merge_is_timed_against_merged_lora_and_a_prompt_takes_input(extended):
    cells = extended.table("table3") + extended.table("table3-details")
    for method in ("prefix", "houlsby"):
        rows = [cell for cell in cells if cell["method"] == method]
        compared = [row for row in rows if row["quantity"].endswith("relative to merged LoRA (own)")]
        assert len(compared) == 2
        assert min(row["value"] for row in compared) > 0
        assert {row["variant"] for row in compared} == {"plain"}
    longest = {cell["method"]: cell["value"] for cell in cells if cell["quantity"] == "longest input"}
    assert {method: longest[method] for method in METHODS} == dict.fromkeys(METHODS, 128) | {"prefix": 108}


def test_mnli_is_trained_first_where_a_method_asks_for_it_and_its_weights_are_the_start(extended):
    runs = extended.folder / "results" / "runs"
    assert sorted(folder.parent.name for folder in runs.glob("*/mnli")) == sorted(MNLI_FIRST)
    for method in METHODS:
        run = read_json(runs / method / "rte" / "seed1" / "run.json")["run"]
        if method not in MNLI_FIRST:
            assert run["start"] is None
            continue
        first = read_json(runs / method / "mnli" / "seed1" / "run.json")
        assert len(first["run"]["data"]["labels"]) == 3
        assert run["start"] == {
            name.removeprefix("weights/"): digest
            for name, digest in first["files"].items()
            if name.startswith("weights/") and name != "weights/README.md"  # which tells times
        }
    assert any("MNLI" in line for line in (extended.folder / "results/tables/table6.md").read_text().splitlines())


def test_other_settings_of_the_first_task_rerun_it_and_what_starts_from_it(extended):
    config = yaml.safe_load((extended.folder / "tiny.yaml").read_text())
    config["method_settings"]["lora"]["task_hyperparameters"] = {"mnli": {"learning_rate": 0.1}}
    (extended.folder / "other.yaml").write_text(yaml.safe_dump(config))
    plan = extended.plan("results/tables/table2.md", overlay="other.yaml")
    assert {job for job in plan if job.startswith("train")} == {
        f"train method=lora, task={task}, seed=1" for task in ("mnli", "rte")
    }


def test_a_sweep_has_a_table_and_a_figure(extended):
    cells = read_table(extended.folder / "results/tables/sweep.json").cells
    parameters = {cell.row: cell.value for cell in cells if cell.column == "trainable parameters"}
    assert parameters == {f"LoRA (own), rank {rank}, targets query": rank * 2 * 64 for rank in (1, 2)}
    figure = extended.folder / "results/figures/sweep.svg"
    assert "trainable parameters" in figure.read_text()
    assert set(pd.read_csv(figure.with_suffix(".csv"))["method"]) == {"fft", "ranks-rank1-query", "ranks-rank2-query"}


def test_a_method_that_its_library_does_not_know_is_refused_before_a_job_starts(extended):
    config = yaml.safe_load((extended.folder / "tiny.yaml").read_text())
    config |= {"methods": ["odd"], "results_dir": "elsewhere", "more_tables": []}
    config["method_settings"]["odd"] = {"kind": "peft", "config": {"peft_type": "LORA", "rnk": 8}}
    (extended.folder / "odd.yaml").write_text(yaml.safe_dump(config))
    status, output = extended.run(overlay="odd.yaml")
    assert status != 0
    assert "method_settings.odd.config: PEFT rejects this configuration of LORA" in output
    assert "rnk" in output
    assert not (extended.folder / "elsewhere" / "models").exists()
