"""mini-GLUE: six small English tasks, made from word lists, with the columns and labels of their GLUE namesakes.

The embedded study runs on them, so that it needs no download. Scores on them are not comparable with published figures.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lora_core.data import mini_glue_pairs, mini_glue_single
from lora_core.data.mini_glue_text import Example, Rng

TRAIN_EXAMPLES = 400
VALIDATION_EXAMPLES = 200
SPLITS = {"train": TRAIN_EXAMPLES, "validation": VALIDATION_EXAMPLES}


@dataclass(frozen=True)
class _Generator:
    """How a task's examples are made.

    Attributes:
        example: Makes an example with this label; validation examples may use words that training lacks.
        columns: The columns of text.
        labels: How many classes there are; the labels are drawn in turn.
    """

    example: Callable[[Rng, int, bool], Example]
    columns: tuple[str, ...] = ("sentence1", "sentence2")
    labels: int = 2


GENERATORS = {
    "sst2": _Generator(mini_glue_single.sst2, columns=("sentence",)),
    "mrpc": _Generator(mini_glue_pairs.mrpc),
    "cola": _Generator(mini_glue_single.cola, columns=("sentence",)),
    "rte": _Generator(mini_glue_pairs.rte),
    "stsb": _Generator(mini_glue_pairs.stsb),  # ignores the label that it is asked for
    "mnli": _Generator(mini_glue_pairs.mnli, columns=("premise", "hypothesis"), labels=3),
}


def generate(task: str, split: str, seed: int = 0) -> dict[str, list]:
    """Return the columns of one split of one task: its texts, `label` and `idx`.

    They are equal for equal arguments on every machine. No example is in both splits or twice in one, whatever its
    capitals and the order of its two sentences. Raise ValueError for a task or split that does not exist.
    """
    if task not in GENERATORS:
        raise ValueError(f"mini-GLUE has no task {task!r}; it has {', '.join(GENERATORS)}.")
    split = split.removesuffix("_matched")  # as MNLI's validation split is called
    if split not in SPLITS:
        raise ValueError(f"mini-GLUE has no split {split!r}; it has {', '.join(SPLITS)}.")
    generator = GENERATORS[task]
    rng = Rng(f"{seed}-{task}")  # a string seeds equally in every process; hash() would not
    seen: set[tuple[str, ...]] = set()
    examples = _draw(generator, rng, seen, unseen_words=False, count=TRAIN_EXAMPLES)
    if split == "validation":
        examples = _draw(generator, rng, seen, unseen_words=True, count=VALIDATION_EXAMPLES)
    texts = list(zip(*(texts for texts, _ in examples), strict=True))
    columns: dict[str, list] = {name: list(column) for name, column in zip(generator.columns, texts, strict=True)}
    return columns | {"label": [label for _, label in examples], "idx": list(range(len(examples)))}


def _draw(
    generator: _Generator, rng: Rng, seen: set[tuple[str, ...]], *, unseen_words: bool, count: int
) -> list[Example]:
    """Return `count` new examples, balanced over the labels, and add them to `seen`."""
    examples: list[Example] = []
    while len(examples) < count:
        texts, label = generator.example(rng, len(examples) % generator.labels, unseen_words)
        key = tuple(sorted(text.lower() for text in texts))
        if key not in seen and len(set(key)) == len(texts):
            seen.add(key)
            examples.append((texts, label))
    rng.shuffle(examples)
    return examples
