"""A test split: named by a split or a file, or drawn by a fraction; read, tokenized, and counted in the card."""

import pandas as pd
import pytest
from builders import changed, own_task

from lora_core.config import data_files, preflight
from lora_core.config.errors import ConfigError
from lora_core.config.study import load
from lora_core.data.batches import load as load_examples
from lora_core.data.card import read_data_card
from lora_core.data.count_overlap import count_test_overlap
from lora_core.data.datasets import TokenizedFiles, tokenize_task
from lora_core.data.reading import read_parts
from lora_core.data.source import DatasetSource
from lora_core.data.splits import read_splits
from lora_core.data.splitting import split_rows
from lora_core.data.task import Task
from lora_core.records import read_json

UNDECIDED = Task("mine", "mine", ("text",), (), ())
ROWS = [(f"text number {row}", ("rare" if row % 10 == 0 else "common")) for row in range(200)]


def write(file, rows=(("a", "x"), ("b", "y"))):
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(file, index=False)
    return file


@pytest.fixture
def folder(tmp_path):
    """The files of a task without a test split."""
    for split in ("train", "validation"):
        write(tmp_path / "mine" / f"{split}.csv")
    return tmp_path / "mine"


def source(folder, **settings):
    return DatasetSource("user", path=str(folder), **settings)


@pytest.mark.parametrize("named", ["test", "held_out"])
def test_a_split_of_the_folder_is_the_test_split_by_any_name(named, folder):
    write(folder / f"{named}.csv", [("c", "y"), ("d", "x"), ("e", "x")])
    columns = read_splits(source(folder, test=named), UNDECIDED).columns
    assert list(columns) == ["train", "validation", "test"]
    assert (columns["test"]["text"], columns["test"]["label"]) == (["c", "d", "e"], [1, 0, 0])


def test_a_file_elsewhere_is_the_test_split_in_a_format_of_its_own(folder, tmp_path):
    file = tmp_path / "elsewhere" / "held.parquet"
    file.parent.mkdir()
    pd.DataFrame({"label": ["x"], "text": ["c"]}).to_parquet(file)
    task = source(folder, test=str(file))
    assert read_splits(task, UNDECIDED).columns["test"]["text"] == ["c"]
    assert list(read_parts(task, UNDECIDED, "test")) == [str(file)]


def test_a_file_that_lies_next_to_the_others_is_read_only_if_it_is_named(folder):
    write(folder / "test.csv")
    assert list(read_splits(source(folder), UNDECIDED).columns) == ["train", "validation"]


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("test", r"task_settings\.mine\.test: '.*mine' has no test\.csv, test-\*\.csv"),
        ("gone.csv", r"task_settings\.mine\.test: there is no file 'gone\.csv'; correct the path"),
        ("label.csv", r"label\.csv: unknown label 'z' in row 0; the training split has x, y"),
    ],
)
def test_a_test_split_that_cannot_be_used_is_named(test, message, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "label.csv", [("c", "z")])
    with pytest.raises(ValueError, match=message):
        read_splits(source("mine", test=test), UNDECIDED)


def test_one_file_has_no_split_of_a_name(tmp_path):
    file = write(tmp_path / "all.csv", ROWS)
    with pytest.raises(ValueError, match=r"mine\.test: '.*all\.csv' is one file and has no split 'test'; set test_fra"):
        read_splits(source(file, test="test", validation_fraction=0.2), UNDECIDED)


def test_one_file_can_be_divided_next_to_a_test_file(tmp_path):
    file, held = write(tmp_path / "all.csv", ROWS), write(tmp_path / "held.csv", [("c", "rare")])
    columns = read_splits(source(file, test=str(held), validation_fraction=0.2), UNDECIDED).columns
    assert {split: len(values["text"]) for split, values in columns.items()} == {
        "train": 160, "validation": 40, "test": 1,
    }  # fmt: skip


def test_a_fraction_for_testing_leaves_the_validation_split_as_it_is(tmp_path):
    file = write(tmp_path / "all.csv", ROWS)
    two, three = (
        read_splits(source(file, validation_fraction=0.2, split_seed=3, **more), UNDECIDED).columns
        for more in ({}, {"test_fraction": 0.1})
    )
    assert three["validation"] == two["validation"]
    assert {split: values["label"].count(1) for split, values in three.items()} == {
        "train": 14, "validation": 4, "test": 2,
    }  # fmt: skip
    assert [len(three[split]["text"]) for split in three] == [140, 40, 20]
    assert not set(three["test"]["text"]) & {*three["train"]["text"], *three["validation"]["text"]}


