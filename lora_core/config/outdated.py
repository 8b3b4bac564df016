"""Which results of a study are not what its configuration and code ask for, by their records alone.

Snakemake compares a job with what it remembers of the last one. The records say what the results were really made from,
also where Snakemake remembers nothing: in a fresh checkout, an unpacked archive, or after code was edited during a run.
A record that does not say something is older than this check and accepted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lora_core.config import params
from lora_core.config.study import Study
from lora_core.layout import Layout
from lora_core.records import FORMAT, JsonObject, read_json, read_run_record, require_regular_file

IDENTITY = ("method", "task", "seed")
# Of a run's parameters, those that decide no result: the address of the base model, whose files have digests.
NO_SETTING = (*IDENTITY, "base_model")
# What decides a task's examples, in the cards of two times.
DATA = ("labels", "metrics", "max_length")
INPUT_AGAIN = "what it was made from is made again"

LISTED = 3  # products that a line names

Code = Callable[[str], str]


def outdated_results(study: Study, code: Code | None = None) -> dict[str, str]:
    """Return the records of the results that have to be made again, each with the reason.

    `code` returns the digest of the code that trains a method; None compares no code.
    """
    return _Comparison(study, code).reasons


def differences(recorded: Mapping[str, Any], expected: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Name what has another value than expected, with both values; keys of only one side are left out."""
    for name, value in expected.items():
        if name not in recorded or recorded[name] == value:
            continue
        if isinstance(value, Mapping) and isinstance(recorded[name], Mapping):
            yield from differences(recorded[name], value)
        else:
            yield f"{prefix}{name} {_text(recorded[name])} -> {_text(value)}"


def announcement(reasons: Mapping[str, str]) -> list[str]:
    """Return a line for each reason, with the products that are made again for it."""
    lines = []
    for reason in dict.fromkeys(reasons.values()):
        products = [product for product, why in reasons.items() if why == reason]
        listed = ", ".join(products[:LISTED]) + (f" and {len(products) - LISTED} more" if products[LISTED:] else "")
        lines.append(f"made again, because {reason}: {listed}")
    return lines


class _Comparison:
    """The results of a study compared with what it asks for; `reasons` are by the path of the record."""

    def __init__(self, study: Study, code: Code | None) -> None:
        self.reasons: dict[str, str] = {}
        self._study = study
        self._layout = Layout(study.results_dir)
        self._model = _read(Path(self._layout.model_record.format(model=study.model.name)))
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
        made_from = (sources or {}).get("made_from", {})
        expected = _plain(params.data_params(self._study, task))
        expected["source"].pop("path", None)
        settings = made_from.get("dataset") or {name: card[name] for name in ("max_length",) if name in card}
        if limits := _changed_limits(made_from.get("dataset"), expected):
            self.reasons[path] = limits
        elif changed := list(differences(settings, expected)):
            self.reasons[path] = f"settings differ ({', '.join(changed)})"
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
                expected = _plain(params.run_params(study, method, task, seed))
            start_path = layout.run_record.format(**place | {"task": start}) if start else None
            self._digests[path] = hashlib.sha256(content).hexdigest()
            inputs = [layout.data_card.format(task=task), *([start_path] if start_path else [])]
            reason = self._run_reason(path, content, expected | {"seed": seed}, code, card, start_path)
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
            self._files[path] = record.get("files", {})
            if any(run[name] != expected[name] for name in IDENTITY):
                return f"it is the record of {run['method']}/{run['task']}/seed{run['seed']}"
            wanted = {name: value for name, value in expected.items() if name not in NO_SETTING}
            if changed := list(differences(run, wanted)):
                return f"settings differ ({', '.join(changed)})"
            if card is not None and _data_differs(run["data"], card):
                return "it was trained on other data"
            if _files_differ(run.get("model_files"), (self._model or {}).get("files")):
                return "it was trained from another prepared model"
            if _files_differ(run.get("start"), self._weights(start_path)):
                return "it started from other weights"
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return "its record is damaged"
        return "other code made it" if None not in (code, made_by) and made_by != code else None

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
        if run in self.reasons:
            self.reasons[path] = INPUT_AGAIN
        elif _files_differ(record.get("made_from"), self._files.get(run)):
            self.reasons[path] = "it was made from other weights"

    def _compare_latency(self, task: str, seed: int) -> None:
        path = self._layout.latency_record.format(task=task, seed=seed)
        record = _read(Path(path))
        if record is None:
            return
        runs = {m: self._layout.run_record.format(method=m, task=task, seed=seed) for m in self._study.methods}
        made_from = record.get("made_from", {})
        plan = made_from.get("plan", {})
        digests = {method: self._digests.get(run) for method, run in runs.items()}
        if changed := list(differences(plan, _plain(params.latency_params(self._study)))):
            self.reasons[path] = f"settings differ ({', '.join(changed)})"
        elif any(run in self.reasons for run in runs.values()):
            self.reasons[path] = INPUT_AGAIN
        elif None not in digests.values() and made_from.get("runs", digests) != digests:
            self.reasons[path] = "it was made from other runs"


def _changed_limits(recorded: Mapping[str, Any] | None, expected: Mapping[str, Any]) -> str | None:
    """Limits on examples that are missing on one side, which is no limit."""
    if recorded is None:
        return None
    before, after = recorded["source"], expected["source"]
    names = [name for name in ("max_train_examples", "max_validation_examples") if (name in before) != (name in after)]
    changed = [f"{name} {_text(before.get(name))} -> {_text(after.get(name))}" for name in names]
    return f"settings differ ({', '.join(changed)})" if changed else None


def _data_differs(recorded: Mapping[str, Any], card: Mapping[str, Any]) -> bool:
    """Whether a run's card is of other examples than the card of the task."""
    splits = [(recorded[split]["sha256"], card[split]["sha256"]) for split in ("train", "validation")]
    return any(a != b for a, b in splits) or any(recorded[name] != card[name] for name in DATA if name in recorded)


def _files_differ(recorded: Mapping[str, Any] | None, current: Mapping[str, Any] | None) -> bool:
    """Whether a file that both sides know has two digests."""
    if not recorded or not current:
        return False
    digests = {name: entry["sha256"] if isinstance(entry, Mapping) else entry for name, entry in current.items()}
    return any(digests.get(name, digest) != digest for name, digest in recorded.items())


def _read(path: Path) -> JsonObject | None:
    """A JSON record; None if there is none, or if it is damaged, which the job that reads it reports."""
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _bytes(path: Path) -> bytes | None:
    """A file's content; None if there is none, or something that is not a file, which would never end."""
    try:
        require_regular_file(path)
        return path.read_bytes()
    except (OSError, ValueError):
        return None


def _plain(values: Mapping[str, Any]) -> JsonObject:
    """Values as a JSON file has them."""
    return json.loads(json.dumps(values))


def _text(value: object) -> str:
    return "none" if value is None else json.dumps(value) if isinstance(value, list | bool) else str(value)
