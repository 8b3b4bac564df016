"""Examples that repeat, contradict each other, or are in both splits: counted in hand-made data and in GLUE."""

import time
from dataclasses import asdict

import pytest
from builders import shared_glue

from lora_core.data.card import read_data_card
from lora_core.data.count_overlap import count_overlap
from lora_core.data.datasets import TokenizedFiles, sample, tokenize_task
from lora_core.data.normalize import normalize
from lora_core.data.overlap import Overlap
from lora_core.data.source import DatasetSource
from lora_core.data.splits import read_splits
from lora_core.data.task import Task
from lora_core.data.tasks import TASKS

ONE = Task("one", "one", ("text",), ("no", "yes"), ("accuracy",))
TWO = Task("two", "two", ("first", "second"), ("no", "yes"), ("accuracy",))


def single(*rows):
    """Columns of texts, each with its label."""
    texts, labels = zip(*rows, strict=True)
    return {"text": list(texts), "label": list(labels)}


TRAIN = single(("a b", 0), ("a b", 1), ("A  b!", 0), ("c", 1), ("c", 1), ("d", 0))
VALIDATION = single(("x", 0), ("a b", 1), ("C.", 0), ("d", 0), ("d?", 1), ("", 0))


def test_repeats_of_single_texts_are_counted_by_hand():
    overlap = count_overlap(ONE, TRAIN, VALIDATION)
    assert asdict(overlap.exact) == {
        "train_duplicates": 2,  # the second "a b" and the second "c"
        "validation_duplicates": 0,
        "train_contradictions": 2,  # both "a b"
        "validation_contradictions": 0,
        "overlap": 2,  # "a b" and "d"
        "overlap_contradictions": 1,  # "a b", which is 0 too
        "shared": 2,
    }
    assert asdict(overlap.normalized) == {
        "train_duplicates": 3,
        "validation_duplicates": 1,
        "train_contradictions": 3,
        "validation_contradictions": 2,
        "overlap": 4,
        "overlap_contradictions": 3,  # all but the first "d"
        "shared": 4,
    }
    assert overlap.shares_text(6).tolist() == [False, True, True, True, True, False]


def test_of_pairs_one_text_is_enough_to_share_and_both_are_needed_to_repeat():
    train = {"first": ["p", "q", "p"], "second": ["r", "", "r"], "label": [0, 1, 1]}
    validation = {"first": ["p", "r", "n", "Q", ""], "second": ["r", "n", "m", "n", ""], "label": [0, 0, 0, 0, 0]}
    overlap = count_overlap(TWO, train, validation)
    assert (overlap.exact.overlap, overlap.exact.overlap_contradictions, overlap.exact.shared) == (1, 1, 2)
    assert (overlap.normalized.overlap, overlap.normalized.shared) == (1, 3)
    assert overlap.shares_text(5).tolist() == [True, True, False, True, False], "an empty text counts for nothing"


def test_scores_of_a_regression_contradict_if_they_differ():
    task = Task("score", "score", ("text",), (), ("pearson",))
    exact = count_overlap(task, single(("a", 1.5), ("a", 1.5), ("b", 2.0)), single(("a", 1.5), ("b", 2.5))).exact
    assert (exact.train_duplicates, exact.train_contradictions) == (1, 0)
    assert (exact.overlap, exact.overlap_contradictions) == (2, 1)


@pytest.mark.parametrize(
    ("texts", "normal"),
    [
        (("It's  a\tTEST.", "its a test", "It’s a test!"), "its a test"),
        (("ﬁne", "FINE"), "fine"),
        (("हिन्दी।", "हिन्दी"), "हिन्दी"),
        (("你好。", "你好"), "你好"),
        (("good 👍",), "good 👍"),
        (("good 👎",), "good 👎"),
        (("1 + 1",), "1 + 1"),
        (("?!",), "?!"),
    ],
)
def test_texts_are_the_same_without_case_punctuation_and_kinds_of_spaces(texts, normal):
    assert {normalize(text) for text in texts} == {normal}


def test_the_card_holds_what_was_counted_in_the_examples_that_are_used(tmp_path, bert):
    for split, columns in (("train", TRAIN), ("validation", VALIDATION)):
        rows = zip(columns["text"], columns["label"], strict=True)
        (tmp_path / f"{split}.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    source = DatasetSource("user", path=str(tmp_path), max_validation_examples=5)
    tokenize_task(source, ONE, bert, 16, TokenizedFiles.in_folder(tmp_path / "out"))
    card = read_data_card(tmp_path / "out" / "card.json")
    splits = read_splits(source, ONE)
    used = sample(splits.columns["validation"], 5)
    assert card.overlap == count_overlap(ONE, TRAIN, used)
    assert card.overlap is not None
    assert len(card.overlap.shares_text(card.validation.examples)) == 5


def test_a_card_from_before_it_was_counted_has_none():
    assert Overlap.from_json(None) is None


@pytest.mark.parametrize("task", ["cola", "rte", "stsb", "sst2"])
def test_the_published_overlap_of_glue_is_found(task):
    columns = read_splits(DatasetSource("local", path=str(shared_glue())), TASKS[task]).columns
    started = time.process_time()
    overlap = count_overlap(TASKS[task], columns["train"], columns["validation"])
    assert time.process_time() - started < 5  # 0.5 s for the 67,349 rows of SST-2
    exact, normalized = overlap.exact, overlap.normalized
    train, validation = (len(columns[split]["label"]) for split in ("train", "validation"))
    found = {
        "cola": (exact.overlap, exact.overlap_contradictions, validation) == (18, 2, 1043),
        "rte": f"{normalized.shared / validation:.0%}" == "38%",
        "stsb": f"{normalized.shared / validation:.0%}" == "17%",
        "sst2": f"{normalized.train_duplicates / train:.0%}" == "13%",
    }
    assert found[task], overlap
    assert overlap.shares_text(validation).sum() == normalized.shared
