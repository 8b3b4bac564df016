"""One file divided by a fraction and a seed, and classes that the data names."""

import random
from collections import Counter

import pandas as pd
import pytest
from builders import changed

from lora_core.config.errors import ConfigError
from lora_core.config.study import load
from lora_core.data.datasets import TokenizedFiles, tokenize_task
from lora_core.data.local_files import local_files
from lora_core.data.source import DatasetSource
from lora_core.data.splits import read_splits
from lora_core.data.splitting import split_rows
from lora_core.data.task import Task
from lora_core.records import read_json

UNDECIDED = Task("mine", "mine", ("text",), (), ())
ROWS = [(f"text number {row}", ("rare" if row % 10 == 0 else "common")) for row in range(200)]


def whole(tmp_path, rows, fraction=0.2, seed=0):
    """A source of one file with these texts and labels."""
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(tmp_path / "reviews.csv", index=False)
    path = str(tmp_path / "reviews.csv")
    return DatasetSource("user", path=path, validation_fraction=fraction, split_seed=seed)


def validation(tmp_path, rows, **split):
    return set(read_splits(whole(tmp_path, rows, **split), UNDECIDED).columns["validation"]["text"])


def test_the_seed_alone_decides_the_split_and_not_the_order_of_the_rows(tmp_path):
    chosen = validation(tmp_path, ROWS)
    assert validation(tmp_path, random.Random(0).sample(ROWS, len(ROWS))) == chosen
    assert len(chosen & validation(tmp_path, ROWS, seed=1)) < 20


def test_every_class_has_its_share_of_the_validation_split(tmp_path):
    splits = read_splits(whole(tmp_path, ROWS), UNDECIDED)
    assert splits.task.labels == ("common", "rare")
    assert Counter(splits.columns["validation"]["label"]) == {0: 36, 1: 4}
    assert Counter(splits.columns["train"]["label"]) == {0: 144, 1: 16}
    assert splits.columns["train"]["text"] == sorted(
        splits.columns["train"]["text"], key=[text for text, _ in ROWS].index
    ), "the order of the file stays"


def test_an_example_and_its_copies_are_in_one_split(tmp_path):
    copies = [(text.upper() + "!", label) for text, label in ROWS] + ROWS + [(text, "common") for text, _ in ROWS[:50]]
    columns = read_splits(whole(tmp_path, copies), UNDECIDED).columns
    train, held = ({text.lower().rstrip("!") for text in columns[split]["text"]} for split in ("train", "validation"))
    assert (train & held, len(train | held)) == (set(), 200)
    assert 80 <= len(columns["validation"]["text"]) <= 100


def test_of_pairs_both_texts_count():
    pairs = [("the same", str(row)) for row in range(10)]
    train, held = split_rows(pairs, [0] * 10, [0.3], 0)
    assert (len(train), len(held)) == (7, 3)


@pytest.mark.parametrize(("fraction", "held"), [(0.001, 1), (0.5, 5), (0.999, 9)])
def test_neither_split_is_empty_while_there_are_two_texts(fraction, held):
    train, validation = split_rows([(str(row),) for row in range(10)], [0] * 10, [fraction], 0)
    assert (len(train), len(validation)) == (10 - held, held)


def test_a_class_of_one_text_is_trained_and_not_scored(tmp_path):
    splits = read_splits(whole(tmp_path, [*ROWS, ("alone", "single")]), UNDECIDED)
    assert "alone" in splits.columns["train"]["text"]


def test_a_split_that_would_be_empty_is_refused(tmp_path):
    rows = [("the same", "1.5"), ("The same.", "2.5")]
    with pytest.raises(ValueError, match=r"mine\.validation_fraction: 0\.2 of 2 examples leaves the validation split"):
        read_splits(whole(tmp_path, rows), UNDECIDED)
    with pytest.raises(ValueError, match=r"reviews\.csv holds no example"):
        read_splits(whole(tmp_path, []), UNDECIDED)


def test_shards_of_a_training_split_alone_are_divided(tmp_path):
    for shard in (0, 1):
        pd.DataFrame(ROWS[shard::2], columns=["text", "label"]).to_json(
            tmp_path / f"train-{shard}.jsonl", orient="records", lines=True
        )
    source = DatasetSource("user", path=str(tmp_path), validation_fraction=0.2, split_seed=0)
    assert len(local_files(source, "mine", "validation")) == 2
    assert set(read_splits(source, UNDECIDED).columns["validation"]["text"]) == validation(tmp_path, ROWS)
    (tmp_path / "validation.csv").touch()
    with pytest.raises(ValueError, match=r"has validation\.csv, so there is nothing to split; remove validation_frac"):
        local_files(source, "mine", "train")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("reviews.csv", r"'.*reviews\.csv' is one file; set validation_fraction"),
        ("reviews.xlsx", r"the name of '.*reviews\.xlsx' says no format that can be read \(\.csv, \.tsv"),
        ("none.csv", "there is no folder or file"),
    ],
)
def test_a_file_that_cannot_be_both_splits_is_refused(tmp_path, name, message):
    (tmp_path / name).touch() if name != "none.csv" else None
    with pytest.raises(ValueError, match=rf"task_settings\.mine\.path: {message}"):
        local_files(DatasetSource("user", path=str(tmp_path / name)), "mine", "train")


