"""The files that a study's tasks are read from, and which of them changed since their task was tokenized."""

from pathlib import Path

from lora_core.config.errors import ConfigError
from lora_core.config.study import Study
from lora_core.data.batches import SPLITS, TEST
from lora_core.data.local_files import split_files
from lora_core.data.unchanged import changed_files, unchanged_files
from lora_core.layout import Layout


def data_files(study: Study, task: str) -> list[str]:
    """Return the files that a task in a local folder is read from; none for the hub and mini-GLUE."""
    source = study.source(task)
    if source.path is None:
        return []
    splits = [split_files(source, study.task(task), split) for split in SPLITS]
    files = list(dict.fromkeys(file for split in splits for file in split))
    test = split_files(source, study.task(task), TEST) if source.test is not None else []
    names = {Path(file).name for file in files}
    if same := [file for file in test if Path(file).name in names]:  # records know a file by its name
        raise ConfigError(
            f"task_settings.{task}.test: {same[0]!r} has the name of a file of another split; rename it, or name "
            "another file"
        )
    return [*files, *test]


def unchanged_data_files(study: Study, task: str) -> set[str]:
    """Return the files of a task in a local folder that are newer than the tokenized data, with the same content."""
    return unchanged_files(data_files(study, task), *_record_and_outputs(study, task))


def changed_data_files(study: Study, task: str) -> list[str]:
    """Return what changed in the files of a task in a local folder since it was tokenized, such as "a.csv changed".

    The list is empty if the files cannot be found: `preflight.check_paths` reports that.
    """
    try:
        return changed_files(data_files(study, task), *_record_and_outputs(study, task))
    except (ValueError, OSError):
        return []


def _record_and_outputs(study: Study, task: str) -> tuple[Path, list[Path]]:
    """The record of the files that a task was tokenized from, and what was made from them."""
    layout = Layout(study.results_dir)
    test = [layout.test_data] if TEST in study.source(task).splits else []
    made = (layout.data_sources, layout.data_card, layout.train_data, layout.validation_data, *test)
    record, *outputs = (Path(pattern.format(task=task)) for pattern in made)
    return record, outputs


def data_bytes(study: Study, task: str) -> list[int]:
    """Return the sizes of the files of a task in a local folder, which differ where older content was put in place."""
    return [Path(file).stat().st_size for file in data_files(study, task)]
