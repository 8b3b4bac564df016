"""`lora-core glue-submission`: a file per task in the format of GLUE's leaderboard, from the weights of a run."""

import csv
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from builders import LORA, shared_glue, tokenized, trained

from lora_core.code_digest import ROOT
from lora_core.commands import cli, glue_submission
from lora_core.commands.glue_submission import FILES, Submitted, check_file, write_submission
from lora_core.data.mini_glue import generate
from lora_core.data.tasks import PAPER_TASKS, TASKS
from lora_core.job import SILENCE_LIBRARIES
from lora_core.records import read_json, write_digests, write_json
from lora_core.sealed import SEAL, seal

ROWS = {"cola": 12, "rte": 10, "stsb": 8}


@pytest.fixture(scope="module")
def glue(tmp_path_factory):
    """Test splits in the layout of the hub's GLUE, with hidden labels, and few rows."""
    folder = tmp_path_factory.mktemp("glue")
    for task, rows in ROWS.items():
        (folder / task).mkdir()
        columns = {name: values[:rows] for name, values in generate(task, "validation").items()}
        frame = pd.DataFrame(columns).assign(label=-1, idx=range(rows))
        frame.to_parquet(folder / task / "test-00000-of-00001.parquet")
    return folder


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    """GLUE's test splits as small as those here."""
    files = {task: (replace(FILES[task][0], rows=rows),) for task, rows in ROWS.items()}
    monkeypatch.setattr(glue_submission, "FILES", FILES | files)


@pytest.fixture(scope="module")
def finished(bert, glue, tmp_path_factory):
    """The results of a study on three tasks."""
    results = tmp_path_factory.mktemp("study") / "results"
    shutil.copytree(bert, results / "models" / "bert")
    write_digests((results / "models" / "bert").iterdir(), results / "models" / "bert.json")
    for task in ROWS:
        data = tokenized(bert, results / "data" / task, task, 24, 16)
        changes = {"task": task, "method": "lora", "hyperparameters": {"epochs": 1, "learning_rate": 3e-2}}
        trained(LORA, bert, data, results / "runs" / "lora" / task / "seed1", **changes)
    write_json(results / "study.json", {"data": {"source": "local", "path": str(glue)}})
    return results


@pytest.fixture
def results(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "results")
    return tmp_path / "results"


def lines(file):
    with file.open(newline="") as stream:
        return list(csv.reader(stream, delimiter="\t"))


def test_each_task_has_a_file_with_the_names_and_labels_of_glue(finished, tmp_path, capsys):
    assert cli.main(["glue-submission", str(finished), str(tmp_path / "out")]) == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["CoLA.tsv", "RTE.tsv", "STS-B.tsv"]
    printed = capsys.readouterr().out
    assert "CoLA.tsv, STS-B.tsv, RTE.tsv; GLUE takes a ZIP archive" in printed
    assert "There is no run, and so no file, of SST-2, MRPC, MNLI." in printed
    for task, name in (("cola", "CoLA"), ("rte", "RTE"), ("stsb", "STS-B")):
        header, *rows = lines(tmp_path / "out" / f"{name}.tsv")
        assert header == ["index", "prediction"]
        assert [index for index, _ in rows] == list(map(str, range(ROWS[task])))
    assert {prediction for _, prediction in lines(tmp_path / "out" / "RTE.tsv")[1:]} <= set(TASKS["rte"].labels)
    assert {prediction for _, prediction in lines(tmp_path / "out" / "CoLA.tsv")[1:]} <= {"0", "1"}
    scores = [float(prediction) for _, prediction in lines(tmp_path / "out" / "STS-B.tsv")[1:]]
    assert all(0 <= score <= 5 for score in scores)


