"""The embedded data: in the form of GLUE, the same everywhere, not trivial to guess, and without leaks."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from lora_core.data.mini_glue import SPLITS, TRAIN_EXAMPLES, VALIDATION_EXAMPLES, generate
from lora_core.data.tasks import TASKS

# As nyu-mll/glue has them.
GLUE_COLUMNS = {
    "sst2": {"sentence", "label", "idx"},
    "mrpc": {"sentence1", "sentence2", "label", "idx"},
    "cola": {"sentence", "label", "idx"},
    "rte": {"sentence1", "sentence2", "label", "idx"},
    "stsb": {"sentence1", "sentence2", "label", "idx"},
    "mnli": {"premise", "hypothesis", "label", "idx"},
}
CLASSIFIED = [task for task in TASKS if task != "stsb"]
SEEDS = (0, 1)


def texts(task: str, split: str, seed: int = 0) -> list[tuple[str, ...]]:
    columns = generate(task, split, seed)
    return list(zip(*(columns[name] for name in TASKS[task].columns), strict=True))


def run_python(program: str, hash_seed: str = "0") -> str:
    """The output of a new Python process."""
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def rows(task: str, seed: int = 0) -> list[tuple]:
    """The texts and label of every example of both splits."""
    return [
        (*text, label)
        for split in SPLITS
        for text, label in zip(texts(task, split, seed), generate(task, split, seed)["label"], strict=True)
    ]


@pytest.mark.parametrize("task", TASKS)
def test_columns_are_those_of_glue(task: str) -> None:
    for split in SPLITS:
        assert set(generate(task, split)) == GLUE_COLUMNS[task]


@pytest.mark.parametrize("task", TASKS)
def test_every_column_has_one_entry_an_example(task: str) -> None:
    assert TRAIN_EXAMPLES >= 400
    assert VALIDATION_EXAMPLES >= 200
    for split, size in (("train", TRAIN_EXAMPLES), ("validation", VALIDATION_EXAMPLES)):
        columns = generate(task, split)
        assert {len(column) for column in columns.values()} == {size}
        assert columns["idx"] == list(range(size))


@pytest.mark.parametrize("task", CLASSIFIED)
def test_class_labels_are_whole_numbers_with_a_name(task: str) -> None:
    names = TASKS[task].labels
    for split in SPLITS:
        labels = generate(task, split)["label"]
        assert {type(label) for label in labels} == {int}
        assert set(labels) == set(range(len(names)))


@pytest.mark.parametrize("seed", SEEDS)
def test_similarities_are_floats_that_span_the_scale(seed: int) -> None:
    for split in SPLITS:
        labels = generate("stsb", split, seed)["label"]
        assert {type(label) for label in labels} == {float}
        assert 0 <= min(labels) < 1
        assert 4 < max(labels) <= 5
        assert all(any(low <= label < low + 1 for label in labels) for low in range(5))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", CLASSIFIED)
def test_majority_guess_is_right_at_most_six_times_in_ten(task: str, seed: int) -> None:
    for split in SPLITS:
        labels = generate(task, split, seed)["label"]
        assert max(Counter(labels).values()) <= 0.6 * len(labels)


def test_processes_with_other_hashes_make_the_same_examples() -> None:
    program = (
        "import json; from lora_core.data.mini_glue import *; from lora_core.data.tasks import TASKS;"
        "print(json.dumps([generate(task, split) for task in TASKS for split in SPLITS]))"
    )
    here = json.dumps([generate(task, split) for task in TASKS for split in SPLITS])
    assert run_python(program, hash_seed="1") == here
    assert run_python(program, hash_seed="2") == here


@pytest.mark.parametrize("task", TASKS)
def test_other_generation_seeds_make_other_examples(task: str) -> None:
    assert texts(task, "train", seed=0) != texts(task, "train", seed=1)


@pytest.mark.parametrize("task", TASKS)
def test_callers_may_change_what_they_got(task: str) -> None:
    generate(task, "train")["label"].clear()
    assert len(generate(task, "train")["label"]) == TRAIN_EXAMPLES


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", TASKS)
def test_no_example_comes_twice_even_with_its_sentences_exchanged(task: str, seed: int) -> None:
    keys = [tuple(sorted(part.lower() for part in text)) for split in SPLITS for text in texts(task, split, seed)]
    assert len(set(keys)) == TRAIN_EXAMPLES + VALIDATION_EXAMPLES


@pytest.mark.parametrize("task", [task for task in TASKS if len(TASKS[task].columns) == 2])
def test_the_two_sentences_of_a_pair_differ(task: str) -> None:
    assert all(first != second for split in SPLITS for first, second in texts(task, split))


@pytest.mark.parametrize("task", TASKS)
def test_sentences_are_short_and_written_as_sentences(task: str) -> None:
    for split in SPLITS:
        for text in texts(task, split):
            for sentence in text:
                assert 3 <= len(sentence.split()) <= 20, sentence
                assert sentence[0].isupper(), sentence
                assert sentence.endswith("."), sentence
                assert "  " not in sentence, sentence
                assert "|" not in sentence, sentence


def test_validation_reviews_use_words_of_praise_and_blame_that_training_lacks() -> None:
    def vocabulary(split: str) -> set[str]:
        return {word for (review,) in texts("sst2", split) for word in review.lower().rstrip(".").split()}

    assert {"superb", "dreary", "misfires", "dazzles"} <= vocabulary("validation") - vocabulary("train")


def test_acceptable_sentences_agree_in_number() -> None:
    singular, plural = {"is", "has", "this"}, {"are", "have", "these"}
    kinds = Counter()
    for sentence, label in rows("cola"):
        words = set(sentence.lower().rstrip(".").split())
        kinds[label, bool(words & singular and words & plural)] += 1
    assert kinds[1, True] == 0
    assert kinds[1, False] > 0
    assert kinds[0, True] > 0


def test_a_denied_thing_is_never_entailed_by_an_affirmed_one() -> None:
    def denies(sentence: str) -> bool:
        return " did not " in sentence or sentence.startswith("Neither ")

    mixed = [label for premise, hypothesis, label in rows("rte") if denies(premise) != denies(hypothesis)]
    assert mixed
    assert set(mixed) == {1}


def test_entailment_goes_up_to_the_kind_when_affirmed_and_down_when_denied() -> None:
    """Checked on sentences that name one animal each."""
    animals = {"dog", "cat", "horse", "rabbit", "goat"}
    seen = set()
    for premise, hypothesis, label in rows("rte"):
        before, after = (sentence.rstrip(".").split() for sentence in (premise, hypothesis))
        if after[0] not in before or ("not" in after) != ("not" in before) or "neither" in premise.lower():
            continue
        if (before[-1] in animals and after[-1] == "animal") or (before[-1] == "animal" and after[-1] in animals):
            upward, denied = after[-1] == "animal", "not" in after
            if " or " not in premise and " and " not in premise:
                assert (label == 0) == (upward != denied), (premise, hypothesis)
                seen.add((upward, denied))
    assert len(seen) >= 3


def test_paraphrases_report_the_same_day_place_or_year() -> None:
    details = "monday tuesday wednesday thursday friday saturday oslo boston madrid toronto vienna sydney".split()
    same = Counter()
    for first, second, label in rows("mrpc"):
        mentioned = [[word for word in details if word in sentence.lower()] for sentence in (first, second)]
        same[label, mentioned[0] == mentioned[1]] += 1
    assert same[1, False] == 0
    assert same[1, True] > 0
    assert same[0, False] > 0
    assert same[0, True] > 0  # a difference of day or place alone does not decide


def test_reordered_scenes_are_fully_similar_and_changed_words_lower_the_similarity() -> None:
    def words(sentence: str) -> list[str]:
        return sorted(sentence.lower().replace(",", "").rstrip(".").split())

    reordered = [label for first, second, label in rows("stsb") if words(first) == words(second)]
    assert reordered
    assert set(reordered) == {5.0}
    assert max(label for first, second, label in rows("stsb") if words(first) != words(second)) < 5


def test_an_unknown_task_is_refused_by_a_sentence_that_names_the_tasks() -> None:
    with pytest.raises(ValueError, match=r"no task 'sst'; it has sst2, mrpc, cola, rte, stsb, mnli\."):
        generate("sst", "train")


def test_an_unknown_split_is_refused_by_a_sentence_that_names_the_splits() -> None:
    with pytest.raises(ValueError, match=r"no split 'test'; it has train, validation\."):
        generate("sst2", "test")


def test_generating_needs_the_standard_library_only() -> None:
    program = (
        "import sys; before = set(sys.modules); import lora_core.data.mini_glue as module;"
        "module.generate('sst2', 'train');"
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    assert run_python(program) == "['lora_core']"
