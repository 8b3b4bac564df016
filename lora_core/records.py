"""The records on disk: rows of CSV files and JSON records, with units in the names. Absent is None, never 0."""

import csv
import dataclasses
import hashlib
import json
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from lora_core.atomic_files import atomic_file, create_file
from lora_core.record_format_1 import from_format_1, latency_from_format_1
from lora_core.sealed import seal, unseal

JsonObject = dict[str, Any]  # a JSON file as read; what is only written is a dict[str, object]

FORMAT = 2  # of run.json
LATENCY_FORMAT = 2  # of latency/{task}/seed{seed}.json

# Fields that are measured, so that they differ between two executions. Every other field, except `provenance` and
# `files`, is the same for the same seed on the same machine with the same number of threads.
MEASURED = frozenset(
    {
        *("part", "parts", "lost", "preparation", "train_seconds", "eval_seconds", "seconds"),
        *("train_processor_seconds", "train_thread_seconds", "median_epoch_seconds", "disturbed"),
        *("train_energy_joules", "eval_energy_joules", "energy", "power_mean_watts", "memory", "conditions", "shared"),
        *("peak_allocated_mb", "peak_reserved_mb", "saved_for_backward_mb"),
        *("seconds_to_threshold", "energy_to_threshold_joules", "net_energy_to_threshold_joules"),
        *("suspended_seconds", "train_suspended_seconds", "eval_suspended_seconds"),
        *("seconds_to_seed_threshold", "energy_to_seed_threshold_joules", "energy_uncertainty_joules"),
        *("too_short_for_meter", "idle_net_of", "preparation_seconds", "preparation_energy_joules", "capture_seconds"),
        *("power_watts", "utilization_percent", "memory_used_mb", "counter_millijoules", "temperature_celsius"),
        *("clock_mhz", "throttle_reasons", "cumulative_train_seconds", "cumulative_train_energy_joules"),
        *("switching", "content_sha256"),
    }
)


@dataclass(frozen=True)
class HistoryRow:
    """One epoch of a run (history.csv).

    Energies are None if nothing measured them, or if the window is too short to be measured
    (`power_trace.is_too_short`); the allocator's peaks are None on a CPU. Next to the wall-clock seconds of training
    are the seconds that processors worked for it: for all threads of the process, and for the one that trains.
    """

    epoch: int
    part: int  # increases by one each time a killed run is resumed
    steps: int
    tokens_real: int
    tokens_computed: int
    train_loss: float
    score: float
    metrics: dict[str, float]  # one column each
    train_seconds: float
    train_processor_seconds: float
    train_thread_seconds: float
    eval_seconds: float
    train_energy_joules: float | None
    eval_energy_joules: float | None
    saved_for_backward_mb: float  # by the epoch's largest batch
    peak_allocated_mb: float | None
    peak_reserved_mb: float | None
    train_suspended_seconds: float | None = None  # in which the process did not run; None in older records
    eval_suspended_seconds: float | None = None


@dataclass(frozen=True)
class PowerRow:
    """One sample of a run (power.csv). Consecutive samples of one part and phase form one window.

    `seconds` is monotonic and starts with the run; `device` is a hashed id; `phase` is "idle" (before the model is
    loaded), "idle_context" (with the model on a GPU, before anything runs), "preparation" (before the first epoch of a
    part), "train", "eval", or "lost" (the work of a killed part after its last checkpoint). Where two windows share an
    edge, its sample is in both.
    """

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
    order: int  # position in the round, whose order is shuffled
    method: str
    variant: str  # plain | merged | unmerged
    mode: str  # pass | single
    examples: int
    batch_size: int
    seconds: float


def write_json(path: Path, record: Mapping[str, Any], *, sync: bool = True) -> None:
    """Write a record as JSON; `sync` as in `atomic_file`. Raise ValueError for NaN and infinities, which JSON lacks."""
    text = _json_text(record)
    with atomic_file(path, sync=sync) as temp_path:
        temp_path.write_text(text, encoding="utf-8")


def create_json(path: Path, record: Mapping[str, Any]) -> bool:
    """Write a record as JSON unless the file exists, in one step; return whether there was none."""
    return create_file(path, _json_text(record))


def _json_text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def read_json(path: Path) -> JsonObject:
    """Read a JSON file. Raise ValueError that names the file if it does not hold one valid JSON object."""
    require_regular_file(path)
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run again") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path} is damaged (not a JSON object); delete it and run again")
    return record


def require_regular_file(path: Path) -> None:
    """Raise ValueError for a pipe, a device or a folder: reading one may never end. Raise OSError if it is absent."""
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise ValueError(f"{path} is not a regular file; remove it and run again")


