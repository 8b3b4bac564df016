"""Resuming after a kill: a run's state after an epoch, and its samples as they come, outside of its declared outputs.

A key identifies settings, code, data and machine: a checkpoint with another key is discarded, never resumed.
"""

import csv
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Protocol, TextIO

from lora_core.atomic_files import atomic_file, remove, write_through
from lora_core.layout import CheckpointFiles
from lora_core.records import PowerRow, read_rows
from lora_core.training.state_file import State, read_state, write_state

# What reading a damaged checkpoint raises.
DAMAGED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True)
class CheckpointSettings:
    """Where and when a run saves its state.

    Attributes:
        folder: A folder for this run alone.
        seconds: A run that is planned to take longer saves its state after each epoch; None: no run does.
        code: The digest of the code that trains. The state of other code is discarded.
    """

    folder: Path
    seconds: float | None
    code: str


class Checkpointing(Protocol):
    """What a run does to be resumed.

    Attributes:
        state: The state that this part of the run resumes from; None if it starts from the beginning.
        rows: The samples of the earlier parts, in the phase "lost" if no state holds the work that they measured.
        part: The number of this part, from 0.
    """

    state: State | None
    rows: Sequence[PowerRow]
    part: int

    def keep_sample(self, row: PowerRow) -> None:
        """Save a sample of this part as it comes."""
        ...

    def applies_to(self, planned_seconds: float) -> bool:
        """Whether a run that is planned to take this long saves its state."""
        ...

    def save(self, state: State, samples: int) -> None:
        """Save the state after an epoch, which had taken this many samples, and replace the previous state."""
        ...

    def remove(self) -> None:
        """Delete everything: the run is finished."""
        ...


def open_checkpoint(settings: CheckpointSettings | None, dependencies: Mapping[str, object]) -> Checkpointing:
    """Return the checkpoint of a run whose result is decided by `dependencies`, with what earlier parts saved in it."""
    if settings is None:
        return NoCheckpoint()
    if settings.seconds is None:
        shutil.rmtree(settings.folder, ignore_errors=True)
        return NoCheckpoint()
    content = json.dumps({**dependencies, "code": settings.code}, sort_keys=True)
    return Checkpoint(settings.folder, hashlib.sha256(content.encode()).hexdigest(), settings.seconds)


