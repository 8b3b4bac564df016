"""Going on after a kill: a run's state after an epoch, and its samples as they come, outside its declared outputs.

The state is one safetensors file whose header holds the plain values as JSON; nothing is ever unpickled. A key tells
settings, code, data and machine: what was left under another key is refused and removed, never resumed.
"""

import csv
import hashlib
import json
import shutil
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from lora_core.measuring import power_trace as trace
from lora_core.records import PowerRow, atomic_file, read_rows

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class State:
    """A run after an epoch: `values` as JSON has them, and `tensors` by name."""

    values: dict[str, Any]
    tensors: "dict[str, torch.Tensor]"


class NoCheckpoint:
    """Nothing is kept, and nothing gone on from."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.rows: list[PowerRow] = []
        self.part = 0

    def sample(self, row: PowerRow) -> None:
        pass

    def wanted(self, planned_seconds: float) -> bool:
        return False

    def save(self, state: State, rows: int) -> None:
        pass

    def remove(self) -> None:
        pass


class Checkpoint(NoCheckpoint):
    """What a run leaves for its next part, in `folder`.

    `seconds` says which runs write states: those planned to take longer. `state` is what this part goes on from, None
    where it begins at the beginning; `part` counts from 0; `rows` are the samples of the parts before, under the phase
    "lost" where no state held what they measured. Raises OSError for a folder that cannot be used; nothing is removed
    then.
    """

    def __init__(self, folder: Path, key: str, seconds: float) -> None:
        super().__init__()
        self._folder, self._seconds, self._full = folder, seconds, False
        self._states, self._samples, marker = (folder / name for name in ("state.safetensors", "power.csv", "key"))
        self._stream: TextIO | None = None
        self._lost: list[list[int]] = []  # first row and the one after the last, of power.csv
        folder.mkdir(parents=True, exist_ok=True)
        try:
            if any(file.exists() for file in (self._states, self._samples)):
                if not marker.exists() or marker.read_text(encoding="utf-8") != key:
                    raise ValueError("it is of other settings, code, data or machine")
                self._resume()
        except (ValueError, KeyError, TypeError) as error:
            print(f"{folder} is not resumed: {error}; the run begins anew", file=sys.stderr, flush=True)
            self.state, self.rows, self._lost = None, [], []
            self._states.unlink(missing_ok=True)
            self._samples.unlink(missing_ok=True)
        self.part = 1 + max((row.part for row in self.rows), default=-1)
        with atomic_file(marker) as temp_path:
            temp_path.write_text(key, encoding="utf-8")

    def _resume(self) -> None:
        """Read what the parts before left. Raises ValueError, KeyError or TypeError where it is damaged."""
        held = 0
        content = self._samples.read_bytes() if self._samples.exists() else b""
        if self._states.exists():
            self.state = _read(self._states)
            told = self.state.values.pop("samples")
            held, self._lost = told["rows"], told["lost"]
            if hashlib.sha256(content[: told["bytes"]]).hexdigest() != told["digest"]:
                raise ValueError(f"{self._samples.name} is damaged")
        if content:
            if not content.endswith(b"\n"):  # a kill cut off the last line
                with atomic_file(self._samples) as temp_path:
                    temp_path.write_bytes(content[: content.rfind(b"\n") + 1])
            rows = read_rows(self._samples, PowerRow)
            if held < len(rows):
                self._lost = [*self._lost, [held, len(rows)]]
            gone = {i for first, end in self._lost for i in range(first, end)}
            self.rows = [
                replace(row, phase="lost") if i in gone and row.phase != "idle" else row for i, row in enumerate(rows)
            ]

    def sample(self, row: PowerRow) -> None:
        """Keep a sample of this part as it comes."""
        if self._full:
            return
        try:
            if self._stream is None:
                self._stream = self._samples.open("a", newline="", encoding="utf-8")
            writer = csv.DictWriter(self._stream, [field.name for field in fields(PowerRow)], lineterminator="\n")
            if self._stream.tell() == 0:
                writer.writeheader()
            writer.writerow(vars(row))
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def wanted(self, planned_seconds: float) -> bool:
        """Whether a run planned to train so long is to save its state."""
        return not self._full and planned_seconds > self._seconds

    def save(self, state: State, rows: int) -> None:
        """Put the state after an epoch, and after so many `rows` of samples, in place of the last one."""
        from safetensors import SafetensorError

        content = self._samples.read_bytes()
        samples = {"rows": rows, "bytes": len(content), "digest": hashlib.sha256(content).hexdigest()}
        try:
            _write(self._states, State(state.values | {"samples": samples | {"lost": self._lost}}, state.tensors))
        except (OSError, SafetensorError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """A disk that takes no more costs the checkpoint, not the run."""
        print(f"no more checkpoints in {self._folder}: {error}; the run goes on", file=sys.stderr, flush=True)
        self._full = True

    def remove(self) -> None:
        """The run is done."""
        if self._stream is not None:
            self._stream.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _write(path: Path, state: State) -> None:
    from safetensors.torch import save_file

    values = json.dumps(state.values, allow_nan=False)
    tensors = {name: tensor.contiguous() for name, tensor in state.tensors.items()}
    with atomic_file(path) as temp_path:
        save_file(tensors, temp_path, {"values": values, "digest": _digest(values, tensors)})


def _read(path: Path) -> State:
    """Raises ValueError for a file that is not whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            told = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path.name} is damaged ({error})") from error
    if told["digest"] != _digest(told["values"], tensors):
        raise ValueError(f"{path.name} is damaged (its content does not fit its digest)")
    return State(json.loads(told["values"]), tensors)


def _digest(values: str, tensors: "dict[str, torch.Tensor]") -> str:
    digest = hashlib.sha256(values.encode())
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()


def key(values: dict[str, Any]) -> str:
    """A digest of all that a state depends on."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def lost(rows: list[PowerRow]) -> dict[str, float | None]:
    """Seconds and joules that were spent on what killed parts had not kept; the energy None where none was measured."""
    found = trace.windows(rows, "lost")
    return {
        "seconds": sum(map(trace.seconds, found)),
        "energy_joules": trace.energy_joules(found, trace.source(rows)),
    }
