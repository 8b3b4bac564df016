"""Fold a run's adapter into plain weights."""

from pathlib import Path

from lora_core.job import job_log

wildcards = snakemake.wildcards
with job_log(snakemake.log[0], f"merge_adapter {wildcards.method} {wildcards.task} seed {wildcards.seed}"):
    from lora_core.methods.merging import merge

    merge(Path(snakemake.input.model[0]), Path(snakemake.input.weights), Path(snakemake.output[0]))
