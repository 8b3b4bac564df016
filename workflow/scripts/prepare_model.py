"""Bring the model of the configuration into the prepared form."""

from pathlib import Path

from lora_core.job import job_log

with job_log(snakemake.log[0], "prepare_model"):
    from lora_core.models.pretrained import prepare

    prepare(snakemake.params.source, Path(snakemake.output[0]))
