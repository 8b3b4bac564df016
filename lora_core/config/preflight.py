"""Checks before a job starts: the study's files, the hub, the results folder, and the requested targets."""

import itertools
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from lora_core.config.checks import method_errors
from lora_core.config.data_files import data_files
from lora_core.config.errors import ConfigError
from lora_core.config.study import Study
from lora_core.data.hub import check_hub
from lora_core.data.splits import check_local_files
from lora_core.evaluation.memory_fit import fit, read_predictions
from lora_core.layout import Layout
from lora_core.measuring.gpus import capabilities, usable_gpus, visible_gpus
from lora_core.measuring.memory_limit import MemoryLimit
from lora_core.measuring.memory_limit import memory_limit as limit_of
from lora_core.models import pretrained
from lora_core.nearest import closest, nearest
from lora_core.precision import NEED_CAPABILITY, check_available, check_gpus
from lora_core.records import create_json, read_json
from lora_core.time_stamps import correct_future, tree

OTHERS = {"model": "another model", "data": "other data"}  # by the keys of a study's identity
SIMILAR_FILE = 0.8  # the least ratio (difflib) of the name of a file to a misspelled one: a letter or two of ten


def check_paths(study: Study) -> None:
    """Reject folders and files that do not exist. Raise ValueError; fast enough for every call of Snakemake."""
    if study.model.source == "local":
        pretrained.check_local(study.model.path)
    if study.model.source == "wheel":
        pretrained.wheel_folder(study.model.package, study.model.path)
    for task in study.trained_tasks:
        data_files(study, task)


def check_content(study: Study, *, dry_run: bool = False) -> None:
    """Check method settings, file contents and hub access, once before the first job.

    A dry run may have nothing to do and no network: it asks no hub, and passes over methods whose runs exist, because
    PEFT takes seconds to import. Raise ValueError for settings that a method does not accept, weights with another
    sha256, data with other columns or labels, and a model or data set that must be downloaded but that the hub cannot
    provide.
    """
    layout = Layout(study.results_dir)
    runs = itertools.product(study.methods, study.tasks, study.seeds)
    methods = dict.fromkeys(
        method
        for method, task, seed in runs
        if not (dry_run and Path(layout.run_record.format(method=method, task=task, seed=seed)).exists())
    )
    errors = dict.fromkeys(method_errors(study, methods))
    if errors:
        raise ValueError("\n".join(errors))
    if not Path(layout.model.format(model=study.model.name)).exists():
        if study.model.source == "wheel":
            pretrained.check_wheel(study.model.package, study.model.path, study.model.sha256)
        if study.model.source == "hub" and not dry_run:
            check_hub("model", study.model.id, study.model.revision)
    pending = [task for task in study.trained_tasks if not Path(layout.data_card.format(task=task)).exists()]
    sources = {task: study.source(task) for task in pending}
    if study.data.source == "hub" and not dry_run and any(source.source == "hub" for source in sources.values()):
        check_hub("data", study.data.id, study.data.revision)
    for task, source in sources.items():
        if source.path is not None:
            check_local_files(source, study.task(task))


def check_precision(study: Study, *, is_local: bool) -> None:
    """Reject a precision that only GPUs have if measured jobs will run on a CPU, or that a GPU here lacks.

    Raise ValueError that says which precision to use. Of a cluster's nodes nothing is known here: their jobs check it.
    """
    device = study.train.device
    on_cpu = device == "cpu" or (is_local and device == "auto" and visible_gpus() == [])
    check_available(study.train.precision, on_gpu=not on_cpu)
    if is_local and study.train.precision in NEED_CAPABILITY:
        check_gpus(study.train.precision, capabilities(usable_gpus(device)) or [])


def memory_limit(study: Study, *, is_local: bool, mem_mb: int | None = None) -> MemoryLimit | None:
    """Return the memory that training can have; None if it is not known here.

    On a cluster it is what measured jobs ask for; elsewhere `mem_mb` is the limit that was given to Snakemake, if any.
    """
    asked = study.resources.measured
    return limit_of(study.train.device, is_local, mem_mb if is_local else asked.mem_mb, asked.gpu > 0)


def check_fit(study: Study, planned: Collection[str], limit: MemoryLimit | None) -> list[str]:
    """Return warnings about planned runs that may not fit into memory, by predictions that are not made again.

    `planned` are the files that are made. Raise ValueError that says which runs do not fit, and what to do.
    """
    layout = Layout(study.results_dir)
    files = {task: layout.memory.format(task=task) for task in study.trained_tasks}
    runs = {
        (method, task)
        for task, method, seed in itertools.product(files, study.methods, study.seeds)
        if files[task] not in planned and layout.run_record.format(method=method, task=task, seed=seed) in planned
    }
    if limit is None or not runs:
        return []
    predictions = read_predictions((Path(files[task]) for task in sorted({task for _, task in runs})), limit.kind)
    result = fit({run: predictions[run] for run in sorted(runs & predictions.keys())}, limit)
    result.check()
    return result.warnings


def correct_time_stamps(study: Study) -> str | None:
    """Date files of the study that lie in the future back to now; return a line that says so, None if there were none.

    Their content decides what runs again. A job that reads a file from the future fails after its work.
    """
    data = (Path(file) for task in study.trained_tasks for file in data_files(study, task))
    corrected = correct_future(itertools.chain(tree(Path(study.results_dir)), data))
    if not corrected:
        return None
    return f"{corrected} files were dated in the future (was the clock set back?) and now have the present time"


def check_results_folder(study: Study) -> None:
    """Reject a results folder that holds the results of another model or data set. Raise ConfigError."""
    file = Path(Layout(study.results_dir).study)
    if _is_empty(file):
        return
    existing = read_json(file)
    for key, value in study.identity.items():
        if existing.get(key) != value:
            raise ConfigError(
                f"results_dir: {study.results_dir!r} holds results for {OTHERS[key]} ({_text(existing.get(key))}; this "
                f"study has {_text(value)}); choose another results_dir, or remove the folder"
            )


def _is_empty(file: Path) -> bool:
    """Whether there is no such file or nothing in it, as after a loss of power."""
    return not file.exists() or (file.is_file() and not file.stat().st_size)


def _text(section: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in section.items() if v is not None) if isinstance(section, dict) else "none"


def write_identity(study: Study) -> None:
    """Write study.json, which names the model and the data set that the results folder holds.

    Of two studies that start in one folder at the same moment, the second raises ConfigError.
    """
    file = Path(Layout(study.results_dir).study)
    if file.exists() and _is_empty(file):
        file.unlink(missing_ok=True)
    if not create_json(file, study.identity):
        check_results_folder(study)


def check_targets(targets: Iterable[str], products: set[str]) -> None:
    """Reject a target that no rule makes.

    Raise ValueError that suggests one: of the same name in another folder, else of a similar name, else the nearest.
    """
    for target in targets:
        if os.path.normpath(target) in products or os.path.exists(target):
            continue
        names = sorted(products)
        path = Path(target)
        same_name = [name for name in names if Path(name).name == path.name]
        alike = same_name or [name for name in names if Path(name).stem == path.stem]
        if not alike:
            similar = closest(path.name, sorted({Path(name).name for name in names}), SIMILAR_FILE)
            alike = [name for name in names if Path(name).name == similar]
        hint = nearest(target, alike, cutoff=0) if alike else nearest(target, names)
        raise ValueError(f"this study has no target {target!r}{hint}")
