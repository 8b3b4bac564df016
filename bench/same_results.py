"""Compare two results folders in everything that is not measured.

    python -m bench.same_results OLD NEW

Weights, predictions, losses, scores, counts, tokenized data and tables 1, 2 and 7 must be the same for a seed on one
machine and thread count, whatever changed in the code between two versions. Times, energies and memory are exempt
(`lora_core.records.MEASURED`); of tables the numbers are compared, not the text. Prints how many files of each kind
were compared, and every difference; the exit status is 1 if there is one. OLD may have been made by an earlier version,
whose tables were CSV files of rows and columns with other labels.
"""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lora_core.records import MEASURED

IDENTICAL = ("counts.json", "models/*/*", "data/*/*.safetensors", "merged/*/*/*/model.safetensors",
         "runs/*/*/*/predictions.safetensors", "runs/*/*/*/weights/*.safetensors")  # fmt: skip
CSV_FILES = ("scores/*.csv", "runs/*/*/*/history.csv", "energy/*.csv")
TABLES = ("table1", "table2", "table7")
# Labels of rows and columns in version 0.1.0, and what they are called now.
RENAMED = {"fewer than the whole model": "reduction vs. whole model", "constant guess": "majority-class baseline"}


def without_measured(record: dict[str, Any]) -> dict[str, Any]:
    """Return a row without the fields that differ from one execution to the next."""
    return {name: value for name, value in record.items() if name not in MEASURED}


def csv_rows(path: Path) -> list[dict[str, str]]:
    """Return the unmeasured columns of a CSV file; `differences` leaves out those that only one version has."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [without_measured(row) for row in csv.DictReader(stream)]


def table_numbers(folder: Path, name: str) -> dict[tuple[str, str], float]:
    """Return the numbers of a table by row and column, rounded to 12 digits."""
    file = folder / "tables" / f"{name}.json"
    if file.exists():
        cells = [(c["row"], c["column"], c["value"]) for c in json.loads(file.read_text())["cells"]]
    else:
        with file.with_suffix(".csv").open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if row["block"] == "this study"]
        cells = [
            (RENAMED.get(row["row"], row["row"]), RENAMED.get(row["column"], row["column"]), row["value"])
            for row in rows
        ]
    numbers = {(row, column): _number(value) for row, column, value in cells}
    return {place: number for place, number in numbers.items() if number is not None}


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(f"{float(value):.12g}")
    except (TypeError, ValueError):
        return None


def differences(old: Path, new: Path, counts: Counter[str]) -> Iterator[str]:
    """Yield a sentence for every difference between two results folders, and count the compared files in `counts`."""
    for pattern in IDENTICAL:
        for file in sorted(old.glob(pattern)):
            counts[pattern] += 1
            yield from file_differences(file, new / file.relative_to(old), str(file.relative_to(old)))
    for pattern in CSV_FILES:
        for file in sorted(old.glob(pattern)):
            counts[pattern] += 1
            yield from csv_differences(file, new / file.relative_to(old), str(file.relative_to(old)))
    for name in TABLES:
        counts[f"tables/{name}"] += 1
        left, right = table_numbers(old, name), table_numbers(new, name)
        for key in sorted(left.keys() | right.keys()):
            if left.get(key) != right.get(key):
                yield f"tables/{name}: {', '.join(key)}: {left.get(key, 'missing')} became {right.get(key, 'missing')}"


def file_differences(old: Path, new: Path, name: str) -> Iterator[str]:
    """Yield a sentence if the new file is missing or has other bytes."""
    if not new.exists():
        yield f"{name} is missing"
    elif old.read_bytes() != new.read_bytes():
        yield f"{name} differs"


def csv_differences(old: Path, new: Path, name: str) -> Iterator[str]:
    """Yield a sentence if the new file is missing, or differs in an unmeasured column that both have."""
    if not new.exists():
        yield f"{name} is missing"
        return
    old_rows, new_rows = csv_rows(old), csv_rows(new)
    shared = set(old_rows[0]) & set(new_rows[0])
    if [{k: row[k] for k in shared} for row in old_rows] != [{k: row[k] for k in shared} for row in new_rows]:
        yield f"{name} differs"


def main(arguments: list[str]) -> int:
    """Print what was compared and what differs; return 1 if anything does."""
    old, new = map(Path, arguments)
    counts: Counter[str] = Counter()
    messages = list(differences(old, new, counts))
    print("\n".join(f"{count:4} compared: {name}" for name, count in counts.items()))
    print("\n".join(messages) or "No difference.")
    return bool(messages)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
