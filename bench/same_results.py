"""Compare two results folders in everything that is not measured.

    python -m bench.same_results OLD NEW

Weights, predictions, losses, scores, counts, tokenised data and tables 1, 2 and 7 must be the same for a seed on one
machine and thread count, whatever changed in the code between two versions. Times, energies and memory are exempt
(`lora_core.records.MEASURED`). Prints how many files of each kind were compared, and every difference; the exit status
is 1 if there is one. OLD may have been made by an earlier version, whose tables were CSV files of rows and columns.
"""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lora_core.records import MEASURED

WHOLE = ("counts.json", "models/*/*", "data/*/*.safetensors", "scores/*.csv", "merged/*/*/*/model.safetensors",
         "runs/*/*/*/predictions.safetensors", "runs/*/*/*/weights/*.safetensors")  # fmt: skip
PARTS = ("runs/*/*/*/history.csv", "energy/*.csv")
TABLES = ("table1", "table2", "table7")


def without_measured(record: dict[str, Any]) -> dict[str, Any]:
    """A row without the fields that differ from one execution to the next."""
    return {name: value for name, value in record.items() if name not in MEASURED}


def csv_rows(path: Path) -> list[dict[str, str]]:
    """The unmeasured columns of a CSV file; what only one version has is compared by the other's absence."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [without_measured(row) for row in csv.DictReader(stream)]


def table_numbers(folder: Path, name: str) -> dict[tuple[str, str], float | str]:
    """The values of a table by row and column, numbers rounded to 12 digits."""
    file = folder / "tables" / f"{name}.json"
    if file.exists():
        cells = [(c["row"], c["column"], c["value"]) for c in json.loads(file.read_text())["cells"]]
    else:
        with file.with_suffix(".csv").open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if row["block"] == "this study"]
        cells = [(row["row"], row["column"], row["value"]) for row in rows]
    return {(row, column): _number(value) for row, column, value in cells}


def _number(value: Any) -> float | str:
    try:
        return float(f"{float(value):.12g}")
    except (TypeError, ValueError):
        return "" if value is None else str(value)


def differences(old: Path, new: Path, counts: Counter[str]) -> Iterator[str]:
    """Every difference between two results folders, in words; `counts` says how many files were compared."""
    for pattern in WHOLE:
        for file in sorted(old.glob(pattern)):
            other = new / file.relative_to(old)
            counts[pattern] += 1
            if not other.exists():
                yield f"{file.relative_to(old)} is missing"
            elif file.read_bytes() != other.read_bytes():
                yield f"{file.relative_to(old)} differs"
    for pattern in PARTS:
        for file in sorted(old.glob(pattern)):
            name = file.relative_to(old)
            counts[pattern] += 1
            if not (new / name).exists():
                yield f"{name} is missing"
                continue
            rows, others = csv_rows(file), csv_rows(new / name)
            shared = set(rows[0]) & set(others[0])
            if [{k: row[k] for k in shared} for row in rows] != [{k: row[k] for k in shared} for row in others]:
                yield f"{name} differs"
    for name in TABLES:
        counts[f"tables/{name}"] += 1
        left, right = table_numbers(old, name), table_numbers(new, name)
        for key in sorted(left.keys() | right.keys()):
            if left.get(key) != right.get(key):
                yield f"tables/{name}: {', '.join(key)}: {left.get(key, 'missing')} became {right.get(key, 'missing')}"


def main(words: list[str]) -> int:
    """Print what was compared and what differs; 1 if anything does."""
    old, new = map(Path, words)
    counts: Counter[str] = Counter()
    found = list(differences(old, new, counts))
    print("\n".join(f"{count:4} compared: {name}" for name, count in counts.items()))
    print("\n".join(found) or "No difference.")
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
