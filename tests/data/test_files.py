"""Files of data as people have them: read by the names of columns, or refused in a sentence with file and cause."""

import datetime
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from lora_core.data import unchanged
from lora_core.data.local_files import local_files
from lora_core.data.source import DatasetSource
from lora_core.data.splits import check_local_files, read_splits
from lora_core.data.task import Task
from lora_core.records import write_digests

TASK = Task("mine", "mine", ("text",), ("no", "yes"), ("accuracy",))
SCORE = replace(TASK, labels=(), metrics=("pearson",))
GOOD = "text,label\na,0\nb,1\n"


def source(folder, **files):
    """A folder with files of these contents; the validation split is good unless it is one of them."""
    for name, content in ({"validation.csv": GOOD} | files).items():
        path = folder / name
        if isinstance(content, dict):
            parquet.write_table(pa.table(content), path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return DatasetSource("user", path=str(folder))


def read(data, task=TASK):
    """The texts of the training split, each with its label."""
    columns = read_splits(data, task).columns["train"]
    return list(zip(columns["text"], columns["label"], strict=True))


def test_shards_are_read_by_the_names_of_their_columns(tmp_path):
    shards = {"train-0.csv": "text,label\na,0\nb,1\n", "train-1.csv": "label,id,text\n1,7,c\n0,x,d\n"}
    assert read(source(tmp_path, **shards)) == [("a", 0), ("b", 1), ("c", 1), ("d", 0)]


def test_shards_of_parquet_may_differ_in_types_and_unused_columns(tmp_path):
    shards = {
        "train-0.parquet": {"text": ["a", "b"], "label": pa.array([0, 1], pa.int64()), "id": [1, 2]},
        "train-1.parquet": {"id": ["x"], "label": pa.array([1], pa.int8()), "text": pa.array(["c"], pa.large_string())},
    }
    assert read(source(tmp_path, **shards)) == [("a", 0), ("b", 1), ("c", 1)]


def test_whole_and_decimal_numbers_of_shards_are_one_regression(tmp_path):
    shards = {"train-0.csv": "text,label\na,1\n", "train-1.csv": "text,label\nb,2.5\n"}
    assert read(source(tmp_path, **shards), SCORE) == [("a", 1.0), ("b", 2.5)]


@pytest.mark.parametrize(
    ("labels", "written", "expected"),
    [
        (("no", "yes"), "1.0 0.0", [1, 0]),
        (("1", "2", "3"), "3.0 1.0", [2, 0]),
        (("1.0", "1"), "1 1.0", [1, 0]),
        (("false", "true"), "True False", [1, 0]),
        (("False", "true"), "False true", [0, 1]),
    ],
)
def test_labels_of_a_csv_are_the_classes_as_pandas_writes_them(tmp_path, labels, written, expected):
    rows = "".join(f"a,{label}\n" for label in written.split())
    data = source(tmp_path, **{f"{split}.csv": "text,label\n" + rows for split in ("train", "validation")})
    assert [label for _, label in read(data, replace(TASK, labels=labels))] == expected


def test_truth_values_of_parquet_are_the_classes_false_and_true(tmp_path):
    values = {"text": ["a", "b"], "label": [True, False]}
    data = source(tmp_path, **{"train.parquet": values, "validation.csv": "text,label\na,true\n"})
    assert read(data, replace(TASK, labels=("false", "true"))) == [("a", 1), ("b", 0)]
    for task in (TASK, SCORE):
        with pytest.raises(ValueError, match=r"train\.parquet: unknown label True in row 0"):
            check_local_files(data, task)


def test_spaces_around_a_name_in_the_header_do_not_count(tmp_path):
    assert read(source(tmp_path, **{"train.csv": "text, label\na, 1\n"})) == [("a", 1)]
    both = source(tmp_path, **{"train.csv": "text, label,label\na,0,1\n"})
    assert read(both) == [("a", 1)], "the exact name comes first"


def test_a_row_may_be_longer_than_a_megabyte_and_have_lines(tmp_path):
    text = "a long\ntext " * 200_000
    assert read(source(tmp_path, **{"train.csv": f'text,label\n"{text}",1\n'})) == [(text, 1)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label,label\na,0,1\n", "has 2 columns of the name 'label'"),
        ("text, label,label \na,0,1\n", "has 2 columns of the name 'label'"),
        ("Text,stars\na,0\n", "lacks the column 'text'; it has Text, stars"),
        ("text;label\na;0\n", "lacks the column 'text'; it has text;label"),
        ("", "lacks the column 'text'; it has none"),
        ("text,label\n", "holds no example"),
        ('text,label\n"a\nb",0\none, two, three,1\n', "line 4: expected 2 columns, got 4"),
        ("text,label\na\n", "line 2: expected 2 columns, got 1"),
        (b"text,label\na,0\n\xe9t\xe9,1\n", r"line 3: invalid UTF8 \(byte 0xe9\)"),
        (GOOD.encode("utf-16"), r"line 1: invalid UTF8 \(byte 0xff\)"),
        ('text,label\na,0\n"b,1\nc,0\n', "line 3: a quote opens in this row and is never closed"),
        ('text,label\n"Hello world,1\ngood "film",0\nok,1\n', "line 2: ',' expected after '\"'"),
        ('text,label\n"abc"def,1\n', "line 2: ',' expected after '\"'"),
    ],
)
def test_a_csv_that_cannot_be_read_is_refused_with_the_cause(tmp_path, content, message):
    with pytest.raises(ValueError, match=r"train\.csv,? " + message) as refused:
        check_local_files(source(tmp_path, **{"train.csv": content}), TASK)
    assert "again" not in str(refused.value)