def read_run_record(path: Path) -> JsonObject:
    """Read a run.json in the current format, without its seal; one in format 1 is converted.

    Raise ValueError if the file is damaged or was edited, or if a newer version of this project wrote it.
    """
    record = read_json(path)
    if record.get("format", 1) in (1, FORMAT):  # a newer one is refused for its format, however it is sealed
        record = unseal(record, path, f"delete the folder {path.parent} and run again")
    return current_run_record(record, path)


def current_run_record(record: JsonObject, path: Path) -> JsonObject:
    """Return a run.json in the current format. Raise ValueError if a newer version wrote it."""
    return _in_current_format(record, path, FORMAT, from_format_1)


def read_latency_record(path: Path) -> JsonObject:
    """Read the record about timed passes in the current format; one in format 1 is converted.

    Raise ValueError as `read_run_record` does, and if the record was edited.
    """
    return current_latency_record(unseal(read_json(path), path), path)


def current_latency_record(record: JsonObject, path: Path) -> JsonObject:
    """Return a record about timed passes in the current format. Raise ValueError if a newer version wrote it."""
    return _in_current_format(record, path, LATENCY_FORMAT, latency_from_format_1)


def _in_current_format(
    record: JsonObject, path: Path, current: int, from_1: Callable[[JsonObject], JsonObject]
) -> JsonObject:
    """Return a record in the current format; that of the first version has no `format`."""
    version = record.get("format", 1)
    if version == current:
        return record
    if version != 1:
        raise ValueError(
            f"{path} has format {version!r:.20}, but this version reads formats 1 to {current}; update lora_core"
        )
    return {"format": current} | from_1(record)


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file in hexadecimal."""
    require_regular_file(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_digests(folder: Path, *names: str) -> dict[str, str]:
    """Return the SHA-256 digest of each named file of a folder, as a record keeps them under `files`."""
    return {name: sha256(folder / name) for name in names}


def write_digests(files: Iterable[Path], record_path: Path, made_from: Mapping[str, object] | None = None) -> None:
    """Write the size and the digest of each file by its name: a small record that changes only with their content.

    With `made_from`, it also says what the files were made from.
    """
    digests = {
        file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)} for file in sorted(files) if file.is_file()
    }
    write_json(record_path, seal({"files": digests} | ({} if made_from is None else {"made_from": made_from})))


def check_digests(record: Mapping[str, Any], record_path: Path, files: Mapping[str, Path]) -> None:
    """Check that files are the ones that were written together with a record.

    `files` maps names under the record's `files` to paths; a name that the record does not list is not checked. Raise
    ValueError that names the first file that is missing or differs, and the folder to delete.
    """
    digests = record.get("files", {})
    for name, path in files.items():
        if name in digests and not (path.is_file() and sha256(path) == digests[name]):
            problem = f"damaged (not what {record_path.name} says)" if path.is_file() else "missing"
            raise ValueError(f"{path} is {problem}; delete the folder {record_path.parent} and run again")


def write_rows(path: Path, rows: Sequence[Any], row_type: type) -> None:
    """Write rows of one dataclass as CSV; None becomes an empty field, a dict field becomes one column per key."""
    flat = [_flat(row) for row in rows]
    names = list(flat[0]) if flat else [f.name for f in dataclasses.fields(row_type)]
    with atomic_file(path) as temp_path, temp_path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)


def read_rows(path: Path, row_type: type) -> list[Any]:
    """Read rows of a dataclass with plain fields from a CSV file of `write_rows`; an empty field is None.

    Raise ValueError that names the file if it is not text, a column is missing or a value has the wrong type.
    """
    require_regular_file(path)
    types = {field.name: field.type for field in dataclasses.fields(row_type)}
    with path.open(newline="", encoding="utf-8") as stream:
        try:
            reader = csv.DictReader(stream)
            if missing := types.keys() - set(reader.fieldnames or []):  # also of a file without rows
                raise ValueError(f"it has no column {min(missing)}")
            return [
                row_type(**{name: _value(line[name], field_type) for name, field_type in types.items()})
                for line in reader
            ]
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise ValueError(f"{path} is damaged ({error}); delete it and run again") from error


def _value(text: str, field_type: Any) -> Any:
    options = get_args(field_type) or (field_type,)
    if type(None) in options and text == "":
        return None
    return next(option for option in options if option is not type(None))(text)


def _flat(row: Any) -> dict[str, object]:
    fields: dict[str, object] = {}
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        fields.update(value if isinstance(value, dict) else {field.name: value})
    return fields
