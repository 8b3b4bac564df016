"""The real snakemake on one's own tasks and model."""

import pandas as pd
import pytest
from builders import SHAPE
from project import Project, rules

from lora_core.records import read_json
from lora_core.reporting.table import read_table


def table(project, name):
    """The cells of a table by row."""
    return {cell.row: cell for cell in read_table(project.folder / f"results/tables/{name}.json").cells}


@pytest.mark.slow
def test_a_user_task_and_model_need_only_configuration(tmp_path):
    project = Project(tmp_path / "project")
    folder, other = project.folder / "moods", project.folder / "reviews"
    folder.mkdir()
    other.mkdir()
    for split in ("train", "validation", "test"):
        rows = [("I am glad.", "happy", 5.0), ("So it is.", "neutral", 3.0), ("What a pity.", "sad", 1.0)] * 8
        frame = pd.DataFrame(rows, columns=["says", "mood", "stars"]).assign(id=range(24), title="Today")
        frame.to_csv(folder / f"{split}.csv", index=False)
        frame.to_parquet(other / f"{split}.parquet")
    distilbert = {
        "model_type": "distilbert", "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 300,
        "max_position_embeddings": SHAPE["max_position_embeddings"],
    }  # fmt: skip
    targets = ["q_lin", "v_lin"]
    mood = {"path": "moods", "texts": ["says"], "label": "mood", "labels": ["sad", "neutral", "happy"], "test": "test"}
    project.configure(
        model={"source": "random", "config": distilbert},
        tasks=["mood", "stars"], seeds=[1], methods=["fft", "lora", "lora_peft", "vera"],
        task_settings={"mood": mood, "stars": {"path": "reviews", "texts": ["title", "says"], "label": "stars"}},
        method_settings__lora__targets=targets, method_settings__lora_ref__targets=targets,
        method_settings__lora_peft={
            "kind": "peft", "config": {"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": targets},
        },
        method_settings__vera={"kind": "peft", "config": {"peft_type": "VERA", "r": 8, "target_modules": targets}},
    )  # fmt: skip
    status, output = project.run()
    assert status == 0, output
    card = read_json(project.folder / "results/data/mood/card.json")
    assert (card["labels"], card["train"]["examples"]) == (["sad", "neutral", "happy"], 24)
    cells = read_table(project.folder / "results/tables/table2.json").cells
    assert {cell.task: cell.n for cell in cells if cell.row == "LoRA (own), test split"} == {"mood": 1}
    assert float(table(project, "table2")["LoRA (own)"].value) > 0
    assert "split: test" in (project.folder / "results/runs/lora/mood/seed1/README.md").read_text()
    assert "split: validation" in (project.folder / "results/runs/lora/stars/seed1/README.md").read_text()
    assert project.plan() == set()
    for method in ("lora", "lora_peft", "vera"):
        merged = read_json(project.folder / f"results/merged/{method}/mood/seed1/merge.json")["changed"]
        assert {name.split(".")[-2] for name in merged} == set(targets)
    config = read_json(project.folder / "results/merged/lora/mood/seed1/config.json")
    assert config["id2label"] == {"0": "sad", "1": "neutral", "2": "happy"}
    run = read_json(project.folder / "results/runs/lora/stars/seed1/run.json")
    assert run["measurement"]["score"]["metric"] == "pearson"
    assert run["run"]["data"]["columns"] == ["title", "says"]
    # What is changed in the file is read anew.
    (folder / "test.csv").write_text((folder / "test.csv").read_text().replace("glad", "merry"))
    planned = rules(project.plan("results/tables/table2.md"))
    assert {"tokenize_dataset_with_test", "train"} <= planned
    assert "tokenize_dataset" not in planned


@pytest.mark.slow
def test_one_file_without_labels_is_split_and_its_classes_are_in_the_log_and_the_card(tmp_path):
    project = Project(tmp_path / "project")
    rows = [{"id": row, "topic": ("sport", "art")[row % 2], "says": f"Text number {row}."} for row in range(40)]
    file, card = project.folder / "topics.jsonl.gz", "results/data/topics/card.json"
    pd.DataFrame(rows).to_json(file, orient="records", lines=True)
    topics = {"path": file.name, "texts": ["says"], "label": "topic", "validation_fraction": 0.25}
    project.configure(tasks=["topics"], task_settings={"topics": topics})
    status, output = project.run(card)
    assert status == 0, output
    data = read_json(project.folder / card)
    assert (data["labels"], data["train"]["examples"], data["validation"]["examples"]) == (["art", "sport"], 30, 10)
    log = (project.folder / "results/logs/tokenize_dataset/topics.log").read_text()
    assert "topics: no labels are configured; those of the data are the classes art, sport" in log
    assert project.plan(card) == set()
    pd.DataFrame(rows[1:]).to_json(file, orient="records", lines=True)
    assert "tokenize_dataset" in rules(project.plan(card))
