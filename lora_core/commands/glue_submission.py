"""`lora-core glue-submission`: predictions on GLUE's test splits, in the format that its leaderboard takes.

The labels of these splits are hidden, so there is no score here: gluebenchmark.com scores a ZIP archive of the files.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.atomic_files import atomic_folder
from lora_core.config.results_folder import obstacle
from lora_core.data.reading import Columns, read_parts
from lora_core.data.source import DatasetSource
from lora_core.data.tasks import TASKS, task_title
from lora_core.evaluation.run_record import RunRecord
from lora_core.intact import check_model, check_weights
from lora_core.layout import Layout, place
from lora_core.nearest import nearest
from lora_core.records import read_json
from lora_core.sealed import unseal
from lora_core.typed_records import name_damaged_file

if TYPE_CHECKING:
    import numpy as np

HEADER = "index\tprediction"
LOWEST, HIGHEST = 0.0, 5.0  # scores of STS-B
DIGITS = ("0", "1")
BATCH_SIZE = 64


@dataclass(frozen=True)
class Submitted:
    """A file of a submission.

    Attributes:
        name: Its name.
        rows: How many examples GLUE's test split has.
        labels: What GLUE calls the classes, in the order of the task's; empty for a score.
        split: The name of the test split in the data set.
    """

    name: str
    rows: int
    labels: tuple[str, ...]
    split: str = "test"


FILES = {
    "cola": (Submitted("CoLA.tsv", 1063, DIGITS),),
    "sst2": (Submitted("SST-2.tsv", 1821, DIGITS),),
    "mrpc": (Submitted("MRPC.tsv", 1725, DIGITS),),
    "stsb": (Submitted("STS-B.tsv", 1379, ()),),
    "rte": (Submitted("RTE.tsv", 3000, TASKS["rte"].labels),),
    "mnli": (
        Submitted("MNLI-m.tsv", 9796, TASKS["mnli"].labels, "test_matched"),
        Submitted("MNLI-mm.tsv", 9847, TASKS["mnli"].labels, "test_mismatched"),
    ),
}


def write_submission(results: Path, folder: Path, method: str | None = None, seed: int | None = None) -> list[str]:
    """Predict with the saved weights of one method and seed, and write a file per task of GLUE into a new folder.

    Return the files' names. Raise ValueError if `folder` is not empty, if several methods or seeds could be meant, if
    a task of the study has no finished run of them, if the data set has no test split or one of another length, or if a
    record or a file of weights is damaged; nothing is predicted or written then.
    """
    if reason := obstacle(results) or obstacle(folder):
        raise ValueError(reason)
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a new folder")
    runs = _chosen_runs(results, method, seed)
    _check_complete(results, [run for _, run in runs])
    source = _source(results)
    # Predicting takes long: what could be refused is read before.
    texts = {file: _read_texts(source, run.task, file) for _, run in runs for file in FILES[run.task]}
    for path, run in runs:
        check_model(_base(results, run), results / Layout.model_record.format(model=run.model))
        check_weights(_weights(path), path)
    with atomic_folder(folder.resolve()) as temporary:
        for path, run in runs:
            for file in FILES[run.task]:
                predictions = _format(_predict(results, path, run, texts[file]), file)
                lines = [HEADER, *(f"{row}\t{prediction}" for row, prediction in enumerate(predictions))]
                (temporary / file.name).write_text("\n".join(lines) + "\n", encoding="utf-8")
                check_file(temporary / file.name, file)
    return [file.name for file in texts]


def tasks_without_file(names: Collection[str]) -> list[str]:
    """Return the titles of the tasks that have none of these files."""
    return [task_title(task) for task, files in FILES.items() if not any(file.name in names for file in files)]


def check_file(path: Path, file: Submitted) -> None:
    """Raise ValueError that names the first line of a submission's file that GLUE would not take."""
    header, *lines = path.read_text(encoding="utf-8").split("\n")
    if header != HEADER:
        raise ValueError(f"{path}: the header is {header!r}, but GLUE expects {HEADER!r}; write the file again")
    if lines[-1:] != [""] or len(lines) - 1 != file.rows:
        raise ValueError(f"{path} has {len(lines) - 1} rows, but GLUE's test split has {file.rows}; write it again")
    for row, line in enumerate(lines[:-1]):
        index, _, prediction = line.partition("\t")
        if index != str(row) or not _is_valid(prediction, file):
            expected = f"one of {', '.join(file.labels)}" if file.labels else f"a number from {LOWEST:g} to {HIGHEST:g}"
            raise ValueError(f"{path}: row {row} is {line!r}; expected the index {row}, a tab and {expected}")


def _is_valid(prediction: str, file: Submitted) -> bool:
    if file.labels:
        return prediction in file.labels
    try:
        return LOWEST <= float(prediction) <= HIGHEST
    except ValueError:
        return False