def test_the_card_and_the_log_name_the_split_and_the_classes(tmp_path, bert, capsys):
    source = whole(tmp_path, [(text, "happy" if label == "rare" else "sad") for text, label in ROWS], 0.25, 7)
    tokenize_task(source, UNDECIDED, bert, 16, TokenizedFiles.in_folder(tmp_path / "out"))
    card = read_json(tmp_path / "out" / "card.json")
    assert card["data"] == {"source": "user", "validation_fraction": 0.25, "split_seed": 7}
    assert (card["labels"], card["metrics"]) == (["happy", "sad"], ["accuracy"])
    assert (card["train"]["examples"], card["validation"]["examples"]) == (150, 50)
    assert "mine: no labels are configured; those of the data are the classes happy, sad" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation_fraction": 0}, "validation_fraction"),
        ({"validation_fraction": 1}, "validation_fraction"),
        ({"split_seed": 1}, "split_seed: nothing is split without validation_fraction; set it too"),
        ({"metrics": ["accuracy", "pearson"]}, "metrics: 'pearson' is for a regression"),
        ({"metrics": ["spearman", "f1"]}, "metrics: 'f1' is for two labels"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    task = {"path": "reviews.csv", "texts": ["text"], "label": "stars"}
    with pytest.raises(ConfigError, match=message):
        load(changed(task_settings={"mine": task | settings}, tasks=["mine"]))


def test_the_fraction_and_the_seed_are_parameters_of_the_job():
    task = {"path": "reviews.csv", "texts": ["text"], "validation_fraction": 0.1}
    source = load(changed(task_settings={"mine": task}, tasks=["mine"])).source("mine")
    assert (source.validation_fraction, source.split_seed) == (0.1, 0)
    assert DatasetSource.from_params(source.to_params()) == source


def decided(tmp_path, labels, metrics=(), held=None, ending="csv"):
    """The classes and metrics of a task that has these labels."""
    for split, values in (("train", labels), ("validation", held or labels)):
        frame = pd.DataFrame({"text": [f"text {row}" for row in range(len(values))], "label": values})
        if ending == "csv":
            frame.to_csv(tmp_path / f"{split}.csv", index=False)
        else:
            frame.to_json(tmp_path / f"{split}.jsonl", orient="records", lines=True)
    task = Task("mine", "mine", ("text",), (), metrics)
    read = read_splits(DatasetSource("user", path=str(tmp_path)), task)
    return read.task.labels, read.task.metrics, read.columns["train"]["label"]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("labels", "metrics", "expected"),
    [
        (["sad", "happy", "sad"], (), (("happy", "sad"), ("accuracy",), [1, 0, 1])),
        ([True, False], (), (("false", "true"), ("accuracy",), [1, 0])),
        ([1, 0, 1], (), (("0", "1"), ("accuracy",), [1, 0, 1])),
        ([1.0, -1.0], (), (("-1", "1"), ("accuracy",), [1, 0])),
        ([10, 9, 2], ("accuracy", "matthews"), (("2", "9", "10"), ("accuracy", "matthews"), [2, 1, 0])),
        ([0.5, 1.5], (), ((), ("pearson", "spearman"), [0.5, 1.5])),
        ([1, 2, 3, 4, 5], (), ((), ("pearson", "spearman"), [1, 2, 3, 4, 5])),
        ([0, 1, 2], ("pearson",), ((), ("pearson",), [0, 1, 2])),
        ([0, 1, 2], ("accuracy",), (("0", "1", "2"), ("accuracy",), [0, 1, 2])),
    ],
)
def test_without_labels_the_data_decides_the_classes_or_that_there_are_none(
    tmp_path, labels, metrics, expected, ending
):
    assert decided(tmp_path, labels, metrics, ending=ending) == expected


@pytest.mark.parametrize(
    ("labels", "held", "metrics", "message"),
    [
        (["a", "b"], ["a", "c"], (), r"validation\.jsonl: unknown label 'c' in row 1; the training split has a, b"),
        (["a", "b"], ["0"], (), r"validation\.jsonl: unknown label '0' in row 0"),
        (["a", None], None, (), r"train\.jsonl: no label in row 1 \(None\)"),
        (["a", " "], None, (), r"train\.jsonl: no label in row 1"),
        ([["a"], ["b"]], None, (), r"train\.jsonl: no label in row 0 \(\['a'\]\)"),
        (["a", "a"], None, (), r"train\.jsonl: every label is 'a'; a classification needs two or more"),
        (["n/a", 1, 2], None, (), r"some labels are numbers and others are not, such as 1 and 'n/a'"),
        (
            [0, 2, 1],
            None,
            (),
            r"the labels 0 to 2 can be 3 classes or a regression; set task_settings\.mine\.m",
        ),
        ([f"id {row}" for row in range(201)], None, (), "the column 'label' has 201 different labels, such as 'id 0'"),
        (["a", "b", "c"], None, ("f1",), r"task_settings\.mine\.metrics: 'f1' is for two labels; the data has 3"),
    ],
)
def test_labels_that_decide_nothing_are_refused(tmp_path, labels, held, metrics, message):
    with pytest.raises(ValueError, match=message):
        decided(tmp_path, labels, metrics, held, ending="jsonl")
