"""A task's examples: read, checked, tokenised, stored without padding, and cut into batches."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lora_core.metrics import constant_guess
from lora_core.records import read_json, whole_file, write_json

SPLITS = ("train", "validation")
# Batches of similar length are cut from shuffled chunks of so many batches: long enough for next to no padding,
# short enough that batches differ from epoch to epoch.
CHUNK_BATCHES = 128


@dataclass(frozen=True)
class Examples:
    """A tokenised split. Example i has the tokens `tokens[offsets[i]:offsets[i + 1]]`.

    tokens (total,) int32; types (total,) int8 token type ids, or None where all are 0; offsets (examples + 1,) int64;
    labels (examples,) int64 or float32.
    """

    tokens: np.ndarray
    types: np.ndarray | None
    offsets: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, (examples,) int64."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Batch:
    """Padded to its longest example: ids, mask and types (rows, longest) int64, labels (rows,)."""

    ids: np.ndarray
    mask: np.ndarray
    types: np.ndarray | None
    labels: np.ndarray
    rows: np.ndarray  # where the examples stand in the split
    tokens_real: int

    @property
    def tokens_computed(self) -> int:
        return self.ids.size


def local_files(folder: str, task: str, split: str) -> list[str]:
    """The parquet files of a split in a folder laid out as the hub's GLUE. Raises ValueError where there are none."""
    if not Path(folder).is_dir():
        raise ValueError(f"data.path: there is no folder {folder!r}; give one in the layout of nyu-mll/glue")
    files = sorted(str(file) for file in Path(folder, task).glob(f"{split}-*.parquet"))
    if not files:
        raise ValueError(f"data.path: {folder!r} has no {task}/{split}-*.parquet, which the task {task!r} needs")
    return files


def read(source: dict[str, Any], task: str, split: str) -> dict[str, list]:
    """The columns of a task's split, from the configuration's `data` section."""
    if source["source"] == "mini":
        from lora_core.mini_glue import generate

        return generate(task, split, source["seed"])
    from datasets import load_dataset

    if source["source"] == "local":
        files = {split: local_files(source["path"], task, split)}
        loaded = load_dataset("parquet", data_files=files, split=split)
    else:
        from lora_core.models import check_hub

        check_hub("data", source["id"], source["revision"])
        loaded = load_dataset(source["id"], task, revision=source["revision"], split=split)
    return {name: list(loaded[name]) for name in loaded.column_names}


def check_columns(columns: dict[str, list], texts: Sequence[str], labels: Sequence[str], where: str) -> None:
    """Refuse a split that lacks a column, is empty, holds no text, or has a label the task does not know.

    Raises ValueError, one sentence.
    """
    missing = [name for name in (*texts, "label") if name not in columns]
    if missing:
        raise ValueError(f"{where} lacks the column {missing[0]!r}; it has {', '.join(columns)}")
    if not columns["label"]:
        raise ValueError(f"{where} holds no example")
    for name in texts:
        row = next((i for i, text in enumerate(columns[name]) if not isinstance(text, str)), None)
        if row is not None:
            raise ValueError(f"{where}: column {name!r} holds no text in row {row}: {columns[name][row]!r}")
    known = range(len(labels)) if labels else None
    for row, label in enumerate(columns["label"]):
        good = label in known if known is not None else isinstance(label, int | float) and np.isfinite(label)
        if not good:
            what = f"0..{len(labels) - 1} ({', '.join(labels)})" if labels else "a finite number"
            raise ValueError(f"{where}: unknown label {label!r} in row {row}; expected {what}")


def check_local(source: dict[str, Any], task: str, texts: Sequence[str], labels: Sequence[str]) -> None:
    """`check_columns` on both splits of a local folder, quickly, before any job starts."""
    import pyarrow.parquet as parquet

    for split in SPLITS:
        for file in local_files(source["path"], task, split):
            try:
                names = parquet.read_schema(file).names
                columns = parquet.read_table(file, columns=[n for n in (*texts, "label") if n in names]).to_pydict()
            except (OSError, ValueError) as error:
                raise ValueError(f"{file} cannot be read as parquet ({type(error).__name__}); fetch it anew") from error
            check_columns(columns, texts, labels, file)


