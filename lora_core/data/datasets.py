"""A task's examples on their way in: read from the hub, a folder or mini-GLUE, checked, and tokenised."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lora_core.data import batches as data
from lora_core.data.metrics import METRICS
from lora_core.records import file_digests, read_json, write_json

# What the two splits are called where the examples come from.
SPLITS = {split: split for split in data.SPLITS}


def local_files(source: dict[str, Any], task: str, split: str) -> list[str]:
    """The files of a split: parquet in a folder laid out as the hub's GLUE, or a folder of one's own with CSV or
    parquet. Raises ValueError where there are none.
    """
    own, folder = source["source"] == "own", source["path"]
    where = f"task_settings.{task}.path" if own else "data.path"
    if not Path(folder).is_dir():
        raise ValueError(f"{where}: there is no folder {folder!r}" + ("" if own else "; give one as nyu-mll/glue has"))
    patterns = [f"{split}*.csv", f"{split}*.parquet"] if own else [f"{task}/{split}-*.parquet"]
    found = [sorted(str(file) for file in Path(folder).glob(pattern)) for pattern in patterns]
    files = [group for group in found if group]
    if not files:
        raise ValueError(f"{where}: {folder!r} has no {' or '.join(patterns)}, which the task {task!r} needs")
    if len(files) > 1:
        raise ValueError(f"{where}: {folder!r} has {' and '.join(patterns)}; leave the ones that are meant")
    return files[0]


def read(source: dict[str, Any], task: str, split: str, words: Sequence[str] = ()) -> dict[str, list]:
    """The columns of a task's split, from the configuration's `data` section or the task's own folder.

    The columns in `words` hold text, in a CSV file too where it looks like numbers.
    """
    if source["source"] == "mini":
        from lora_core.data.mini_glue import generate

        return generate(task, split, source["seed"])
    if "path" in source:
        import pyarrow as pa

        return pa.concat_tables([_table(file, words) for file in local_files(source, task, split)]).to_pydict()
    from datasets import load_dataset

    from lora_core.data.hub import check_hub

    check_hub("data", source["id"], source["revision"])
    loaded = load_dataset(source["id"], task, revision=source["revision"], split=split)
    return {name: list(loaded[name]) for name in loaded.column_names}


def _words(texts: Sequence[str], labels: Sequence[str], label: str) -> tuple[str, ...]:
    """The columns that hold text: a class's name is one, whatever it looks like."""
    return (*texts, label) if labels else tuple(texts)


def _table(file: str, words: Sequence[str]) -> Any:
    """A CSV or parquet file. A CSV's text is text, "NA" and an empty cell too. Raises ValueError for another format."""
    from pyarrow import ArrowInvalid, csv, parquet, string

    kind = Path(file).suffix[1:]
    try:
        if kind == "parquet":
            return parquet.read_table(file)
        return csv.read_csv(
            file,
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types={name: string() for name in words}, strings_can_be_null=False, null_values=[""]
            ),
        )
    except (OSError, ArrowInvalid) as error:
        raise ValueError(f"{file} cannot be read as {kind} ({type(error).__name__}); fetch it anew") from error


def check_columns(
    columns: dict[str, list], texts: Sequence[str], labels: Sequence[str], where: str, label: str = "label"
) -> list[Any]:
    """The labels as numbers: a class's name is its place among `labels`.

    Refuses a split that lacks a column, is empty, holds no text, or has a label the task does not know. Raises
    ValueError, one sentence.
    """
    missing = [name for name in (*texts, label) if name not in columns]
    if missing:
        raise ValueError(f"{where} lacks the column {missing[0]!r}; it has {', '.join(columns)}")
    if not columns[label]:
        raise ValueError(f"{where} holds no example")
    for name in texts:
        row = next((i for i, text in enumerate(columns[name]) if not isinstance(text, str)), None)
        if row is not None:
            raise ValueError(f"{where}: column {name!r} holds no text in row {row}: {columns[name][row]!r}")
    # A name stands before a place: of the labels 3, 2, 1 the text 2 is the second.
    places = {str(place): place for place in range(len(labels))} | {name: i for i, name in enumerate(labels)}
    numbers: list[Any] = []
    for row, value in enumerate(columns[label]):
        number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
        written = str(int(value)) if number and value == int(value) else value
        if written not in places if labels else not number:
            what = f"0..{len(labels) - 1} ({', '.join(labels)})" if labels else "a finite number"
            raise ValueError(f"{where}: unknown label {value!r} in row {row}; expected {what}")
        numbers.append(places[written] if labels else value)
    return numbers


def check_local(
    source: dict[str, Any],
    task: str,
    texts: Sequence[str],
    labels: Sequence[str],
    label: str = "label",
    splits: Mapping[str, str] = SPLITS,
) -> None:
    """`check_columns` on both splits of a local folder, quickly, before any job starts."""
    for split in splits.values():
        for file in local_files(source, task, split):
            table = _table(file, _words(texts, labels, label))
            wanted = [column for column in table.column_names if column in (*texts, label)]
            columns = table.select(wanted).to_pydict() if wanted else {name: [] for name in table.column_names}
            check_columns(columns, texts, labels, file, label)


def tokenize(
    columns: dict[str, list],
    texts: Sequence[str],
    regression: bool,
    tokenizer_file: Path,
    max_length: int,
    label: str = "label",
) -> tuple[data.Examples, int]:
    """Tokenise one split; also the number of examples that were cut to `max_length` tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    first, second = columns[texts[0]], columns[texts[1]] if len(texts) > 1 else None
    encodings = tokenizer.encode_batch(first if second is None else list(zip(first, second, strict=True)))
    lengths = [len(encoding.ids) for encoding in encodings]
    types = np.concatenate([np.array(encoding.type_ids, np.int8) for encoding in encodings])
    examples = data.Examples(
        tokens=np.concatenate([np.array(encoding.ids, np.int32) for encoding in encodings]),
        types=types if types.any() else None,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=np.array(columns[label], np.float32 if regression else np.int64),
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
    label: str = "label",
    splits: Mapping[str, str] = SPLITS,
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
    for split in data.SPLITS:
        columns = read(source, task, splits[split], _words(texts, labels, label))
        columns[label] = check_columns(columns, texts, labels, f"{task} ({splits[split]})", label)
        columns = _sample(columns, source[f"max_{split}_examples"])
        examples, truncated = tokenize(columns, texts, not labels, model / "tokenizer.json", limit, label)
        data.write(out / f"{split}.safetensors", examples)
        card[split] = {
            "examples": len(examples),
            "tokens": int(examples.offsets[-1]),
            "longest": int(examples.lengths.max()),
            "truncated": truncated,
            "constant_guess": METRICS[metrics[0]].baseline_score(examples.labels),
            "sha256": hashlib.sha256(examples.tokens.tobytes() + examples.labels.tobytes()).hexdigest(),
        }
    card["files"] = file_digests(out, *(f"{split}.safetensors" for split in data.SPLITS))
    write_json(out / "card.json", card)


def _sample(columns: dict[str, list], cap: int | None) -> dict[str, list]:
    """At most `cap` examples, drawn evenly over the split: a data set may be sorted."""
    size = len(next(iter(columns.values())))
    if cap is None or cap >= size:
        return columns
    rows = np.sort(np.random.default_rng(0).permutation(size)[:cap])
    return {name: [values[row] for row in rows] for name, values in columns.items()}
