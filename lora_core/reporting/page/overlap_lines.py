"""What the page says of examples that repeat and of splits that overlap: a line for each task."""

from collections.abc import Iterable, Iterator

from lora_core.data.card import DataCard
from lora_core.data.tasks import task_title


def overlap_lines(cards: Iterable[DataCard]) -> list[str]:
    """Return a line for each task, from the cards of its runs; none for a task in which this was not counted."""
    lines: dict[str, str] = {}
    for card in cards:
        if card.overlap is not None and card.task not in lines:
            lines[card.task] = f"{task_title(card.task)}: {'; '.join([*_facts(card), *_test_facts(card)])}."
    return list(lines.values())


def _facts(card: DataCard) -> Iterator[str]:
    assert card.overlap is not None
    exact, normalized = card.overlap.exact, card.overlap.normalized
    train, validation = card.train.examples, card.validation.examples
    yield (
        f"{_both(exact.overlap, normalized.overlap)} of {validation:,} validation examples are in the training split, "
        f"{_both(exact.overlap_contradictions, normalized.overlap_contradictions)} with another label"
    )
    if len(card.columns) > 1:
        share = normalized.shared / validation
        yield f"{_both(exact.shared, normalized.shared)} ({share:.0%}) share a text with a training example"
    yield (
        f"{_both(exact.train_duplicates, normalized.train_duplicates)} of {train:,} training examples repeat an "
        f"earlier one, {_both(exact.train_contradictions, normalized.train_contradictions)} contradict another one"
    )


def _test_facts(card: DataCard) -> Iterator[str]:
    if card.test is None or card.test_overlap is None:
        return
    exact, normalized, test = card.test_overlap.exact, card.test_overlap.normalized, card.test.examples
    yield (
        f"{_both(exact.in_train, normalized.in_train)} of {test:,} test examples are in the training split, "
        f"{_both(exact.in_train_contradictions, normalized.in_train_contradictions)} with another label, and "
        f"{_both(exact.in_validation, normalized.in_validation)} in the validation split"
    )
    if len(card.columns) > 1:
        yield f"{_both(exact.shared, normalized.shared)} test examples share a text with a training example"


def _both(exact: int, normalized: int) -> str:
    """A count with the texts as they are and, if it differs, normalized: without case and punctuation."""
    return f"{exact:,}" if exact == normalized else f"{exact:,} ({normalized:,} normalized)"
