"""Examples: read and checked, tokenized as transformers does, stored without loss, each in exactly one batch."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from builders import shared_glue

from lora_core.data import batches as data
from lora_core.data.card import read_data_card
from lora_core.data.checks import check_columns
from lora_core.data.datasets import TokenizedFiles, sample, tokenize, tokenize_task
from lora_core.data.local_files import local_files
from lora_core.data.mini_glue import generate
from lora_core.data.source import DatasetSource
from lora_core.data.splits import check_local_files, read_splits
from lora_core.data.task import Task
from lora_core.data.tasks import TASKS
from lora_core.records import read_json


@pytest.mark.parametrize("batching", ["random", "length_grouped"])
def test_every_example_is_in_exactly_one_batch_and_epochs_differ(batching):
    lengths = np.random.default_rng(0).integers(3, 60, 333)
    epochs = [data.order(lengths, 16, batching, seed) for seed in (1, 2)]
    for batches in epochs:
        assert sorted(np.concatenate(batches)) == list(range(333))
        assert max(map(len, batches)) == 16
    assert [b.tolist() for b in epochs[0]] != [b.tolist() for b in epochs[1]]
    again = data.order(lengths, 16, batching, 1)
    assert [b.tolist() for b in again] == [b.tolist() for b in epochs[0]]


def test_length_grouped_batches_hold_next_to_no_padding():
    lengths = np.random.default_rng(0).integers(3, 120, 4000)

    def real(batching):
        batches = data.order(lengths, 16, batching, 1)
        return lengths.sum() / sum(lengths[rows].max() * len(rows) for rows in batches)

    assert real("length_grouped") > 0.97 > 0.7 > real("random")


@pytest.mark.parametrize("task", ["cola", "rte"])
@pytest.mark.parametrize("folder", ["bert", "roberta"])
def test_tokens_are_those_of_transformers(task, folder, request, tmp_path):
    from transformers import AutoTokenizer

    model = request.getfixturevalue(folder)
    texts, columns = TASKS[task].columns, generate(task, "validation")
    tokenized = tokenize(columns, TASKS[task], model, 60)
    examples = tokenized.examples
    theirs = AutoTokenizer.from_pretrained(model)(*(columns[name] for name in texts), truncation=True, max_length=60)
    ours = [examples.tokens[a:b].tolist() for a, b in zip(examples.offsets, examples.offsets[1:], strict=False)]
    assert ours == theirs["input_ids"]
    assert tokenized.truncated == sum(
        len(ids) > 60 for ids in AutoTokenizer.from_pretrained(model)(*(columns[name] for name in texts))["input_ids"]
    )


def test_a_batch_is_padded_to_its_longest_and_masked(cola):
    examples = data.load(cola / "train.safetensors")
    batch = next(data.batches(examples, [np.array([3, 1, 4])], pad=9))
    longest = examples.lengths[[3, 1, 4]].max()
    assert batch.ids.shape == (3, longest)
    assert batch.mask.sum() == batch.tokens_real == examples.lengths[[3, 1, 4]].sum()
    assert (batch.ids[batch.mask == 0] == 9).all()
    start, end = examples.offsets[1:3]
    assert batch.ids[1][batch.mask[1] == 1].tolist() == examples.tokens[start:end].tolist()


def test_the_card_describes_what_was_stored(cola):
    card = read_data_card(cola / "card.json")
    examples = data.load(cola / "train.safetensors")
    assert card.train.examples == len(examples) == 64
    assert card.train.tokens == len(examples.tokens)
    assert card.train.longest == examples.lengths.max()
    assert card.labels == ("unacceptable", "acceptable")
    assert card.train.baseline_score == 0
    assert card.train.sha256 == hashlib.sha256(examples.tokens.tobytes() + examples.labels.tobytes()).hexdigest()
    assert read_json(cola / "card.json")["data"] == {"source": "mini", "seed": 0}


def test_a_limit_keeps_examples_of_all_parts_and_all_if_there_are_fewer():
    columns = {"label": list(range(100))}
    limited = sample(columns, 10)["label"]
    assert len(set(limited)) == 10
    assert max(limited) > 50
    assert sample(columns, 200) == columns


GOOD = {"sentence": ["a", "b"], "label": [0, 1]}
TASK = Task("mine", "mine", ("sentence",), ("no", "yes"), ("accuracy",))
REGRESSION = replace(TASK, labels=(), metrics=("pearson",))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [0]}, "lacks the column 'sentence'; it has label"),
        ({"sentence": ["a"]}, "lacks the column 'label'"),
        ({"sentence": [], "label": []}, "holds no example"),
        (GOOD | {"label": [0, -1]}, r"unknown label -1 in row 1; expected 0..1 \(no, yes\)"),
        (GOOD | {"label": [0, 2]}, "unknown label 2 in row 1"),
        (GOOD | {"label": [0, None]}, "unknown label None in row 1"),
        (GOOD | {"sentence": ["a", None]}, "column 'sentence' holds no text in row 1"),
    ],
)
def test_bad_data_is_refused_in_one_sentence(columns, message):
    with pytest.raises(ValueError, match=message):
        check_columns(columns, TASK, "cola (train)")


def test_good_data_and_any_finite_score_pass():
    assert check_columns(GOOD, TASK, "here") == [0, 1]
    assert check_columns(GOOD | {"label": [0.5, 4.9]}, REGRESSION, "here") == [0.5, 4.9]
    with pytest.raises(ValueError, match="unknown label nan"):
        check_columns(GOOD | {"label": [0.5, float("nan")]}, REGRESSION, "here")


@pytest.mark.parametrize(
    ("task", "train", "validation"), [("cola", 8551, 1043), ("rte", 2490, 277), ("stsb", 5749, 1500)]
)
def test_real_glue_is_read_from_a_local_folder(task, train, validation):
    source = DatasetSource("local", path=str(shared_glue()))
    columns = read_splits(source, TASKS[task]).columns
    assert [len(columns[split]["label"]) for split in data.SPLITS] == [train, validation]


def test_a_missing_folder_or_task_is_named(tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        local_files(DatasetSource("local", path=str(tmp_path / "none")), "cola", "train")
    with pytest.raises(ValueError, match=r"has no cola/train-\*.parquet, which the task 'cola' needs"):
        local_files(DatasetSource("local", path=str(tmp_path)), "cola", "train")


def test_a_long_example_is_truncated_before_its_final_special_token():
    examples = data.Examples(
        np.array([1, 5, 6, 7, 2, 1, 8, 2], np.int32), np.array([0, 0, 1, 1, 1, 0, 0, 0], np.int8),
        np.array([0, 5, 8]), np.array([0, 1]),
    )  # fmt: skip
    short = data.truncate(examples, 4)
    assert (short.tokens.tolist(), short.types.tolist()) == ([1, 5, 6, 2, 1, 8, 2], [0, 0, 1, 1, 0, 0, 0])
    assert (short.offsets.tolist(), short.labels.tolist()) == ([0, 4, 7], [0, 1])
    assert data.truncate(examples, 5) is examples
    assert [data.count_truncated(examples, longest, 0) for longest in (5, 4, 2)] == [0, 1, 2]
    assert data.count_truncated(examples, 5, 7) == 7


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_users_files_are_read_unchanged(suffix, tmp_path):
    import pandas as pd

    texts = ["NA", "", "null", 'two\nlines, "quoted"', "None", "é"]
    frame = pd.DataFrame({"first": texts, "second": texts[::-1], "kind": [1, 2, 3, 3, 2, 1]})
    for split in ("train", "validation"):
        frame.to_csv(tmp_path / f"{split}.csv", index=False) if suffix == "csv" else frame.to_parquet(
            tmp_path / f"{split}.parquet"
        )
    source = DatasetSource("user", path=str(tmp_path))
    task = Task("mine", "mine", ("first", "second"), ("3", "2", "1"), ("accuracy",), label_column="kind")
    columns = read_splits(source, task).columns["train"]
    assert (columns["first"], columns["second"]) == (texts, texts[::-1])
    assert columns["kind"] == [2, 1, 0, 0, 1, 2]


@pytest.mark.parametrize(
    ("labels", "written", "expected"),
    [
        (["true", "false"], ["true", "false"], [0, 1]),
        (["01", "1"], ["01", "1"], [0, 1]),
        (["sad", "glad"], ["1", "sad"], [1, 0]),
    ],
)
def test_labels_and_texts_of_a_csv_are_read_as_text(labels, written, expected, bert, tmp_path):
    for split in ("train", "validation"):
        rows = [f"{number},{label}\n" for number, label in enumerate(written)]
        (tmp_path / f"{split}.csv").write_text("text,label\n" + "".join(rows))
    source = DatasetSource("user", path=str(tmp_path))
    task = Task("mine", "mine", ("text",), tuple(labels), ("accuracy",))
    check_local_files(source, task)
    tokenize_task(source, task, bert, 16, TokenizedFiles.in_folder(tmp_path / "out"))
    assert data.load(tmp_path / "out" / "train.safetensors").labels.tolist() == expected


def test_a_source_and_a_task_read_back_from_a_rules_params_are_the_same():
    source = DatasetSource("hub", id="nyu-mll/glue", revision="0" * 40, max_train_examples=7)
    assert DatasetSource.from_params(source.to_params()) == source
    for task in TASKS.values():
        assert Task.from_params(task.to_params()) == replace(task, title=task.name)
    assert "title" not in TASKS["cola"].to_params(), "a title decides nothing about the data"