class NoCheckpoint:
    """Saves nothing; the run starts from the beginning."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.rows: Sequence[PowerRow] = []
        self.part = 0

    def keep_sample(self, row: PowerRow) -> None:
        """Do nothing."""

    def applies_to(self, planned_seconds: float) -> bool:
        """Return False."""
        return False

    def save(self, state: State, samples: int) -> None:
        """Do nothing."""

    def remove(self) -> None:
        """Do nothing."""


class Checkpoint:
    """Saves the state of runs that are planned to take longer than `seconds`, in `folder`.

    What is in the folder under another `key`, or damaged, is discarded with a note in the log. Raise OSError if the
    folder cannot be written; nothing is deleted then.
    """

    def __init__(self, folder: Path, key: str, seconds: float) -> None:
        self.state: State | None = None
        self.rows: Sequence[PowerRow] = []
        self._files = CheckpointFiles(folder)
        self._seconds = seconds
        self._sample_stream: TextIO | None = None
        self._lost: list[list[int]] = []  # [first, end) of the samples of work that no state holds
        self._is_disabled = False
        try:
            self._read_earlier_parts(key)
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:  # a folder above this one is a file
            self._disable(error)
        self.part = 1 + max((row.part for row in self.rows), default=-1)
        if not self._is_disabled:
            with atomic_file(self._files.key) as temp_path:
                temp_path.write_text(key, encoding="utf-8")

    def _read_earlier_parts(self, key: str) -> None:
        """Read what earlier parts saved; discard it if it is damaged or has another key."""
        files = self._files
        try:
            if os.path.lexists(files.folder) and not files.folder.is_dir():
                raise ValueError("it is not a folder")
            present = [file for file in (files.key, files.state, files.samples) if os.path.lexists(file)]
            for file in present:
                _require_regular(file)
            if files.state in present or files.samples in present:
                if files.key not in present or files.key.read_text(encoding="utf-8") != key:
                    raise ValueError("it belongs to other settings, code, data or another machine")
                self._resume()
        except DAMAGED as error:
            message = f"{files.folder} cannot be resumed: {error}; the run starts from the beginning"
            print(message, file=sys.stderr, flush=True)
            self.state, self.rows, self._lost = None, [], []
            for path in (files.state, files.samples, files.key) if files.folder.is_dir() else (files.folder,):
                remove(path)

    def _resume(self) -> None:
        """Read state and samples. Raise one of DAMAGED if they are damaged."""
        content = self._files.samples.read_bytes() if self._files.samples.exists() else b""
        saved_samples = 0
        if self._files.state.exists():
            self.state = read_state(self._files.state)
            samples = self.state.values.pop("samples")
            saved_samples, self._lost = samples["rows"], samples["lost"]
            if hashlib.sha256(content[: samples["bytes"]]).hexdigest() != samples["digest"]:
                raise ValueError(f"{self._files.samples.name} is damaged")
        if content:
            whole = content[: content.rfind(b"\n") + 1]  # a kill may cut the last line off
            if whole != content:
                with atomic_file(self._files.samples) as temp_path:
                    temp_path.write_bytes(whole)
            if whole or saved_samples:
                self._take_samples(saved_samples)

    def _take_samples(self, saved_samples: int) -> None:
        """Read the samples; those after the state's are of lost work."""
        rows = read_rows(self._files.samples, PowerRow)
        if saved_samples < len(rows):
            self._lost = [*self._lost, [saved_samples, len(rows)]]
        lost = {i for first, end in self._lost for i in range(first, min(end, len(rows)))}
        self.rows = [
            replace(row, phase="lost") if i in lost and not row.phase.startswith("idle") else row
            for i, row in enumerate(rows)
        ]

    def keep_sample(self, row: PowerRow) -> None:
        """Save a sample of this part as it comes."""
        if self._is_disabled:
            return
        try:
            if self._sample_stream is None:
                self._sample_stream = self._files.samples.open("a", newline="", encoding="utf-8")
            names = [field.name for field in fields(PowerRow)]
            writer = csv.DictWriter(self._sample_stream, names, lineterminator="\n")
            if self._sample_stream.tell() == 0:
                writer.writeheader()
            writer.writerow(vars(row))
            self._sample_stream.flush()
        except OSError as error:
            self._disable(error)

    def applies_to(self, planned_seconds: float) -> bool:
        """Whether a run that is planned to take this long saves its state."""
        return not self._is_disabled and planned_seconds > self._seconds

    def save(self, state: State, samples: int) -> None:
        """Save the state after an epoch, which had taken this many samples, and replace the previous state."""
        from safetensors import SafetensorError

        try:
            _require_regular(self._files.samples)
            write_through(self._files.samples)  # before the state, which counts them
            content = self._files.samples.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            described = {"rows": samples, "bytes": len(content), "digest": digest, "lost": self._lost}
            write_state(self._files.state, State(state.values | {"samples": described}, state.tensors))
        except (OSError, ValueError, SafetensorError) as error:
            self._disable(error)

    def _disable(self, error: Exception) -> None:
        """Stop saving: a full disk or a lost folder costs the checkpoint, not the run."""
        message = f"no further checkpoints are written to {self._files.folder}: {error}; the run continues without them"
        print(message, file=sys.stderr, flush=True)
        self._is_disabled = True

    def remove(self) -> None:
        """Delete the folder: the run is finished."""
        if self._sample_stream is not None:
            with suppress(OSError):  # of a full disk
                self._sample_stream.close()
        shutil.rmtree(self._files.folder, ignore_errors=True)


def _require_regular(file: Path) -> None:
    """Raise ValueError for anything but a regular file, links included: to open a pipe may take forever."""
    if not stat.S_ISREG(file.lstat().st_mode):
        raise ValueError(f"{file.name} is not a regular file")
