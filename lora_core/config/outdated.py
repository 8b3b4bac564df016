"""Which results of a study are not what its configuration and code ask for, by their records.

Snakemake compares a job with what it remembers of the last one. The records say what the results were really made from,
also where Snakemake remembers nothing: in a fresh checkout, an unpacked archive, or after code was edited during a run.
A record that does not say something is older than this check and accepted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lora_core.config import params
from lora_core.config.differences import SETTINGS_DIFFER, changed_limits, differences, file_digests, files_differ, plain
from lora_core.config.study import Study
from lora_core.data.batches import TEST
from lora_core.evaluation.latency_record import LatencyRecord
from lora_core.layout import Layout
from lora_core.records import FORMAT, JsonObject, read_json, read_run_record, require_regular_file, sha256
from lora_core.sealed import unseal

IDENTITY = ("method", "task", "seed")
# Of a run's parameters, those that decide no result: the address of the base model, whose files have digests.
NO_SETTING = (*IDENTITY, "base_model")
# What decides a task's examples, in the cards of two times.
DATA = ("labels", "metrics", "max_length")
OTHER_CODE = "other code made it"
INPUT_AGAIN = "what it was made from is made again"
DAMAGED = "its record is damaged"

# What reading a record of another form raises.
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)

Code = Callable[[str], str]


def outdated_results(study: Study, code: Code | None = None) -> dict[str, str]:
    """Return the records of the results that have to be made again, each with the reason.

    `code` returns the digest of the code that trains a method; None compares no code. Raise ValueError that says what
    to delete for a damaged record of data or of the prepared model, and for an edited record of a run: Snakemake
    deletes what it makes again, and no run may be lost for such a mistake.
    """
    return _Comparison(study, code).reasons


class DamagedInput(ValueError):
    """The record of data or of a prepared model is damaged."""


class _Comparison:
    """The results of a study compared with what it asks for; `reasons` are by the path of the record."""

    def __init__(self, study: Study, code: Code | None) -> None:
        self.reasons: dict[str, str] = {}
        self._study = study
        self._layout = Layout(study.results_dir)
        self._model_record = Path(self._layout.model_record.format(model=study.model.name))
        self._model = _read(self._model_record)
        self._digests: dict[str, str] = {}  # of run.json files
        self._files: dict[str, Mapping[str, str]] = {}  # what they say of the files next to them
        cards = {task: self._compare_data(task) for task in study.trained_tasks}
        for method in study.methods:
            digest = None if code is None else code(method)
            # The tasks that others start from come first.
            for task in sorted(study.trained_tasks, key=lambda task: len(study.starts(method, task))):
                self._compare_runs(method, task, cards[task], digest)
        for task in study.tasks:
            for seed in study.seeds:
                self._compare_latency(task, seed)

    def _compare_data(self, task: str) -> JsonObject | None:
        """Compare the tokenized data of a task; return its card."""
        path = self._layout.data_card.format(task=task)
        card, sources = _read(Path(path)), _read(Path(self._layout.data_sources.format(task=task)))
        if card is None:
            return None
        expected = plain(params.data_params(self._study, task))
        expected["source"] = plain(self._study.source(task).without_folders())
        try:
            dataset = (sources or {}).get("made_from", {}).get("dataset")
            settings = dataset or {name: card[name] for name in ("max_length",) if name in card}
            if limits := changed_limits(dataset, expected):
                self.reasons[path] = limits
            elif changed := list(differences(settings, expected)):
                self.reasons[path] = f"{SETTINGS_DIFFER} ({', '.join(changed)})"
        except MALFORMED:
            self.reasons[path] = "the record of its sources is damaged"
        return card

    def _compare_runs(self, method: str, task: str, card: JsonObject | None, code: str | None) -> None:
        layout, study = self._layout, self._study
        start = study.hyperparameters(method, task).start_from
        expected: JsonObject | None = None
        for seed in study.seeds:
            place = {"method": method, "task": task, "seed": seed}
            path = layout.run_record.format(**place)
            content = _bytes(Path(path))
            if content is None:
                continue
            if expected is None:
                expected = plain(params.run_params(study, method, task, seed))
            start_path = layout.run_record.format(**place | {"task": start}) if start else None
            self._digests[path] = hashlib.sha256(content).hexdigest()
            inputs = [layout.data_card.format(task=task), *([start_path] if start_path else [])]
            reason = self._run_reason(path, content, expected | {"seed": seed}, code, card, start_path)
            if reason not in (None, DAMAGED):
                unseal(json.loads(content), Path(path), f"delete the folder {Path(path).parent} and run again")
            if reason is None and any(file in self.reasons for file in inputs):
                reason = INPUT_AGAIN
            if reason is not None:
                self.reasons[path] = reason
            self._compare_merged(layout.merged_record.format(**place), path)

    def _run_reason(
        self,
        path: str,
        content: bytes,
        expected: JsonObject,
        code: str | None,
        card: JsonObject | None,
        start_path: str | None,
    ) -> str | None:
        """Why a run is not the one that is asked for; None if it is, or if a newer version of the project made it."""
        try:
            record = json.loads(content)
            if record.get("format", 1) > FORMAT:
                return None
            record = record if record.get("format") == FORMAT else read_run_record(Path(path))
            run, made_by = record["run"], record["provenance"].get("code")
            self._files[path] = dict(record.get("files", {}))
            if any(run[name] != expected[name] for name in IDENTITY):
                return f"it is the record of {run['method']}/{run['task']}/seed{run['seed']}"
            wanted = {name: value for name, value in expected.items() if name not in NO_SETTING}
            if changed := list(differences(run, wanted)):
                return f"{SETTINGS_DIFFER} ({', '.join(changed)})"
            if card is not None and self._data_differs(run["data"], card, str(run["task"])):
                return "it was trained on other data"
            if self._model_differs(run.get("model_files")):
                return "it was trained from another prepared model"
            if files_differ(run.get("start"), self._weights(start_path)):
                return "it started from other weights"
        except DamagedInput:
            raise
        except MALFORMED:
            return DAMAGED
        return OTHER_CODE if None not in (code, made_by) and made_by != code else None

    def _data_differs(self, recorded: Mapping[str, Any], card: Mapping[str, Any], task: str) -> bool:
        """Whether a run's card is of other examples than the card of the task, which must be that of its files."""
        files = {self._layout.train_data: "train", self._layout.validation_data: "validation"}
        if TEST in card:
            files[self._layout.test_data] = TEST
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
            _check_input(paths, Path(self._layout.data_card.format(task=task)))
        return differ

    def _model_differs(self, recorded: Mapping[str, Any] | None) -> bool:
        """Whether a run was trained from another prepared model than the present one, whose record must be right."""
        if recorded is None or self._model is None:
            return False
        try:
            present = file_digests(self._model["files"])
            if not files_differ(recorded, present):
                return False
        except MALFORMED:
            present = {}  # which the record does not say
        folder = Path(self._layout.model.format(model=self._study.model.name))
        _check_input({folder / name: digest for name, digest in present.items()} or None, self._model_record)
        return True

    def _weights(self, record: str | None) -> dict[str, object] | None:
        """The digests of a run's weights, by the names of the files."""
        if record is None or record not in self._files:
            return None
        prefix = "weights/"
        return {n.removeprefix(prefix): d for n, d in self._files[record].items() if n.startswith(prefix)}

    def _compare_merged(self, path: str, run: str) -> None:
        record = _read(Path(path))
        if record is None:
            return
        try:
            if run in self.reasons:
                self.reasons[path] = INPUT_AGAIN
            elif files_differ(record.get("made_from"), self._files.get(run)):
                self.reasons[path] = "it was made from other weights"
        except MALFORMED:
            self.reasons[path] = DAMAGED

    def _compare_latency(self, task: str, seed: int) -> None:
        path = self._layout.latency_record.format(task=task, seed=seed)
        record = _read(Path(path))
        if record is None:
            return
        runs = {m: self._layout.run_record.format(method=m, task=task, seed=seed) for m in self._study.methods}
        digests = {method: self._digests.get(run) for method, run in runs.items()}
        try:
            made_from = record.get("made_from", {})
            # Older plans do not say it, but their records do, and the oldest passes were all in float32.
            plan = {"precision": record.get("precision", LatencyRecord.precision)} | made_from.get("plan", {})
            if changed := list(differences(plan, plain(params.latency_params(self._study)))):
                self.reasons[path] = f"{SETTINGS_DIFFER} ({', '.join(changed)})"
            elif any(run in self.reasons for run in runs.values()):
                self.reasons[path] = INPUT_AGAIN
            elif None not in digests.values() and made_from.get("runs", digests) != digests:
                self.reasons[path] = "it was made from other runs"
        except MALFORMED:
            self.reasons[path] = DAMAGED


def _check_input(files: Mapping[Path, str | None] | None, record: Path) -> None:
    """Raise DamagedInput if what runs are made from is not what its record says; None is a record without files."""
    if files is not None and all(not path.is_file() or sha256(path) == digest for path, digest in files.items()):
        return
    raise DamagedInput(f"{record} does not say what its files hold; {_remedy(record)}")


def _read(path: Path) -> JsonObject | None:
    """A JSON record; None if there is none, or if it is damaged, which the job that reads it reports.

    Raise ValueError that names it if it was edited.
    """
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return None
    return unseal(record, path, _remedy(path))


def _remedy(record: Path) -> str:
    """How to make again what a record of data or of a model says, and the record of any other result."""
    if record.name == Path(Layout.data_card).name:
        return f"delete the folder {record.parent} and run again"
    folder = record.with_suffix("")
    return f"delete {folder} and {record}, and run again" if folder.is_dir() else "delete it and run again"


def _bytes(path: Path) -> bytes | None:
    """A file's content; None if there is none, or something that is not a file, which would never end."""
    try:
        require_regular_file(path)
        return path.read_bytes()
    except (OSError, ValueError):
        return None