def test_predictions_are_those_of_the_saved_weights_in_the_order_of_the_rows(finished, bert, tmp_path):
    """Another way to predict: one text after the other, with transformers' own classes and PEFT."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    write_submission(finished, tmp_path / "out")
    weights = finished / "runs" / "lora" / "rte" / "seed1" / "weights"
    base = AutoModelForSequenceClassification.from_pretrained(bert, num_labels=2)
    model, tokenizer = PeftModel.from_pretrained(base, weights).eval(), AutoTokenizer.from_pretrained(weights)
    columns = generate("rte", "validation")
    pairs = list(zip(columns["sentence1"], columns["sentence2"], strict=True))[: ROWS["rte"]]
    with torch.inference_mode():
        logits = [model(**tokenizer(*pair, return_tensors="pt", truncation=True)).logits[0] for pair in pairs]
    assert min(abs(float(one - two)) for one, two in logits) > 1e-4, "no prediction is a matter of rounding"
    expected = [TASKS["rte"].labels[int(row.argmax())] for row in logits]
    assert [prediction for _, prediction in lines(tmp_path / "out" / "RTE.tsv")[1:]] == expected


def test_scores_outside_of_the_range_of_sts_b_are_moved_to_its_ends():
    logits = np.array([[-0.3], [2.34567], [5.4]], np.float32)
    assert glue_submission._format(logits, FILES["stsb"][0]) == ["0.000", "2.346", "5.000"]


def test_every_task_of_the_paper_has_its_file_and_its_labels_are_as_many_as_the_tasks():
    assert {task for task, files in FILES.items() if len(files) == 1} == set(PAPER_TASKS)
    for task, files in FILES.items():
        assert {len(file.labels) for file in files} == {len(TASKS[task].labels)}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"source": "mini", "seed": 0}, "was trained on the generated mini-GLUE, which has no test split: train on"),
        ({"source": "local", "path": "gone"}, "data.path: there is no folder 'gone'"),
    ],
)
def test_a_study_without_glues_test_split_is_one_sentence(section, message, results, tmp_path, capsys):
    write_json(results / "study.json", {"data": section})
    assert cli.main(["glue-submission", str(results), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_of_data_without_the_test_files_is_named(results, tmp_path):
    (tmp_path / "glue" / "cola").mkdir(parents=True)
    write_json(results / "study.json", {"data": {"source": "local", "path": str(tmp_path / "glue")}})
    with pytest.raises(ValueError, match=r"data\.path: '.*glue' has no cola/test-\*\.parquet, which the task 'cola'"):
        write_submission(results, tmp_path / "out")


@pytest.fixture
def no_prediction(monkeypatch):
    monkeypatch.setattr(glue_submission, "_predict", lambda *_: pytest.fail("predicted before everything was checked"))


@pytest.mark.usefixtures("no_prediction")
def test_a_test_split_of_another_length_is_refused_before_anything_is_predicted(results, glue, tmp_path):
    shutil.copytree(glue, tmp_path / "glue")
    file = tmp_path / "glue" / "rte" / "test-00000-of-00001.parquet"
    pd.read_parquet(file)[:9].to_parquet(file)
    write_json(results / "study.json", {"data": {"source": "local", "path": str(tmp_path / "glue")}})
    with pytest.raises(ValueError, match=r"test-00000-of-00001\.parquet: the split 'test' of RTE has 9 rows, but GLUE"):
        write_submission(results, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def add_run(results, method, seed):
    """A copy of the study's runs under another name."""
    for run in (results / "runs" / "lora").glob("*/seed1"):
        copy = results / "runs" / method / run.parent.name / f"seed{seed}"
        shutil.copytree(run, copy)
        record = {name: value for name, value in read_json(copy / "run.json").items() if name != SEAL}
        record["run"] |= {"method": method, "seed": seed}
        write_json(copy / "run.json", seal(record))


def test_of_several_methods_and_seeds_one_has_to_be_named(results, tmp_path):
    add_run(results, "lora", 2)
    add_run(results, "other", 1)
    with pytest.raises(ValueError, match=r"results has several; choose one with --method: lora, other"):
        write_submission(results, tmp_path / "out")
    with pytest.raises(ValueError, match=r"results has several; choose one with --seed: 1, 2"):
        write_submission(results, tmp_path / "out", method="lora")
    with pytest.raises(ValueError, match=r"--method: .*results has no finished run of lara .*did you mean 'lora'"):
        write_submission(results, tmp_path / "out", method="lara")
    assert len(write_submission(results, tmp_path / "out", method="lora", seed=2)) == 3
    assert len(write_submission(results, tmp_path / "other", method="other")) == 3


def test_a_folder_that_is_not_empty_and_one_without_runs_are_refused(results, tmp_path):
    with pytest.raises(ValueError, match="is not empty; name a new folder"):
        write_submission(results, results)
    with pytest.raises(ValueError, match="has no finished run on a task of GLUE"):
        write_submission(tmp_path, tmp_path / "out")


def write_memory(results, task, *methods):
    """The record that a study's methods fit into memory, which is made before any run."""
    content = {"kind": None, "limit_mb": None, "methods": dict.fromkeys(methods)}
    write_json(results / "memory" / f"{task}.json", seal(content, f"memory/{task}.json"))


