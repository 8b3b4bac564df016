"""Tokenise the train and validation split of a task."""

from pathlib import Path

from lora_core.job import job_log

task = snakemake.wildcards.task
with job_log(snakemake.log[0], f"tokenize_dataset {task}"):
    from lora_core.data.datasets import tokenize_task

    tokenize_task(
        task=task,
        model=Path(snakemake.input.model[0]),
        out=Path(snakemake.output.card).parent,
        **snakemake.params.settings,
    )
