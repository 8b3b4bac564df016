"""Tokenize the training and validation split of a task."""

from pathlib import Path

from lora_core.job import job_log

with job_log(snakemake.log[0], f"tokenize_dataset {snakemake.wildcards.task}", snakemake.output):
    from lora_core.data.datasets import TokenizedFiles, tokenize_task
    from lora_core.data.source import DatasetSource
    from lora_core.data.task import Task
    from lora_core.intact import check_model
    from lora_core.records import write_digests

    check_model(Path(snakemake.input.model), Path(snakemake.input.model_record))
    outputs = {name: Path(file) for name, file in snakemake.output.items()}
    sources = outputs.pop("sources")
    write_digests(map(Path, snakemake.input.get("data", [])), sources)  # before they are read: a later change counts
    dataset = snakemake.params.dataset
    tokenize_task(
        DatasetSource.from_params(dataset["source"]),
        Task.from_params(dataset["task"]),
        Path(snakemake.input.model),
        dataset["max_length"],
        TokenizedFiles(**outputs),
    )