def test_columns_of_parquet_are_checked_as_those_of_csv(tmp_path):
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array([0]), pa.array([1])], ["text", "label", "label"])
    parquet.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=r"train\.parquet has 2 columns of the name 'label'"):
        check_local_files(source(tmp_path), TASK)
    with pytest.raises(ValueError, match=r"train\.parquet lacks the column 'review'; it has text, label, label"):
        check_local_files(source(tmp_path), replace(TASK, columns=("review",)))
    (tmp_path / "train.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match=r"train\.parquet cannot be read as parquet: .*magic bytes"):
        check_local_files(source(tmp_path), TASK)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("train.csv train.parquet", "keep the files of one format"),
        ("train.csv train_old.csv", "has 'train_old.csv' next to train.csv"),
        ("train.csv train(copy).csv", r"has 'train\(copy\).csv' next to train.csv"),
        ("train-0.csv train2.csv", "has 'train2.csv' next to train-0.csv"),
        ("train.csv train_old.parquet", "has 'train_old.parquet' next to train.csv"),
        ("train.csv train-0.csv", "keep one file, or one set of shards"),
        ("train-0-of-2.csv train-0-of-1.csv", "keep one file, or one set of shards"),
        ("train-00000-of-00002.parquet", "has 1 of the 2 shards of train"),
        ("train_old.csv", r"has no train\.csv.*; it has train_old\.csv"),
        ("training.csv", r"has no train\.csv"),
    ],
)
def test_files_that_are_not_one_split_are_refused_by_name(tmp_path, names, message):
    for name in names.split():
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"task_settings\.mine\.path: .*" + message):
        local_files(DatasetSource("user", path=str(tmp_path)), "mine", "train")


@pytest.mark.parametrize(
    "names",
    [
        "train.csv training-notes.csv train.csv.bak",
        "train-0.csv train-1.csv",
        "train-00000-of-00002-0123456789abcdef.parquet train-00001-of-00002-0123456789abcdef.parquet",
    ],
)
def test_one_file_or_one_set_of_shards_is_read(tmp_path, names):
    for name in names.split():
        (tmp_path / name).touch()
    read_files = [Path(file).name for file in local_files(DatasetSource("user", path=str(tmp_path)), "mine", "train")]
    assert read_files == [name for name in names.split() if "notes" not in name and "bak" not in name]


def test_only_a_newer_file_of_the_recorded_size_is_read_and_only_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, record, output = Path("train.csv"), Path("sources.json"), Path("train.safetensors")
    file.write_text(GOOD)
    write_digests([file], record)
    output.touch()
    reads = []
    digest = unchanged.sha256
    monkeypatch.setattr(unchanged, "sha256", lambda path: reads.append(path) or digest(path))

    def same():
        return unchanged.unchanged_files([str(file)], record, [output])

    now = datetime.datetime.now().timestamp()
    os.utime(file, (now - 9, now - 9))
    assert (same(), reads) == (set(), [])  # older than what was made from it: Snakemake does not ask
    os.utime(file, (now + 9, now + 9))
    assert same() == same() == {"train.csv"}
    assert len(reads) == 1
    file.write_text(GOOD.replace("b", "c"))
    os.utime(file, (now + 99, now + 99))
    assert same() == set()
    assert len(reads) == 2
    file.write_text(GOOD + "c,0\n")
    assert (same(), len(reads)) == (set(), 2)
