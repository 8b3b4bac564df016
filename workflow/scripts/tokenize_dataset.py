"""Tokenize the splits of a task."""

from pathlib import Path

from lora_core.data.tasks import task_title
from lora_core.job import job_log
from lora_core.job_records import JobSource

source = JobSource(snakemake, __file__, inputs=False)
title = f"tokenize_dataset {task_title(snakemake.wildcards.task)}"
with job_log(snakemake.log[0], title, snakemake.output, source):
    from lora_core.data.datasets import TokenizedFiles, tokenize_task
    from lora_core.data.source import DatasetSource
    from lora_core.data.task import Task
    from lora_core.intact import check_model
    from lora_core.records import write_digests

    check_model(Path(snakemake.input.model), Path(snakemake.input.model_record))
    outputs = {name: Path(file) for name, file in snakemake.output.items()}
    sources = outputs.pop("sources")
    dataset = snakemake.params.dataset
    source = DatasetSource.from_params(dataset["source"])
    made_from = {"dataset": dict(dataset) | {"source": source.without_folders()}}
    # Before they are read: a later change counts.
    write_digests(map(Path, snakemake.input.get("data", [])), sources, made_from)
    tokenize_task(
        source,
        Task.from_params(dataset["task"]),
        Path(snakemake.input.model),
        dataset["max_length"],
        TokenizedFiles(**outputs),
    )
