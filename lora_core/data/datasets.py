"""Tokenize a task: read its splits, check them, and write them with their card."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lora_core import job
from lora_core.data.batches import Examples, write
from lora_core.data.card import DataCard, SplitCard
from lora_core.data.count_overlap import count_overlap, count_test_overlap
from lora_core.data.metrics import METRICS
from lora_core.data.reading import Columns
from lora_core.data.source import DatasetSource
from lora_core.data.splits import read_splits
from lora_core.data.task import Task
from lora_core.data.truncation import truncate
from lora_core.layout import SPLIT, Layout
from lora_core.records import read_json, sha256, write_json
from lora_core.sealed import seal

# Shares of a split's tokens that the tokenizer does not know: above the first the job warns, above the second it fails.
UNKNOWN_WARNING, UNKNOWN_LIMIT = 0.01, 0.2
BATCH = 1000  # examples that are tokenized at a time: whole documents may be long


@dataclass(frozen=True)
class TokenizedSplit:
    """A tokenized split.

    Attributes:
        examples: Its examples.
        truncated: How many of them were truncated.
        unknown: How many tokens are unknown to the tokenizer; a text of which no token is left counts as one.
        unknown_share: Their share of the tokens without those that the tokenizer adds, such as [CLS].
    """

    examples: Examples
    truncated: int
    unknown: int
    unknown_share: float


@dataclass(frozen=True)
class TokenizedFiles:
    """The files of a tokenized task; `test` is None for a task without a test split."""

    train: Path
    validation: Path
    card: Path
    test: Path | None = None

    @classmethod
    def in_folder(cls, folder: Path, *, test: bool = False) -> "TokenizedFiles":
        """Return the files by their usual names in a folder."""
        files = (Layout.train_data, Layout.validation_data, Layout.data_card, *([Layout.test_data] if test else []))
        return cls(*(folder / Path(file).name for file in files))

    def split(self, name: str) -> Path:
        """Return the file of the split of this name."""
        return getattr(self, name)


def tokenize_task(source: DatasetSource, task: Task, model: Path, max_length: int, out: TokenizedFiles) -> None:
    """Write the tokenized splits of a task and their card.

    `model` is a prepared model's folder; an example has at most `max_length` tokens, and no more than its tokenizer
    allows. Raise ValueError if the data cannot be read or does not fit the task, or if the tokenizer does not know a
    large part of it.
    """
    limit = min(max_length, read_json(model / "tokenizer_config.json")["model_max_length"])
    splits = read_splits(source, task)
    if task.is_undecided:
        labels = splits.task.labels
        classes = f"the classes {', '.join(labels)}" if labels else "numbers, a regression"
        print(f"{task.name}: no labels are configured; those of the data are {classes}")
    task = splits.task
    columns = {split: sample(splits.columns[split], source.max_examples(split)) for split in source.splits}
    cards: dict[str, SplitCard] = {}
    for split in source.splits:
        tokenized = tokenize(columns[split], task, model, limit)
        _check_unknown(tokenized.unknown_share, f"{task.name} ({task.split_name(split)})", model.name)
        write(out.split(split), tokenized.examples)
        cards[split] = _split_card(tokenized, task)
    card = DataCard(
        task=task.name,
        data=source.origin,
        columns=task.columns,
        labels=task.labels,
        metrics=task.metrics,
        max_length=limit,
        train=cards["train"],
        validation=cards["validation"],
        files={SPLIT.format(split=split): sha256(out.split(split)) for split in source.splits},
        overlap=count_overlap(task, columns["train"], columns["validation"]),
        test=cards.get("test"),
        test_overlap=count_test_overlap(task, **columns) if "test" in columns else None,
    )
    write_json(out.card, seal(card.to_json()))


def _split_card(tokenized: TokenizedSplit, task: Task) -> SplitCard:
    examples = tokenized.examples
    return SplitCard(
        examples=len(examples),
        tokens=int(examples.offsets[-1]),
        longest=int(examples.lengths.max()),
        truncated=tokenized.truncated,
        baseline_score=METRICS[task.metrics[0]].baseline_score(examples.labels),
        sha256=hashlib.sha256(examples.tokens.tobytes() + examples.labels.tobytes()).hexdigest(),
        unknown=tokenized.unknown,
    )


def _check_unknown(share: float, split: str, model: str) -> None:
    """Warn of unknown tokens above `UNKNOWN_WARNING`. Raise ValueError above `UNKNOWN_LIMIT`."""
    problem = f"{split}: {share:.1%} of the tokens are unknown to the tokenizer of the model {model!r}"
    if share > UNKNOWN_LIMIT:
        raise ValueError(f"{problem}; use the tokenizer that belongs to the model, or a model that knows these texts")
    if share > UNKNOWN_WARNING:
        job.announce(f"warning: {problem}")


def tokenize(columns: Columns, task: Task, model: Path, max_length: int) -> TokenizedSplit:
    """Return a split tokenized by a prepared model's tokenizer, at most `max_length` tokens an example.

    There are token types only if the model has more than one.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    texts = [columns[name] for name in task.columns]
    inputs = texts[0] if len(texts) == 1 else list(zip(*texts, strict=True))
    kept, untruncated = [], []
    for start in range(0, len(inputs), BATCH):
        encodings = tokenizer.encode_batch(inputs[start : start + BATCH])
        kept += [truncate(encoding, max_length) for encoding in encodings]
        untruncated += [len(encoding) for encoding in encodings]
    lengths = np.array([len(ids) for ids, _ in kept])
    tokens, types = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    config = read_json(model / "config.json")
    vocabulary = config.get("vocab_size")
    if vocabulary is not None and tokens.max() >= vocabulary:
        raise ValueError(
            f"the tokenizer of the model {model.name!r} gives the token {tokens.max()}, but the model has embeddings "
            f"for {vocabulary} tokens; use the tokenizer that belongs to the model"
        )
    has_types = config.get("type_vocab_size", 2) > 1
    examples = Examples(
        tokens=tokens,
        types=types if has_types and types.any() else None,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=np.array(columns[task.label_column], np.int64 if task.labels else np.float32),
    )
    added = tokenizer.num_special_tokens_to_add(len(texts) == 2)
    unknown_name = read_json(model / "tokenizer_config.json").get("unk_token")
    unknown_token = None if unknown_name is None else tokenizer.token_to_id(str(unknown_name))
    blank = np.array([not any(text.strip() for text in example) for example in zip(*texts, strict=True)])
    lost = int(((lengths <= added) & ~blank).sum())
    unknown = lost + int((tokens == (-1 if unknown_token is None else unknown_token)).sum())
    return TokenizedSplit(
        examples=examples,
        truncated=int((lengths < untruncated).sum()),
        unknown=unknown,
        unknown_share=unknown / max(1, len(tokens) - added * len(lengths) + lost),
    )


def sample(columns: Columns, limit: int | None) -> Columns:
    """Return at most `limit` examples, drawn evenly over the split: a data set may be sorted."""
    size = len(next(iter(columns.values())))
    if limit is None or limit >= size:
        return columns
    rows = np.sort(np.random.default_rng(0).permutation(size)[:limit])
    return {name: [values[row] for row in rows] for name, values in columns.items()}
