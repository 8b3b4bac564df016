"""What is written to disk: rows of CSV files and JSON records, with units in the names. Absent is None, never 0.

Files and folders appear whole or not at all: they are written beside their place, then renamed.
"""

import csv
import dataclasses
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

# The methods, by name, that the others are held against: equal accuracy and the claims are about these two.
FULL, OWN = "fft", "lora"

# Fields that are measured: they differ from one execution to the next. Whatever is not named here (and stands
# outside `provenance` and `files`) is the same for a seed on one machine and thread count.
MEASURED = frozenset(
    {
        "part",
        "parts",
        "lost",
        "train_seconds",
        "eval_seconds",
        "train_energy_joules",
        "eval_energy_joules",
        "energy",
        "power_mean_watts",
        "memory",
        "conditions",
        "shared",
        "peak_allocated_mb",
        "peak_reserved_mb",
        "saved_for_backward_mb",
        "seconds",
        "seconds_to_threshold",
        "energy_to_threshold_joules",
        "net_energy_to_threshold_joules",
        "seconds_to_seed_threshold",
        "energy_to_seed_threshold_joules",
        "power_watts",
        "utilization_percent",
        "memory_used_mb",
        "counter_millijoules",
        "temperature_celsius",
        "clock_mhz",
        "throttle_reasons",
        "cumulative_train_seconds",
        "cumulative_train_energy_joules",
    }
)


@dataclass(frozen=True)
class HistoryRow:
    """One epoch of a run (history.csv). Energies are None where nothing measured them, and where the window is too
    short to be measured (`trace.MIN_SECONDS`); the allocator's peaks are None on a CPU."""

    epoch: int
    part: int  # of a run that was killed and went on
    steps: int
    tokens_real: int
    tokens_computed: int
    train_loss: float
    score: float
    metrics: dict[str, float]  # one column each
    train_seconds: float
    eval_seconds: float
    train_energy_joules: float | None
    eval_energy_joules: float | None
    saved_for_backward_mb: float  # by the epoch's largest batch
    peak_allocated_mb: float | None
    peak_reserved_mb: float | None


@dataclass(frozen=True)
class PowerRow:
    """One sample of a run (power.csv). `seconds` is monotonic, from the run's start; `device` a hashed id; `phase` idle
    (before the model is there), train, eval, or lost (by a part that was killed before its work was kept). Consecutive
    samples of one part and phase are one window."""

    seconds: float
    part: int
    phase: str
    device: str
    power_watts: float | None
    utilization_percent: float | None
    memory_used_mb: float | None
    counter_millijoules: float | None
    temperature_celsius: float | None = None
    clock_mhz: float | None = None
    throttle_reasons: int | None = None  # NVML's bit mask


@dataclass(frozen=True)
class LatencyRow:
    """One timed forward pass (latency/{task}/seed{seed}.csv): the validation set in batches, or one example alone."""

    round: int
    order: int  # place in the round, which is shuffled
    method: str
    variant: str  # plain | merged | unmerged
    mode: str  # pass | single
    examples: int
    batch_size: int
    seconds: float


def _beside(path: Path) -> Path:
    """A name beside a path for this process; what writers that were killed left there is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        if not _alive(int(left.suffixes[-2][1:])):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A place to write a file that takes its name only when the block ends well."""
    temp_path = _beside(path)
    try:
        yield temp_path
        temp_path.replace(path)
    finally:
        temp_path.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that takes its name only when the block ends well, in place of an older one."""
    temp_path = _beside(path)
    temp_path.mkdir()
    try:
        yield temp_path
        if path.exists():
            shutil.rmtree(path)
        temp_path.replace(path)
    finally:
        shutil.rmtree(temp_path, ignore_errors=True)


def write_json(path: Path, record: dict[str, Any]) -> None:
    """A record as JSON. Raises ValueError for NaN and infinities: JSON has none."""
    with atomic_file(path) as temp_path:
        temp_path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Raises ValueError naming a file that is no JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run again") from error


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_digests(folder: Path, *names: str) -> dict[str, str]:
    """The sha256 of a folder's files, for the record beside them to carry as `files`."""
    return {name: sha256(folder / name) for name in names}


def read_checked(record: Path, *names: str) -> dict[str, Any]:
    """A record. Raises ValueError where one of these files beside it is not what was written with it."""
    content = read_json(record)
    told = content.get("files", {})
    for name in names:
        path = record.parent / name
        if name in told and not (path.is_file() and sha256(path) == told[name]):
            what = f"damaged (not what {record.name} says)" if path.is_file() else "missing"
            raise ValueError(f"{path} is {what}; delete the folder {record.parent} and run again")
    return content


def write_rows(path: Path, rows: Sequence[Any], kind: type) -> None:
    """Rows of one dataclass as CSV; None is an empty field, a dict field spreads into a column for each key."""
    flat = [_flat(row) for row in rows]
    names = list(flat[0]) if flat else [f.name for f in dataclasses.fields(kind)]
    with atomic_file(path) as temp_path, temp_path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)


def read_rows(path: Path, kind: type) -> list[Any]:
    """Rows of a dataclass of plain fields from CSV, as `write_rows` wrote them; an empty field is None.

    Raises ValueError naming a file that lacks a column or holds no number where one belongs.
    """
    types = {field.name: field.type for field in dataclasses.fields(kind)}
    with path.open(newline="", encoding="utf-8") as stream:
        try:
            return [
                kind(**{name: _value(line[name], of) for name, of in types.items()}) for line in csv.DictReader(stream)
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}); delete it and run again") from error


def _value(text: str, of: Any) -> Any:
    options = get_args(of) or (of,)
    if type(None) in options and text == "":
        return None
    return next(option for option in options if option is not type(None))(text)


def _flat(row: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        fields.update(value if isinstance(value, dict) else {field.name: value})
    return fields
