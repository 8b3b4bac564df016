"""Data in the formats that people have: the same rows are the same examples, and what cannot be read is refused."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest
from builders import changed

from lora_core.config import data_files, preflight
from lora_core.config.study import load
from lora_core.data.local_files import FORMATS, local_files
from lora_core.data.source import DatasetSource
from lora_core.data.splits import read_splits
from lora_core.data.task import Task

TEXTS = ["NA", "a, b", 'two\nlines, "quoted"', "tab\there", "2024-01-05", "1", "é\u2028ü", "None"]
TASK = Task("mine", "mine", ("text",), ("no", "yes"), ("accuracy",))
WRITERS = {
    ".csv": lambda frame, file: frame.to_csv(file, index=False),
    ".tsv": lambda frame, file: frame.to_csv(file, index=False, sep="\t"),
    ".jsonl": lambda frame, file: frame.to_json(file, orient="records", lines=True),
    ".parquet": lambda frame, file: frame.to_parquet(file),
}


def frame():
    labels = [("no", "yes")[row % 2] for row in range(len(TEXTS))]
    return pd.DataFrame({"id": range(len(TEXTS)), "label": labels, "text": TEXTS})


def write(folder, ending, split="train", rows=None):
    """Write rows as pandas does; .gz after an ending compresses."""
    WRITERS[ending.removesuffix(".gz")](frame() if rows is None else rows, folder / f"{split}{ending}")


def jsonl(folder, *lines):
    """A task whose training split has these lines."""
    write(folder, ".jsonl", "validation")
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
    return DatasetSource("user", path=str(folder))


ENDINGS = [*FORMATS, ".csv.gz", ".tsv.gz", ".jsonl.gz"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_rows_are_the_same_examples_in_every_format(tmp_path, ending):
    for split in ("train", "validation"):
        write(tmp_path, ending, split)
    columns = read_splits(DatasetSource("user", path=str(tmp_path)), TASK).columns["train"]
    assert columns == {"text": TEXTS, "label": [0, 1] * 4}


@pytest.mark.parametrize("ending", ENDINGS)
def test_shards_of_every_format_may_have_their_columns_in_any_order(tmp_path, ending):
    write(tmp_path, ending, "validation")
    write(tmp_path, ending, "train-0", frame()[:3])
    write(tmp_path, ending, "train-1", frame()[3:][["text", "id", "label"]])
    columns = read_splits(DatasetSource("user", path=str(tmp_path)), TASK).columns["train"]
    assert columns == {"text": TEXTS, "label": [0, 1] * 4}


def test_keys_of_json_may_stand_in_any_order_and_values_keep_their_types(tmp_path):
    lines = ['{"text": "2024-01-05", "label": true}', "", '{"label": 1, "more": [1, {}], "text": "1e5"}']
    source = jsonl(tmp_path, *lines, '{"label": 1.0, "text": ""}')
    task = Task("mine", "mine", ("text",), ("no", "yes", "1", "true"), ("accuracy",))
    columns = read_splits(source, task).columns["train"]
    assert columns == {"text": ["2024-01-05", "1e5", ""], "label": [3, 2, 2]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('["a", "no"]', r"line 2: expected a JSON object \(\{\.\.\.\}\), got \[\"a\", \"no\"\]; write one a line"),
        ('"text"', 'line 2: expected a JSON object .*, got "text"'),
        ("null", "line 2: expected a JSON object .*, got null"),
        ("[" + '{"text": "a", "label": "no"},' * 9, r"line 2: not a JSON object"),
        (
            '{"text": "a", "label": "no"',
            r"line 2: not a JSON object \(Expecting ',' delimiter\); write one",
        ),
        ("text,label", "line 2: not a JSON object"),
        ("[" * 100_000, "line 2: not a JSON object \\(too deep\\)"),
        ('{"text": "a"}', "line 2 lacks the column 'label'; it has text"),
        ("{}", "line 2 lacks the column 'text'; it has none"),
        ('{"text": "a", "text": "b", "label": "no"}', "line 2 has 2 columns of the name 'text'"),
        (r'{"text": "a \ud83d", "label": "no"}', r"line 2: '\\ud83d' is half of a character"),
    ],
)
def test_a_line_that_is_no_example_is_refused_with_its_number(tmp_path, line, message):
    with pytest.raises(ValueError, match=rf"train\.jsonl, {message}"):
        read_splits(jsonl(tmp_path, '{"text": "a", "label": "no"}', line), TASK)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": null, "label": "no"}', r"train\.jsonl: column 'text' holds no text in row 0: None"),
        ('{"text": 5, "label": "no"}', r"train\.jsonl: column 'text' holds no text in row 0: 5"),
        ('{"text": "a", "label": null}', r"train\.jsonl: unknown label None in row 0"),
        ('{"text": "a", "label": 1' + "0" * 400 + "}", r"train\.jsonl: unknown label 10000"),
    ],
)
def test_a_value_that_is_no_text_or_label_is_refused_with_its_row(tmp_path, line, message):
    for task in (TASK, Task("mine", "mine", ("text",), (), ("pearson",))):
        with pytest.raises(ValueError, match=message):
            read_splits(jsonl(tmp_path, line), task)


def test_a_file_of_json_lines_without_a_line_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"train\.jsonl lacks the column 'text'; it has none"):
        read_splits(jsonl(tmp_path), TASK)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,label\na,no\n", r"train\.csv\.gz cannot be read as gzip \(Not a gzipped file"),
        (gzip.compress(b"text,label\n" + b"a,no\n" * 99, mtime=0)[:-9], r"\.gz cannot be read as gzip \(Compressed"),
        (gzip.compress(b"text,label\na,no\n\xe9,no\n", mtime=0), r"train\.csv\.gz, line 3: invalid UTF8 \(byte 0xe9\)"),
        (gzip.compress(b"text,label\na,no,1\n", mtime=0), r"train\.csv\.gz, line 2: expected 2 columns, got 3"),
    ],
)
def test_a_compressed_file_that_cannot_be_read_is_refused_with_the_cause(tmp_path, content, message):
    write(tmp_path, ".csv", "validation")
    (tmp_path / "train.csv.gz").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_splits(DatasetSource("user", path=str(tmp_path)), TASK)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text\tlabel\na\tno\nb\tyes\t1\n", "line 3: expected 2 columns, got 3"),
        ("text,label\na,no\n", "lacks the column 'text'; it has text,label"),
        ('text\tlabel\n"never closed\tno\n', "line 2: a quote opens in this row and is never closed"),
    ],
)
def test_a_tsv_is_checked_as_a_csv_is(tmp_path, content, message):
    write(tmp_path, ".csv", "validation")
    (tmp_path / "train.tsv").write_text(content)
    with pytest.raises(ValueError, match=rf"train\.tsv,? {message}"):
        read_splits(DatasetSource("user", path=str(tmp_path)), TASK)


@pytest.mark.parametrize("other", [".tsv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet"])
def test_a_split_in_two_formats_is_refused(tmp_path, other):
    for ending in (".csv", other):
        (tmp_path / f"train{ending}").touch()
    with pytest.raises(ValueError, match=rf"has train.csv, train{other}; keep the files of one format"):
        local_files(DatasetSource("user", path=str(tmp_path)), "mine", "train")


def test_what_cannot_be_read_is_refused_before_the_first_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    jsonl(Path("mine"), json.dumps(["a", "no"]))
    study = load(changed(task_settings={"mine": {"path": "mine", "texts": ["text"]}}, tasks=["mine"]))
    assert data_files.data_files(study, "mine") == ["mine/train.jsonl", "mine/validation.jsonl"]
    with pytest.raises(ValueError, match=r"^mine/train\.jsonl, line 1: expected a JSON object"):
        preflight.check_content(study)