@pytest.mark.usefixtures("no_prediction")
def test_tasks_of_the_study_without_a_finished_run_are_refused(results, tmp_path, capsys):
    for task in ("sst2", *ROWS):
        write_memory(results, task, "lora", "full")
    assert cli.main(["glue-submission", str(results), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        f"{results} has no finished run of lora with seed 1 on SST-2: finish the study first, or, if it no longer has "
        f"this task, remove {results}/memory/sst2.json\n"
    )
    assert not (tmp_path / "out").exists()
    add_run(results, "lora", 2)
    shutil.rmtree(results / "runs" / "lora" / "rte" / "seed2")
    with pytest.raises(ValueError, match=r"no finished run of lora with seed 2 on SST-2, RTE: .* has these tasks"):
        write_submission(results, tmp_path / "out", seed=2)


def test_a_task_that_only_other_methods_are_trained_on_is_not_missed(results, tmp_path):
    write_memory(results, "mnli", "full")
    assert len(write_submission(results, tmp_path / "out")) == 3


@pytest.mark.usefixtures("no_prediction")
def test_a_damaged_record_of_the_studys_tasks_is_named(results, tmp_path):
    write_json(results / "memory" / "sst2.json", {"methods": {}})
    with pytest.raises(ValueError, match=r"memory/sst2\.json was edited after it was written"):
        write_submission(results, tmp_path / "out")


def test_libraries_print_nothing(finished, tmp_path):
    """In a process of its own, as transformers reads its variables when it is imported; with a full test split."""
    results, glue = tmp_path / "results", tmp_path / "glue"
    shutil.copytree(finished, results)
    for task in ("rte", "stsb"):
        shutil.rmtree(results / "runs" / "lora" / task)
    (glue / "cola").mkdir(parents=True)
    frame = pd.DataFrame({"sentence": ["It is."] * FILES["cola"][0].rows, "label": -1})
    frame.to_parquet(glue / "cola" / "test-00000-of-00001.parquet")
    write_json(results / "study.json", {"data": {"source": "local", "path": str(glue)}})
    command = [sys.executable, "-m", "lora_core.commands.cli", "glue-submission", str(results), str(tmp_path / "out")]
    environment = {name: value for name, value in os.environ.items() if name not in SILENCE_LIBRARIES}
    result = subprocess.run(
        command, cwd=tmp_path, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.usefixtures("no_prediction")
def test_weights_that_are_not_those_of_the_record_are_refused_before_anything_is_predicted(results, tmp_path):
    file = results / "runs" / "lora" / "rte" / "seed1" / "weights" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match=r"adapter_model\.safetensors is damaged"):
        write_submission(results, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id\tprediction\n0\ta\n1\tb\n", "the header is 'id\\tprediction', but GLUE expects 'index\\tprediction'"),
        ("index\tprediction\n0\ta\n", "has 1 rows, but GLUE's test split has 2"),
        ("index\tprediction\n0\ta\n1\tc\n", "row 1 is '1\\tc'; expected the index 1, a tab and one of a, b"),
        ("index\tprediction\n0\ta\n0\tb\n", "row 1 is '0\\tb'"),
        ("index\tprediction\n0,a\n1,b\n", "row 0 is '0,a'"),
    ],
)
def test_a_file_that_glue_would_not_take_is_refused(text, message, tmp_path):
    (tmp_path / "file.tsv").write_text(text)
    with pytest.raises(ValueError, match=re.escape(repr(message)[1:-1] if "\t" in message else message)):
        check_file(tmp_path / "file.tsv", Submitted("file.tsv", 2, ("a", "b")))


@pytest.mark.parametrize("score", ["5.001", "-0.1", "nan", "high"])
def test_a_score_outside_of_the_range_is_refused(score, tmp_path):
    (tmp_path / "file.tsv").write_text(f"index\tprediction\n0\t{score}\n")
    with pytest.raises(ValueError, match="expected the index 0, a tab and a number from 0 to 5"):
        check_file(tmp_path / "file.tsv", Submitted("file.tsv", 1, ()))


def test_real_glue_has_the_columns_that_a_submission_reads():
    """Its test splits are not here; the training splits have their columns."""
    from lora_core.data.source import DatasetSource

    source = DatasetSource("local", path=str(shared_glue()))
    rows = {"cola": 1043, "rte": 277}
    for task, count in rows.items():
        texts = glue_submission._read_texts(source, task, Submitted("", count, (), "validation"))
        assert list(texts) == list(TASKS[task].columns)
