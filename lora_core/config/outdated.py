"""Which results of a study are not what its configuration and code ask for, by their records.

Snakemake compares a job with what it remembers of the last one. The records say what the results were really made from,
also where Snakemake remembers nothing: in a fresh checkout, an unpacked archive, or after code was edited during a run.
A record that does not say something is older than this check and accepted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from lora_core.code_digest import StageCode
from lora_core.config import params
from lora_core.config.differences import SETTINGS_DIFFER, changed_limits, differences, files_differ, plain
from lora_core.config.run_changes import (
    DAMAGED,
    INPUT_AGAIN,
    MALFORMED,
    Cause,
    Change,
    Expected,
    RunComparison,
    made_again,
    remedy,
)
from lora_core.config.study import Study
from lora_core.kept_runs import KeptRun, kept_run
from lora_core.layout import Layout
from lora_core.records import LATENCY_FORMAT, JsonObject, current_latency_record, read_json, require_regular_file
from lora_core.sealed import unseal

LISTED_CHANGES = 3  # of the files of a task's data

Code = Callable[[str], StageCode]
ChangedData = Callable[[Study, str], Sequence[str]]


def outdated_results(study: Study, code: Code | None = None, changed_data: ChangedData | None = None) -> dict[str, str]:
    """Return the records of the results that have to be made again, each with the first reason.

    `code` returns the code that trains a method; None compares no code. `changed_data` returns what changed in the
    files of a task's data (`data_files.changed_data_files`); None compares no files. Raise ValueError that says what to
    delete for a damaged record of data or of the prepared model, for a damaged kept.json, and for an edited record of a
    run: Snakemake deletes what it makes again, and no run may be lost for such a mistake.
    """
    return ResultsComparison(study, code, changed_data).reasons


class ResultsComparison:
    """The results of a study compared with what it asks for, by the paths of their records.

    With `every`, all changes of each run are found, else the first one. The runs whose records are in `keeping` count
    as kept.

    Attributes:
        reasons: Why results have to be made again.
        changes: What has changed since runs were made, also those of runs that are kept.
        kept: The runs that are kept although other code made them.
        records: With `every`, each run.json that can be read; else None.
    """

    def __init__(
        self,
        study: Study,
        code: Code | None = None,
        changed_data: ChangedData | None = None,
        *,
        every: bool = False,
        keeping: Collection[str] = (),
    ) -> None:
        self.reasons: dict[str, str] = {}
        self.changes: dict[str, list[Change]] = {}
        self.kept: dict[str, KeptRun] = {}
        self._study = study
        self._every = every
        self._keeping = keeping
        self._layout = Layout(study.results_dir)
        model = study.model.name
        self.records: dict[str, JsonObject] | None = {} if every else None
        model_record = _read(Path(self._layout.model_record.format(model=model)))
        self._runs = RunComparison(self._layout, model, model_record, records=self.records)
        self._digests: dict[str, str] = {}  # of run.json files
        self._changed_data = changed_data
        self._data_changes: dict[str, str] = {}  # by task, in the files that it was tokenized from
        cards = {task: self._compare_data(task) for task in study.trained_tasks}
        for method in study.methods:
            stage = None if code is None else code(method)
            # The tasks that others start from come first.
            for task in sorted(study.trained_tasks, key=lambda task: len(study.starts(method, task))):
                self._compare_runs(method, task, cards[task], stage)
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
            if changed := [*changed_limits(dataset, expected), *differences(settings, expected)]:
                self.reasons[path] = f"{SETTINGS_DIFFER} ({', '.join(changed)})"
            elif changes := self._changed_data(self._study, task) if self._changed_data else ():
                more = f" and {len(changes) - LISTED_CHANGES} more" if changes[LISTED_CHANGES:] else ""
                self.reasons[path] = self._data_changes[task] = f"{', '.join(changes[:LISTED_CHANGES])}{more}"
        except MALFORMED:
            self.reasons[path] = "the record of its sources is damaged"
        return card

    def _compare_runs(self, method: str, task: str, card: JsonObject | None, code: StageCode | None) -> None:
        layout, study = self._layout, self._study
        start = study.hyperparameters(method, task).start_from
        settings: JsonObject | None = None
        for seed in study.seeds:
            place = {"method": method, "task": task, "seed": seed}
            path = layout.run_record.format(**place)
            content = _bytes(Path(path))
            if content is None:
                continue
            if settings is None:
                settings = plain(params.run_params(study, method, task, seed))
            start_path = layout.run_record.format(**place | {"task": start}) if start else None
            self._digests[path] = hashlib.sha256(content).hexdigest()
            expected = Expected(settings | {"seed": seed}, code, card, self._runs.weights(start_path))
            self._compare_run(path, content, expected)
            inputs = {f"tokenize_dataset/{task}": layout.data_card.format(task=task)}
            if start_path:
                inputs[f"train/{method}/{start}"] = start_path  # without the seed, which is the same
            for change in self._changes_of_inputs(task, inputs):
                self.changes.setdefault(path, []).append(change)
                self.reasons.setdefault(path, change.reason)
            self._compare_merged(layout.merged_record.format(**place), path)

    def _changes_of_inputs(self, task: str, inputs: Mapping[str, str]) -> Iterator[Change]:
        """Yield what is made again of the inputs of a run: their records by the jobs that make them."""
        if files := self._data_changes.get(task):
            yield Change(Cause.DATA, files)
            return
        for job, record in inputs.items():
            if record in self.reasons:
                yield Change(Cause.INPUT, INPUT_AGAIN, detail=made_again(job, self.reasons[record]))

    def _compare_run(self, path: str, content: bytes, expected: Expected) -> None:
        """Find what has changed since a run was made; a change of code is no reason if the run is kept."""
        is_kept = self._is_kept(path, expected.code)
        found = []
        for change in self._runs.changes(path, content, expected):
            found.append(change)
            if not self._every and not (is_kept and change.cause == Cause.CODE):
                break
        counted = [change for change in found if not (is_kept and change.cause == Cause.CODE)]
        if found:
            self.changes[path] = found
        if counted:
            if counted[0].reason != DAMAGED:
                unseal(json.loads(content), Path(path), f"delete the folder {Path(path).parent} and run again")
            self.reasons[path] = counted[0].reason

    def _is_kept(self, path: str, code: StageCode | None) -> bool:
        """Whether the user decided that a run is kept although this code did not make it."""
        if path in self._keeping:
            return True
        if code is None:
            return False
        kept = kept_run(path, self._digests[path])
        if kept is None or kept.code != code.digest:
            return False
        self.kept[path] = kept
        return True

    def _compare_merged(self, path: str, run: str) -> None:
        record = _read(Path(path))
        if record is None:
            return
        try:
            if run in self.reasons:
                self.reasons[path] = INPUT_AGAIN
            elif files_differ(record.get("made_from"), self._runs.files.get(run)):
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
            if record.get("format", 1) not in (1, LATENCY_FORMAT):  # another version of the project made it
                return
            record = current_latency_record(record, Path(path))
            made_from = record.get("made_from", {})
            # Older plans do not say it, but their records do.
            plan = {"precision": record["precision"]} | made_from.get("plan", {})
            if changed := list(differences(plan, plain(params.latency_params(self._study)))):
                self.reasons[path] = f"{SETTINGS_DIFFER} ({', '.join(changed)})"
            elif any(run in self.reasons for run in runs.values()):
                self.reasons[path] = INPUT_AGAIN
            elif None not in digests.values() and made_from.get("runs", digests) != digests:
                self.reasons[path] = "it was made from other runs"
        except MALFORMED:
            self.reasons[path] = DAMAGED


def _read(path: Path) -> JsonObject | None:
    """A JSON record; None if there is none, or if it is damaged, which the job that reads it reports.

    Raise ValueError that names it if it was edited.
    """
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return None
    return unseal(record, path, remedy(path))


def _bytes(path: Path) -> bytes | None:
    """A file's content; None if there is none, or something that is not a file, which would never end."""
    try:
        require_regular_file(path)
        return path.read_bytes()
    except (OSError, ValueError):
        return None