def test_copies_of_a_text_are_in_one_of_three_splits():
    texts = [(text,) for row in range(60) for text in (f"text {row}", f"Text {row}!")]
    splits = split_rows(texts, [0] * 120, [0.25, 0.25], 0)
    assert list(map(len, splits)) == [60, 30, 30]
    assert sorted(row for rows in splits for row in rows) == list(range(120))
    owner = {row: number for number, rows in enumerate(splits) for row in rows}
    assert all(owner[row] == owner[row + 1] for row in range(0, 120, 2))


def test_too_few_examples_for_a_test_split_are_said(tmp_path):
    file = write(tmp_path / "all.csv", ROWS[1:3])
    task = Task("mine", "mine", ("text",), ("common", "rare"), ("accuracy",))
    with pytest.raises(ValueError, match=r"mine\.test_fraction: 0\.1 of 2 examples leaves the test split empty"):
        read_splits(source(file, validation_fraction=0.3, test_fraction=0.1), task)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test": "validation"}, "test: 'validation' is another split; name a file, or a split such as test"),
        ({"test": "test", "test_fraction": 0.1}, "test_fraction: the test split is named in test already"),
        ({"test_fraction": 0.1}, "test_fraction: nothing is split without validation_fraction; set it too, or test"),
        ({"test_fraction": 0.5, "validation_fraction": 0.5}, "nothing is left for training; lower them"),
        ({"test": " "}, "the path is empty"),
        ({"test": "t{x}.csv"}, "braces are wildcards"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        load(changed(tasks=["mine"], task_settings={"mine": {"path": "mine", "texts": ["text"], **settings}}))


def study(**settings):
    return load(changed(tasks=["mine"], task_settings={"mine": {"path": "mine", "texts": ["text"], **settings}}))


def test_a_changed_test_file_is_among_the_files_of_the_task(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    write(folder / "test.csv")
    assert data_files.data_files(study(test="test"), "mine") == [
        "mine/train.csv",
        "mine/validation.csv",
        "mine/test.csv",
    ]
    assert len(data_files.data_bytes(study(test="test"), "mine")) == 3


@pytest.mark.parametrize("test", ["mine/validation.csv", "other/train.csv"])
def test_a_test_file_that_is_called_like_another_split_is_refused(test, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    write(folder.parent / "other" / "train.csv")
    with pytest.raises(ConfigError, match=rf"mine\.test: '{test}' has the name of a file of another split; rename it"):
        preflight.check_paths(study(test=test))


def test_the_results_may_not_lie_where_the_test_file_is(folder):
    task = {"path": "mine", "texts": ["text"], "test": str(folder / "out" / "test.csv")}
    config = changed(results_dir=str(folder / "out"), tasks=["mine"], task_settings={"mine": task})
    with pytest.raises(ConfigError, match=r"results_dir: '.*out' holds what task_settings\.mine\.test names"):
        load(config)


def test_the_card_has_the_test_split_with_its_digest(own_data):
    card = read_data_card(own_data / "card.json", test=own_data / "test.safetensors")
    examples = load_examples(own_data / "test.safetensors")
    assert (card.test.examples, card.split("test"), len(examples)) == (30, card.test, 30)
    assert "test.safetensors" in card.files
    assert card.test_overlap.exact.in_train == 0


def test_a_damaged_test_split_is_refused(own_data, tmp_path):
    damaged = tmp_path / "test.safetensors"
    damaged.write_bytes((own_data / "test.safetensors").read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match=r"test\.safetensors is damaged \(its digest is not the one in card\.json\)"):
        read_data_card(own_data / "card.json", test=damaged)


def test_a_task_without_a_test_split_has_a_card_without_one(bert, tmp_path):
    own, task = own_task(tmp_path / "files")
    tokenize_task(
        DatasetSource("user", path=own.path), task, bert, 128, TokenizedFiles.in_folder(tmp_path / "own")
    )  # fmt: skip
    card = read_json(tmp_path / "own" / "card.json")
    assert not [key for key in [*card, *card["files"], *card["data"]] if "test" in key]


def test_what_the_test_split_shares_with_the_others_is_counted():
    task = Task("mine", "mine", ("text",), ("x", "y"), ("accuracy",))
    splits = {
        "train": {"text": ["a", "b", "b"], "label": [0, 1, 0]},
        "validation": {"text": ["c", "d"], "label": [0, 1]},
        "test": {"text": ["a", "A!", "c", "e", "e", "b"], "label": [1, 0, 0, 0, 1, 1]},
    }
    counts = count_test_overlap(task, **splits)
    exact, normalized = counts.exact, counts.normalized
    assert (exact.in_train, exact.in_train_contradictions, exact.in_validation, exact.shared) == (2, 2, 1, 2)
    assert (exact.duplicates, exact.contradictions) == (1, 2)
    assert (normalized.in_train, normalized.duplicates, normalized.contradictions) == (3, 2, 4)
