"""Compare two results folders in everything that is not measured.

    python -m bench.same_results OLD NEW

Weights, predictions, losses, scores, counts, tokenized data and tables 1, 2 and 7 must be the same for a seed on one
machine and thread count, whatever changed in the code between two versions. Times, energies and memory are exempt
(`lora_core.records.MEASURED`); of tables the numbers are compared, not the text. Prints how many files of each kind
were compared, and every difference; the exit status is 1 if there is one. Of tables, what both have is compared: an
earlier version may call a quantity otherwise.
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
TIDY = ("method", "variant", "task", "quantity", "unit")  # what a number is, whatever a table calls it


def without_measured(record: dict[str, Any]) -> dict[str, Any]:
    """Return a row without the fields that differ from one execution to the next."""
    return {name: value for name, value in record.items() if name not in MEASURED}


def csv_rows(path: Path) -> list[dict[str, str]]:
    """Return the unmeasured columns of a CSV file; `differences` leaves out those that only one version has."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [without_measured(row) for row in csv.DictReader(stream)]


def table_numbers(folder: Path, name: str) -> dict[tuple[str, ...], float]:
    """Return the numbers of a table and its details by what they are, rounded to 12 digits."""
    files = [folder / "tables" / f"{table}.json" for table in (name, f"{name}-details")]
    cells = [cell for file in files if file.exists() for cell in json.loads(file.read_text())["cells"]]
    numbers = {tuple(str(cell[field]) for field in TIDY): _number(cell["value"]) for cell in cells}
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
        shared = sorted(left.keys() & right.keys())
        if not shared:
            yield f"tables/{name}: no number in common"
        for key in shared:
            if left[key] != right[key]:
                yield f"tables/{name}: {', '.join(filter(None, key))}: {left[key]} became {right[key]}"


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
