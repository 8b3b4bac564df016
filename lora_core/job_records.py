"""Exit records: how a job ended, and for a finished one what it made, with which code, and from what."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lora_core.processes import ProcessIdentity
from lora_core.records import read_json, sha256
from lora_core.running_code import RunningCode
from lora_core.time_stamps import tree

SMALL_BYTES = 2**20  # of a file whose digest a job records: enough for every file that is computed from others


@dataclass(frozen=True)
class JobError:
    """Why a job failed.

    Attributes:
        type: The class of the exception.
        message: What the terminal shows: one line, without advice.
        errno: The operating system's error number, if there is one.
    """

    type: str
    message: str
    errno: int | None = None


@dataclass(frozen=True)
class JobRecord:
    """The state of a job. One that is "running" or "waiting" but whose process has ended was killed.

    Attributes:
        title: What the job does.
        study: The value of `job.STUDY_VARIABLE` in the job's environment: which snakemake it belongs to.
        state: "waiting" is a job that waits for a lock that another job holds.
        process: The process of the job.
        error: Why the job failed; None in every other state.
        outputs: What a finished job made: the size in bytes of each file, by its path below the results folder; None in
            every other state.
        made_from: The fields of `MadeFrom` of a finished job that says them; else None.
        digests: The SHA-256 of each small file of `outputs`; None in every other state, and in older records.
    """

    title: str
    study: str
    state: Literal["running", "waiting", "finished", "failed"]
    process: ProcessIdentity
    error: JobError | None = None
    outputs: dict[str, int] | None = None
    made_from: dict[str, Any] | None = None
    digests: dict[str, str] | None = None


@dataclass(frozen=True)
class MadeFrom:
    """What a job made its outputs from.

    Attributes:
        code: The digest of the code that really ran, as the rule's parameter `code` has it.
        params: A digest of the rule's other parameters.
        inputs: The SHA-256 of each input file by its path below the results folder; None if the outputs have records of
            their own that say it.
    """

    code: str
    params: str
    inputs: dict[str, str] | None = None


class JobSource:
    """What a job makes its outputs from.

    `snakemake` is the object that a script has, and `modules` are those that the script imports by name. With `inputs`,
    their contents count.
    """

    def __init__(self, snakemake: Any, script: str, *modules: str, inputs: bool = True) -> None:
        self._snakemake = snakemake
        self._script = Path(script)
        self._modules = modules
        self._with_inputs = inputs
        self._code: RunningCode | None = None
        self._inputs: dict[str, str] | None = None

    def read(self) -> None:
        """Read the code and the inputs, before the job does: a later change counts."""
        if self._script.is_file():  # that of a workflow that was fetched has an address, but no file
            self._code = RunningCode(self._script, *self._modules)
        if self._with_inputs:
            self._inputs = {file: sha256(Path(file)) for file in self._snakemake.input if Path(file).is_file()}

    def made_from(self, results: str) -> MadeFrom:
        """Return what was used, with paths below `results`.

        Raise ValueError that names a file of the code that was edited while the job ran.
        """
        if self._code:
            self._code.check()
        code = self._code.digest if self._code else self._snakemake.params.code
        inputs = self._inputs and {os.path.relpath(file, results): digest for file, digest in self._inputs.items()}
        return MadeFrom(code, params_digest(self._snakemake.params), inputs)


def params_digest(params: Any) -> str:
    """Return a digest of a job's parameters as Snakemake has them, without that of its code."""
    values = {name: value for name, value in params.items() if name != "code"}
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Recorded:
    """What the exit record of a finished job says of one of the files that it made.

    Attributes:
        digests: The SHA-256 that it may have, one for each job that made it; None if one of them does not say it.
    """

    size: int
    made_from: MadeFrom | None
    digests: frozenset[str] | None = None

    def or_as(self, other: Recorded) -> Recorded:
        """Return what is known of a file that two rules have made, which may be as either left it."""
        known = None if self.digests is None or other.digests is None else self.digests | other.digests
        return Recorded(min(self.size, other.size), None, known)


def read_outputs(logs: str) -> dict[str, Recorded]:
    """Return what finished jobs recorded of their outputs, by path below the results folder.

    A record that is damaged, or that says less, comes from somewhere else or from an earlier version: it says nothing.
    """
    found: dict[str, Recorded] = {}
    for path in tree(Path(logs)):
        if path.suffix != ".json" or not path.is_file():  # a pipe would never end
            continue
        try:
            record = json.loads(path.read_bytes())
            made_from = record.get("made_from")
            source = MadeFrom(**made_from) if isinstance(made_from, Mapping) else None
            digests = record.get("digests") or {}
            for output, size in (record["outputs"] or {}).items():
                known = frozenset([digests[output]]) if output in digests else None
                one = Recorded(int(size), source, known)
                # Two rules have made it if one of them is of an earlier version.
                found[output] = found[output].or_as(one) if output in found else one
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
            continue
    return found


def read_job_record(path: Path) -> JobRecord:
    """Read an exit record. Raise ValueError that names the file if it is damaged."""
    content = read_json(path)
    try:
        error = content["error"] and JobError(**content["error"])
        if error and not (isinstance(error.type, str) and isinstance(error.message, str)):
            raise TypeError("an error is not a text")
        if error and not isinstance(error.errno, int | None):
            raise TypeError("the number of an error is no number")
        return JobRecord(**content | {"process": ProcessIdentity(**content["process"]), "error": error or None})
    except (KeyError, TypeError) as problem:
        raise ValueError(f"{path} is damaged ({problem!r}); delete it") from problem


def output_sizes(results: str, outputs: Iterable[str | Path]) -> dict[str, int]:
    """Return the sizes of files, and of those in folders, by their paths below the results folder."""
    places = [Path(output).absolute() for output in outputs]
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place])]
    return {os.path.relpath(file, results): file.stat().st_size for file in sorted(files) if file.is_file()}


def output_digests(results: str, outputs: Iterable[str | Path]) -> dict[str, str]:
    """Return the SHA-256 of the small files among a job's outputs, by their paths below the results folder."""
    files = [file for file in (Path(output).absolute() for output in outputs) if file.is_file()]
    return {os.path.relpath(file, results): sha256(file) for file in files if file.stat().st_size <= SMALL_BYTES}
