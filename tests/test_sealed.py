"""Records and tables that carry a digest of their own content."""

import numpy as np
import pandas as pd
import pytest

from lora_core.csv_cells import read_frame, write_frame
from lora_core.records import read_json, write_json
from lora_core.sealed import SEAL, seal, unseal
from lora_core.sealed_csv import read_sealed_csv, read_sealed_rows, write_sealed_csv, write_sealed_rows

RECORD = {"score": {"best": 0.1 + 0.2, "names": ["a", "é"]}, "nothing": None, "tuple": (1, 2)}
FRAME = pd.DataFrame({"method": ["lora", 'quoted, "so"'], "best": [1 / 3, None], "note": ["", "two\nlines"]})


def test_a_record_that_was_not_edited_is_read_without_its_digest(tmp_path):
    write_json(tmp_path / "r.json", seal(RECORD))
    assert unseal(read_json(tmp_path / "r.json"), tmp_path / "r.json") == RECORD | {"tuple": [1, 2]}


@pytest.mark.parametrize(
    "changes", [{"nothing": 0}, {"score": {"best": 0.3, "names": ["a", "é"]}}, {"more": 1}, {SEAL: "0"}]
)
def test_an_edited_record_is_refused_by_name(tmp_path, changes):
    with pytest.raises(ValueError, match=r"r\.json was edited after it was written .*; delete it and run again"):
        unseal(seal(RECORD) | changes, tmp_path / "r.json")


def test_a_table_that_was_not_edited_is_read_as_it_was_written(tmp_path):
    write_sealed_csv(tmp_path / "t.csv", FRAME)
    plain = tmp_path / "plain.csv"
    FRAME.to_csv(plain, index=False)
    for file in (tmp_path / "t.csv", plain):  # one without a digest is older
        pd.testing.assert_frame_equal(read_sealed_csv(file), pd.read_csv(plain))


@pytest.mark.filterwarnings("error")  # pandas deprecates its options about precision
def test_a_table_is_read_with_every_number_as_it_was_written_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(0)
    anything = rng.integers(0, 2**64, 20_000, dtype=np.uint64).view(np.float64)
    numbers = [*anything[np.isfinite(anything)], *rng.random(20_000), 5e-324, 0.1 + 0.2, 1e23, 1.7976931348623157e308]
    frame = pd.DataFrame({"number": numbers, "count": np.arange(len(numbers)) + 2**53})
    write_frame(tmp_path / "plain.csv", frame)
    write_sealed_csv(tmp_path / "sealed.csv", frame)
    for read in (read_frame(tmp_path / "plain.csv"), read_sealed_csv(tmp_path / "sealed.csv")):
        pd.testing.assert_frame_equal(read, frame, check_exact=True)


@pytest.mark.parametrize(
    "edit",
    [
        lambda lines: [lines[0], lines[1].replace("0.33", "0.99"), *lines[2:]],
        lambda lines: [lines[0].replace("best", "last"), *lines[1:]],
        lambda lines: lines[:-1],
        lambda lines: [*lines, "full,0.9,0"],
        lambda lines: [lines[0].replace(f",{SEAL}", f",{SEAL},more"), *lines[1:]],
    ],
    ids=["value", "name", "row removed", "row added", "column added"],
)
def test_an_edited_table_is_refused_by_name(tmp_path, edit):
    file = tmp_path / "t.csv"
    write_sealed_rows(file, [["method", "best"], ["lora", 1 / 3], ["fft", 0.5]])
    assert read_sealed_rows(file)[1] == ["lora", str(1 / 3)]
    file.write_text("\n".join(edit(file.read_text().splitlines())) + "\n")
    for read in (read_sealed_rows, read_sealed_csv):
        with pytest.raises(ValueError, match=r"t\.csv was edited after it was written"):
            read(file)
