"""What differs between a finished run and the run that a study asks for, one change for each cause."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from lora_core.code_digest import StageCode
from lora_core.config.differences import SETTINGS_DIFFER, differences, file_digests, files_differ, plain
from lora_core.data.batches import TEST
from lora_core.layout import Layout
from lora_core.records import FORMAT, JsonObject, current_run_record, sha256
from lora_core.training.spec import DEFAULTS

IDENTITY = ("method", "task", "seed")
# Of a run's parameters, those that decide no result: the address of the base model, whose files have digests.
NO_SETTING = (*IDENTITY, "base_model")
# What decides a task's examples, in the cards of two times.
DATA = ("labels", "metrics", "max_length")
LISTED_FILES = 3  # that a reason names
OTHER_CODE = "the code changed"
INPUT_AGAIN = "what it was made from is made again"
DAMAGED = "its record is damaged"

# What reading a record of another form raises.
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


class Cause(StrEnum):
    """What has changed since a run was made."""

    RECORD = "record"
    SETTINGS = "settings"
    DATA = "data"
    MODEL = "model"
    START = "start"
    CODE = "code"
    INPUT = "input"


@dataclass(frozen=True)
class Change:
    """A change since a run was made, and the reason that it gives to make the run again.

    Attributes:
        files: The files of the code that differ; empty for other causes, and where an older record does not say.
        detail: Which input is made again, and why; empty for other causes.
    """

    cause: Cause
    reason: str
    files: tuple[str, ...] = ()
    detail: str = ""


class DamagedInput(ValueError):
    """The record of data or of a prepared model is damaged."""


@dataclass(frozen=True)
class Expected:
    """The run that a study asks for.

    Attributes:
        settings: Its parameters as run.json has them.
        code: The code that would train it; None compares no code.
        card: The card of its task; None if there is none.
        start_weights: The digests of the weights that it starts from; None if there are none.
    """

    settings: JsonObject
    code: StageCode | None = None
    card: JsonObject | None = None
    start_weights: Mapping[str, object] | None = None


@dataclass
class RunComparison:
    """Compares runs with what a study asks for.

    Attributes:
        model: The record of the prepared model.
        files: What each run.json says of the files next to it.
        records: Each run.json, if it is not None.
    """

    layout: Layout
    model_name: str
    model: JsonObject | None
    files: dict[str, Mapping[str, str]] = field(default_factory=dict)
    records: dict[str, JsonObject] | None = None

    def changes(self, path: str, content: bytes, expected: Expected) -> Iterator[Change]:
        """Yield what has changed; nothing for a record in a format of another version of the project.

        Raise DamagedInput if the data or the model is not what its record says.
        """
        try:
            record = json.loads(content)
            if record.get("format", 1) not in (1, FORMAT):
                return
            record = current_run_record(record, Path(path))
            if self.records is not None:
                self.records[path] = record
            run = record["run"]
            self.files[path] = dict(record.get("files", {}))
            if any(run[name] != expected.settings[name] for name in IDENTITY):
                yield Change(Cause.RECORD, f"it is the record of {run['method']}/{run['task']}/seed{run['seed']}")
                return
            yield from self._changes(record, run, expected)
        except DamagedInput:
            raise
        except MALFORMED:
            yield Change(Cause.RECORD, DAMAGED)

    def _changes(self, record: JsonObject, run: JsonObject, expected: Expected) -> Iterator[Change]:
        wanted = {name: value for name, value in expected.settings.items() if name not in NO_SETTING}
        recorded = run | {"hyperparameters": plain(DEFAULTS) | run["hyperparameters"]}
        if changed := list(differences(recorded, wanted)):
            yield Change(Cause.SETTINGS, f"{SETTINGS_DIFFER} ({', '.join(changed)})")
        if expected.card is not None and self._data_differs(run["data"], expected.card, str(run["task"])):
            yield Change(Cause.DATA, "it was trained on other data")
        if self._model_differs(run.get("model_files")):
            yield Change(Cause.MODEL, "it was trained from another prepared model")
        if files_differ(run.get("start"), expected.start_weights):
            yield Change(Cause.START, "it started from other weights")
        made_by = record["provenance"].get("code")
        if expected.code is not None and made_by is not None and made_by != expected.code.digest:
            yield changed_code(record["provenance"].get("code_files"), expected.code)

    def _data_differs(self, recorded: Mapping[str, Any], card: Mapping[str, Any], task: str) -> bool:
        """Whether a run's card is of other examples than the card of the task, which must be that of its files."""
        files = {self.layout.train_data: "train", self.layout.validation_data: "validation"}
        if TEST in card:
            files[self.layout.test_data] = TEST
        try:
            digests = {split: card[split]["sha256"] for split in files.values()}
            both = [split for split in digests if split != TEST or TEST in recorded]
            differ = any(recorded[split]["sha256"] != digests[split] for split in both)
            differ |= (TEST in recorded) != (TEST in card)
            differ |= any(recorded[name] != card[name] for name in DATA if name in recorded)
        except MALFORMED:
            digests, differ = {}, True
        if differ:
            paths = {Path(pattern.format(task=task)): digests.get(split) for pattern, split in files.items()}
            _check_input(paths, Path(self.layout.data_card.format(task=task)))
        return differ

    def _model_differs(self, recorded: Mapping[str, Any] | None) -> bool:
        """Whether a run was trained from another prepared model than the present one, whose record must be right."""
        if recorded is None or self.model is None:
            return False
        try:
            present = file_digests(self.model["files"])
            if not files_differ(recorded, present):
                return False
        except MALFORMED:
            present = {}  # which the record does not say
        folder = Path(self.layout.model.format(model=self.model_name))
        record = Path(self.layout.model_record.format(model=self.model_name))
        _check_input({folder / name: digest for name, digest in present.items()} or None, record)
        return True

    def weights(self, record: str | None) -> dict[str, object] | None:
        """Return the digests of a run's weights by the names of the files; None for a run that was not compared."""
        if record is None or record not in self.files:
            return None
        prefix = "weights/"
        return {n.removeprefix(prefix): d for n, d in self.files[record].items() if n.startswith(prefix)}


def made_again(job: str, reason: str) -> str:
    """Return the sentence about a job whose result is made again; `job` is the name of its log."""
    return f"{job} is made again, because {reason}"


def changed_code(recorded: Mapping[str, str] | None, code: StageCode) -> Change:
    """Return the change of the code that made a run; an older record does not say which files it was made of."""
    if not recorded or not code.files:
        return Change(Cause.CODE, OTHER_CODE)
    files = tuple(n for n in sorted({**recorded, **code.files}) if recorded.get(n) != code.files.get(n))
    listed = ", ".join(files[:LISTED_FILES])
    more = f" and {len(files) - LISTED_FILES} more" if files[LISTED_FILES:] else ""
    return Change(Cause.CODE, f"{OTHER_CODE} ({listed}{more})" if files else OTHER_CODE, files)


def _check_input(files: Mapping[Path, str | None] | None, record: Path) -> None:
    """Raise DamagedInput if what runs are made from is not what its record says; None is a record without files."""
    if files is not None and all(not path.is_file() or sha256(path) == digest for path, digest in files.items()):
        return
    raise DamagedInput(f"{record} does not say what its files hold; {remedy(record)}")


def remedy(record: Path) -> str:
    """Return how to make again what a record of data or of a model says, and the record of any other result."""
    if record.name == Path(Layout.data_card).name:
        return f"delete the folder {record.parent} and run again"
    folder = record.with_suffix("")
    return f"delete {folder} and {record}, and run again" if folder.is_dir() else "delete it and run again"