def _chosen_runs(results: Path, method: str | None, seed: int | None) -> list[tuple[Path, RunRecord]]:
    """The runs on GLUE's tasks of one method and seed, in the order of GLUE's table."""
    pattern = Layout.run_record.format(method="*", task="*", seed="*")
    runs = [(path, RunRecord.read(path)) for path in sorted(results.glob(pattern))]
    runs = [(path, run) for path, run in runs if run.task in FILES]
    if not runs:
        raise ValueError(f"{results} has no finished run on a task of GLUE; name the results folder of such a study")
    chosen = {"--method": method, "--seed": seed}
    for option, value_of in (("--method", lambda run: run.method), ("--seed", lambda run: run.seed)):
        known = sorted({value_of(run) for _, run in runs})
        wanted = chosen[option] if chosen[option] is not None or len(known) > 1 else known[0]
        if wanted is None:
            raise ValueError(f"{results} has several; choose one with {option}: {', '.join(map(str, known))}")
        if wanted not in known:
            hint = nearest(str(wanted), list(map(str, known)))
            raise ValueError(f"{option}: {results} has no finished run of {wanted} on a task of GLUE{hint}")
        runs = [(path, run) for path, run in runs if value_of(run) == wanted]
    return sorted(runs, key=lambda one: list(FILES).index(one[1].task))


def _check_complete(results: Path, runs: Sequence[RunRecord]) -> None:
    """Raise ValueError that names the tasks of the study on which the method has no finished run with this seed.

    The method's tasks are those for which the study has checked that it fits into memory, which it does before any run.
    """
    method, seed = runs[0].method, runs[0].seed
    files = {task: results / Layout.memory.format(task=task) for task in FILES.keys() - {run.task for run in runs}}
    missing = [task for task in FILES if task in files and _is_checked(files[task], method)]
    if missing:
        titles, records = ", ".join(map(task_title, missing)), ", ".join(str(files[task]) for task in missing)
        raise ValueError(
            f"{results} has no finished run of {method} with seed {seed} on {titles}: finish the study first, or, if "
            f"it no longer has {'this task' if len(missing) == 1 else 'these tasks'}, remove {records}"
        )


def _is_checked(file: Path, method: str) -> bool:
    """Whether a task's memory/{task}.json is there and names a method."""
    if not file.exists():
        return False
    with name_damaged_file(file):
        content = unseal(read_json(file), file, place=place(Layout.memory, file), always_sealed=True)
        return method in content["methods"]


def _source(results: Path) -> DatasetSource:
    """Where the study's data comes from. Raise ValueError for generated data, which has no test split."""
    section = read_json(results / Layout.study).get("data")
    data = section if isinstance(section, dict) else {}
    if data.get("source") not in ("hub", "local"):
        raise ValueError(
            f"{results} was trained on the generated mini-GLUE, which has no test split: train on GLUE, with "
            "data: {source: hub ...} or {source: local, path: FOLDER}"
        )
    names = ("source", "path", "id", "revision")
    return DatasetSource(**{name: data[name] for name in names if data.get(name) is not None})


def _read_texts(source: DatasetSource, task: str, file: Submitted) -> Columns:
    """The columns of text of a test split; its labels, where there are any, are not read."""
    columns_of_text = replace(TASKS[task], label_column=TASKS[task].columns[0])
    parts = read_parts(source, columns_of_text, file.split)
    texts = {name: [text for part in parts.values() for text in part[name]] for name in TASKS[task].columns}
    rows = len(next(iter(texts.values())))
    if rows != file.rows:
        raise ValueError(
            f"{', '.join(parts)}: the split {file.split!r} of {task_title(task)} has {rows:,} rows, but GLUE's has "
            f"{file.rows:,}; use the test split of nyu-mll/glue"
        )
    return texts


def _predict(results: Path, path: Path, run: RunRecord, texts: Columns) -> np.ndarray:
    """The logits (examples, outputs) of a run's saved weights in float32, on a GPU if there is one."""
    import torch

    from lora_core.data import batches
    from lora_core.data.datasets import tokenize
    from lora_core.methods import registry
    from lora_core.models import masks
    from lora_core.models import model as models
    from lora_core.training.device_batches import DeviceExamples
    from lora_core.training.steps import predict_logits

    base, task = _base(results, run), TASKS[run.task]
    rows = len(next(iter(texts.values())))
    examples = tokenize({**texts, task.label_column: [0] * rows}, task, base, run.data.max_length).examples
    settings = registry.settings_from_params(run.settings)
    model = registry.load(models.load(base, list(run.data.labels)), settings, _weights(path))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    masks.choose_form(model, device)
    model.to(device)
    fitting = DeviceExamples(batches.truncate(examples, models.max_input_length(model)), model)
    return predict_logits(model, fitting, "fp32", BATCH_SIZE)


def _base(results: Path, run: RunRecord) -> Path:
    """The folder of the pre-trained model that a run started from."""
    return results / Layout.model.format(model=run.model)


def _weights(path: Path) -> Path:
    """The folder of the weights next to a run's record."""
    return path.parent / Path(Layout.weights).name


def _format(logits: np.ndarray, file: Submitted) -> Sequence[str]:
    """The predictions as GLUE writes them: names of classes, or scores within their range."""
    if file.labels:
        return [file.labels[position] for position in logits.argmax(-1)]
    return [f"{score:.3f}" for score in logits[:, 0].clip(LOWEST, HIGHEST)]
