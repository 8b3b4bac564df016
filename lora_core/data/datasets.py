"""Tokenize a task: read its splits, check them, and write them with their card."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lora_core.data.batches import SPLITS, Examples, write
from lora_core.data.card import DataCard, SplitCard
from lora_core.data.checks import check_columns
from lora_core.data.metrics import METRICS
from lora_core.data.reading import Columns, read_split
from lora_core.data.source import DatasetSource
from lora_core.data.task import Task
from lora_core.layout import SPLIT, Layout
from lora_core.records import read_json, sha256, write_json


@dataclass(frozen=True)
class TokenizedFiles:
    """The files of a tokenized task."""

    train: Path
    validation: Path
    card: Path

    @classmethod
    def in_folder(cls, folder: Path) -> "TokenizedFiles":
        """Return the files by their usual names in a folder."""
        return cls(
            *(folder / Path(file).name for file in (Layout.train_data, Layout.validation_data, Layout.data_card))
        )

    def split(self, name: str) -> Path:
        """Return the file of the split of this name, "train" or "validation"."""
        return {"train": self.train, "validation": self.validation}[name]


def tokenize_task(source: DatasetSource, task: Task, model: Path, max_length: int, out: TokenizedFiles) -> None:
    """Write the tokenized splits of a task and their card.

    `model` is a prepared model's folder; an example has at most `max_length` tokens, and no more than its tokenizer
    allows. Raise ValueError if the data cannot be read or does not fit the task.
    """
    limit = min(max_length, read_json(model / "tokenizer_config.json")["model_max_length"])
    cards: dict[str, SplitCard] = {}
    for split in SPLITS:
        name = task.split_name(split)
        columns = read_split(source, task, name)
        columns[task.label_column] = check_columns(columns, task, f"{task.name} ({name})")
        columns = sample(columns, source.max_examples(split))
        examples, truncated = tokenize(columns, task, model / "tokenizer.json", limit)
        write(out.split(split), examples)
        cards[split] = SplitCard(
            examples=len(examples),
            tokens=int(examples.offsets[-1]),
            longest=int(examples.lengths.max()),
            truncated=truncated,
            baseline_score=METRICS[task.metrics[0]].baseline_score(examples.labels),
            sha256=hashlib.sha256(examples.tokens.tobytes() + examples.labels.tobytes()).hexdigest(),
        )
    card = DataCard(
        task=task.name,
        data=source.origin,
        columns=task.columns,
        labels=task.labels,
        metrics=task.metrics,
        max_length=limit,
        train=cards["train"],
        validation=cards["validation"],
        files={SPLIT.format(split=split): sha256(out.split(split)) for split in SPLITS},
    )
    write_json(out.card, card.to_json())


def tokenize(columns: Columns, task: Task, tokenizer_file: Path, max_length: int) -> tuple[Examples, int]:
    """Return one tokenized split, and the number of examples that were truncated to `max_length` tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    texts = [columns[name] for name in task.columns]
    encodings = tokenizer.encode_batch(texts[0] if len(texts) == 1 else list(zip(*texts, strict=True)))
    lengths = [len(encoding.ids) for encoding in encodings]
    types = np.concatenate([np.array(encoding.type_ids, np.int8) for encoding in encodings])
    examples = Examples(
        tokens=np.concatenate([np.array(encoding.ids, np.int32) for encoding in encodings]),
        types=types if types.any() else None,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=np.array(columns[task.label_column], np.int64 if task.labels else np.float32),
    )
    return examples, sum(bool(encoding.overflowing) for encoding in encodings)


def sample(columns: Columns, limit: int | None) -> Columns:
    """Return at most `limit` examples, drawn evenly over the split: a data set may be sorted."""
    size = len(next(iter(columns.values())))
    if limit is None or limit >= size:
        return columns
    rows = np.sort(np.random.default_rng(0).permutation(size)[:limit])
    return {name: [values[row] for row in rows] for name, values in columns.items()}