def tokenize(
    columns: dict[str, list], texts: Sequence[str], regression: bool, tokenizer_file: Path, max_length: int
) -> tuple[Examples, int]:
    """Tokenise one split; also the number of examples that were cut to `max_length` tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    first, second = columns[texts[0]], columns[texts[1]] if len(texts) > 1 else None
    encodings = tokenizer.encode_batch(first if second is None else list(zip(first, second, strict=True)))
    lengths = [len(encoding.ids) for encoding in encodings]
    types = np.concatenate([np.array(encoding.type_ids, np.int8) for encoding in encodings])
    examples = Examples(
        tokens=np.concatenate([np.array(encoding.ids, np.int32) for encoding in encodings]),
        types=types if types.any() else None,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=np.array(columns["label"], np.float32 if regression else np.int64),
    )
    return examples, sum(bool(encoding.overflowing) for encoding in encodings)


def tokenize_task(
    source: dict[str, Any],
    task: str,
    texts: Sequence[str],
    labels: Sequence[str],
    metrics: Sequence[str],
    model: Path,
    max_length: int,
    out: Path,
) -> None:
    """Write train.safetensors, validation.safetensors and card.json of a task into `out`."""
    limit = min(max_length, read_json(model / "tokenizer_config.json")["model_max_length"])
    card: dict[str, Any] = {
        "task": task,
        "data": {key: source[key] for key in ("source", "id", "revision", "seed") if source.get(key) is not None},
        "columns": list(texts),
        "labels": list(labels),
        "metrics": list(metrics),
        "max_length": limit,
    }
    for split in SPLITS:
        columns = read(source, task, split)
        check_columns(columns, texts, labels, f"{task} ({split})")
        columns = _sample(columns, source[f"max_{split}_examples"])
        examples, truncated = tokenize(columns, texts, not labels, model / "tokenizer.json", limit)
        write(out / f"{split}.safetensors", examples)
        card[split] = {
            "examples": len(examples),
            "tokens": int(examples.offsets[-1]),
            "longest": int(examples.lengths.max()),
            "truncated": truncated,
            "constant_guess": constant_guess(metrics[0], examples.labels),
            "sha256": hashlib.sha256(examples.tokens.tobytes() + examples.labels.tobytes()).hexdigest(),
        }
    write_json(out / "card.json", card)


def _sample(columns: dict[str, list], cap: int | None) -> dict[str, list]:
    """At most `cap` examples, drawn evenly over the split: a data set may be sorted."""
    size = len(columns["label"])
    if cap is None or cap >= size:
        return columns
    rows = np.sort(np.random.default_rng(0).permutation(size)[:cap])
    return {name: [values[row] for row in rows] for name, values in columns.items()}


def write(path: Path, examples: Examples) -> None:
    from safetensors.numpy import save_file

    arrays = {"tokens": examples.tokens, "offsets": examples.offsets, "labels": examples.labels}
    if examples.types is not None:
        arrays["types"] = examples.types
    with whole_file(path) as beside:
        save_file(arrays, beside)


def load(path: Path) -> Examples:
    from safetensors.numpy import load_file

    arrays = load_file(path)
    return Examples(arrays["tokens"], arrays.get("types"), arrays["offsets"], arrays["labels"])


def order(lengths: np.ndarray, batch_size: int, batching: str, seed: int) -> list[np.ndarray]:
    """One epoch's batches: rows of the split, each exactly once, the last batch maybe smaller.

    "random" shuffles the examples. "bucketed" sorts chunks of the shuffled examples by length, cuts them into
    batches and shuffles the batches, so that a batch holds similar lengths and hardly any padding.
    """
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(lengths))
    if batching == "random":
        return _cut(rows, batch_size)
    chunk = batch_size * CHUNK_BATCHES
    batches = [
        batch
        for start in range(0, len(rows), chunk)
        for batch in _cut(_by_length(rows[start : start + chunk], lengths), batch_size)
    ]
    return [batches[i] for i in generator.permutation(len(batches))]


def evaluation_order(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """All rows sorted by length, in batches: the same every time."""
    return _cut(_by_length(np.arange(len(lengths)), lengths), batch_size)


def _by_length(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return rows[np.argsort(lengths[rows], kind="stable")]


def _cut(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def batches(examples: Examples, order: list[np.ndarray], pad: int) -> Iterator[Batch]:
    """The batches of an order, each padded with the token `pad` to its longest example."""
    lengths = examples.lengths
    for rows in order:
        longest = int(lengths[rows].max())
        ids = np.full((len(rows), longest), pad, np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        types = None if examples.types is None else np.zeros((len(rows), longest), np.int64)
        for i, row in enumerate(rows):
            start, length = examples.offsets[row], lengths[row]
            ids[i, :length] = examples.tokens[start : start + length]
            mask[i, :length] = 1
            if types is not None and examples.types is not None:
                types[i, :length] = examples.types[start : start + length]
        yield Batch(ids, mask, types, examples.labels[rows], rows, int(lengths[rows].sum()))
