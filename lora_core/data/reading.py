"""Read the columns of a task's split: generated, from CSV or parquet files in a folder, or from the hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.data.source import DatasetSource
from lora_core.data.task import Task

if TYPE_CHECKING:
    import pyarrow

Columns = dict[str, list]  # the values of a table, by the name of their column


def local_files(source: DatasetSource, task: str, split: str) -> list[str]:
    """Return the files of a split in a local folder, sorted.

    A folder in the layout of the hub's GLUE has `{task}/{split}-*.parquet`; that of a user's task has `{split}*`,
    all CSV or all parquet. `split` is the name that the source has for it. Raise ValueError if there are none.
    """
    is_user_task, folder = source.source == "user", str(source.path)
    key = f"task_settings.{task}.path" if is_user_task else "data.path"
    if not Path(folder).is_dir():
        hint = "" if is_user_task else "; name a folder in the layout of the hub's nyu-mll/glue"
        raise ValueError(f"{key}: there is no folder {folder!r}{hint}")
    patterns = [f"{split}*.csv", f"{split}*.parquet"] if is_user_task else [f"{task}/{split}-*.parquet"]
    matches = [sorted(str(file) for file in Path(folder).glob(pattern)) for pattern in patterns]
    groups = [files for files in matches if files]
    if not groups:
        raise ValueError(f"{key}: {folder!r} has no {' or '.join(patterns)}, which the task {task!r} needs")
    if len(groups) > 1:
        raise ValueError(f"{key}: {folder!r} has both {' and '.join(patterns)}; keep the files of one format")
    return groups[0]


def read_split(source: DatasetSource, task: Task, split: str) -> Columns:
    """Return the columns of a task's split; `split` is the name that the source has for it.

    Columns of text hold text, in a CSV file even if it looks like numbers. Raise ValueError if the split cannot be
    read.
    """
    if source.source == "mini":
        from lora_core.data.mini_glue import generate

        return generate(task.name, split, source.seed or 0)
    if source.path is not None:
        import pyarrow as pa

        files = local_files(source, task.name, split)
        return pa.concat_tables([read_table(file, task.text_columns) for file in files]).to_pydict()
    from datasets import load_dataset

    from lora_core.data.hub import check_hub

    check_hub("data", str(source.id), str(source.revision))
    loaded = load_dataset(source.id, task.name, revision=source.revision, split=split)
    return {name: list(loaded[name]) for name in loaded.column_names}


def read_table(file: str, text_columns: Sequence[str]) -> "pyarrow.Table":
    """Return the content of a CSV or parquet file; in a CSV file "NA" and an empty cell are text.

    Raise ValueError if the file is not in the format that its name says.
    """
    from pyarrow import ArrowInvalid, csv, parquet, string

    file_format = Path(file).suffix[1:]
    try:
        if file_format == "parquet":
            return parquet.read_table(file)
        return csv.read_csv(
            file,
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types={name: string() for name in text_columns}, strings_can_be_null=False, null_values=[""]
            ),
        )
    except (OSError, ArrowInvalid) as error:
        raise ValueError(
            f"{file} cannot be read as {file_format} ({type(error).__name__}); download or write it again"
        ) from error
